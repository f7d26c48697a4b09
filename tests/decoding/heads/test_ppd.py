"""PPD on tables: exact whatever its prompt tokens say, and quick where they say the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.heads.ppd import Ppd, PpdSettings
from adec.decoding.heads.prompt_part import KIND, prompts_of
from adec.decoding.heads.rank_counts import RANKS, RankCounts
from adec.decoding.heads.typical import TypicalAcceptance
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.drafters.drafter import Proposal
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.engines.wrapped import WrappedEngine
from adec.errors import EngineError, ModelFileError
from adec.events.records import Guarantee
from adec.parts.part import Part
from adec.sampling import Sampler
from adec.signals import ArrayScores
from adec.tree import ROOT, TokenTree
from tests.decoding.clock import Clock, TimedTable, cpu
from tests.laws import law

SIZE = 6


def part(count: int = 3, first: float = 0.4) -> Part:
    """Prompt tokens that read -1, -2, …, and are taken to be right rather often."""
    ranks = first * (1 - first) ** np.arange(RANKS)
    return Part(
        KIND,
        "model",
        {
            "embeddings": -1 - np.arange(count, dtype=np.float32).reshape(-1, 1),
            "accuracy": np.tile(ranks, (count, 1)).astype(np.float32),
        },
    )


USUAL = PpdSettings()


def ppd(engine: Any, settings: PpdSettings = USUAL, learned: Part | None = None) -> Ppd:
    # a token more is nearly free, so that it drafts
    curve = CostCurve({1: 1.0, 64: 1.2})
    aids = Aids(curves={"large": curve}, part=lambda kind: learned or part())
    return Ppd(Engines(large=engine), settings, aids)


def answer(strategy: Any, prompt: Sequence[int], limits: Limits) -> list[int]:
    steps = strategy.generate(Prompt(tuple(prompt)), limits)
    return [token.id for step in steps for token in step.tokens]


@given(
    seed=st.integers(0, 10_000),
    prompt=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=4),
    count=st.integers(1, 4),
    settings=st.builds(
        PpdSettings, size=st.sampled_from(["time", "fixed"]), budget=st.integers(2, 40)
    ),
    branches=st.integers(1, 12),
    sampled=st.booleans(),
    left=st.integers(1, 20),
    context=st.integers(6, 40),
)
def test_answers_are_plains(
    seed, prompt, count, settings, branches, sampled, left, context
) -> None:
    sampler = Sampler(temperature=1.0 if sampled else 0.0, seed=seed)
    limits = Limits(left, frozenset({SIZE - 1}), sampler)
    engine = TableEngine(law(SIZE, seed), size=SIZE, context=context)
    engine.branches = branches
    strategy = ppd(engine, settings, part(count))
    for _ in range(2):
        found = answer(strategy, prompt, limits)
        plain = TableEngine(law(SIZE, seed), size=SIZE, context=context)
        assert found == answer(Plain(plain), prompt, limits)
        # what foresaw is gone, and the newest token is unread
        assert engine.tokens == (*prompt, *found)[: engine.length]
        assert min(engine.tokens, default=0) >= 0


def follows(token: int) -> int:
    return (3 * token + 1) % (SIZE - 1)


def foreseeing(prefix: tuple[int, ...]) -> list[float]:
    """Each token has one successor, and prompt tokens know it, so many steps ahead."""
    token = next(token for token in reversed(prefix) if token >= 0)
    steps = 1 + sum(token < 0 for token in prefix)
    for _ in range(steps):
        token = follows(token)
    return [0.9 if other == token else 0.02 for other in range(SIZE)]


def test_right_prompt_tokens_save_forwards() -> None:
    engine = TableEngine(foreseeing, size=SIZE)
    strategy = ppd(engine, PpdSettings(size="fixed", budget=12), part(first=0.9))
    limits = Limits(60)
    steps = list(strategy.generate(Prompt((0,)), limits))
    tokens = [token for step in steps for token in step.tokens]
    assert [token.id for token in tokens] == answer(
        Plain(TableEngine(foreseeing, size=SIZE)), [0], limits
    )
    forwards = [forward for step in steps for forward in step.forwards]
    verified = [forward for forward in forwards if forward.purpose != "draft"]
    assert len(tokens) / len(verified) > 3
    assert {token.source for token in tokens} == {"large", KIND}
    # what is fed besides candidates is counted
    assert max(sum(f.tokens for f in step.forwards) for step in steps) == 12
    assert sum(forward.tokens for forward in forwards) == sum(map(len, engine.fed))


def timed(
    table_law: Any, more: float, count: int, first: float = 0.4
) -> tuple[float, list[list[int]]]:
    """Milliseconds of an answer beside plain's, and what was fed, where a token adds `more`."""
    clock = Clock()
    with clock.installed():
        engine = TimedTable(
            table_law, clock, cpu(10.0, more), size=SIZE,
            capabilities=frozenset({"rewind", "tree", "vectors"}),
        )  # fmt: skip
        aids = Aids(part=lambda kind: part(first=first))
        answer(Ppd(Engines(large=engine), PpdSettings(), aids), [1], Limits(count))
        return 1000 * clock.now / (10.0 * count), engine.fed


def test_where_the_forecast_is_against_it_nothing_is_tried() -> None:
    share, fed = timed(law(SIZE, 3), 9.0, 800, first=0.3)
    assert share == pytest.approx(1) and max(map(len, fed)) == 1


def test_dear_forwards_of_a_promising_part_are_tried_once() -> None:
    share, fed = timed(law(SIZE, 3), 9.0, 800, first=0.8)
    assert share < 1.01
    assert sum(len(tokens) > 1 for tokens in fed[1:]) == 1


def test_prompt_tokens_that_are_wrong_are_given_up() -> None:
    def wrong(prefix: tuple[int, ...]) -> list[float]:
        return foreseeing((*prefix, -1) if prefix[-1] < 0 else prefix)

    for count in (300, 3000):
        share, fed = timed(wrong, 1.0, count, first=0.6)
        # one percent, and two rounds with what the last of them overshoots
        assert share * count < 1.01 * count + 3
        assert max(map(len, fed[1:])) > 1


def test_cheap_forwards_pay() -> None:
    share, _ = timed(foreseeing, 0.3, 300)
    assert share < 0.6


def test_ranks_are_counted_once_their_tokens_are_known() -> None:
    counts = RankCounts(np.full((2, RANKS), 0.05))
    before = counts.accuracy.copy()
    counts.foresee(3, [[7, 8], [9]])
    counts.observe([1, 2, 3, 8])
    assert (counts.accuracy == before).all()
    counts.observe([1, 2, 3, 8, 9, 4])
    assert counts.accuracy[0, 1] > before[0, 1] and counts.accuracy[0, 0] < before[0, 0]
    assert counts.accuracy[1, 0] > before[1, 0]
    settled = counts.accuracy.copy()
    counts.observe([1, 2, 3, 8, 9, 4])
    assert (counts.accuracy == settled).all()


def test_typical_acceptance_takes_the_longest_likely_path() -> None:
    tree = TokenTree()
    for parent, token in ((ROOT, 0), (ROOT, 1), (1, 2), (2, 3)):
        tree.add(parent, token)
    rows = np.log(
        np.array(
            [
                [0.55, 0.4, 0.02, 0.03],  # 0 is likeliest, 1 is likely
                [0.97, 0.01, 0.01, 0.01],
                [0.01, 0.01, 0.49, 0.49],
                [0.9, 0.04, 0.04, 0.02],  # 3 is unlikely
                [0.25, 0.25, 0.25, 0.25],
            ],
            dtype=np.float32,
        )
    )
    proposal = Proposal(tree, [KIND] * 4, [0.5] * 4)
    rule = TypicalAcceptance(0.09, 0.3)
    found = rule.judge(proposal, ArrayScores(rows), 5, Limits(9))
    assert (found.path, found.token, found.bonus) == ((1, 2), 0, False)
    assert rule.guarantee is Guarantee.APPROXIMATE
    ended = rule.judge(proposal, ArrayScores(rows), 5, Limits(9, frozenset({2})))
    assert (ended.path, ended.token) == ((1, 2), None)
    # a higher bar leaves the model's own choice
    strict = TypicalAcceptance(0.6, 10.0).judge(proposal, ArrayScores(rows), 5, Limits(9))
    assert (strict.path, strict.token) == ((0,), 0)
    assert ppd(TableEngine(law(SIZE, 1), size=SIZE), PpdSettings(accept="typical")).guarantee is (
        Guarantee.APPROXIMATE
    )


def test_parts_that_do_not_fit_are_refused() -> None:
    good = part()
    assert prompts_of(good, 1).embeddings.shape == (3, 1)
    for name, wrong in (
        ("embeddings", np.zeros((3, 2), np.float32)),
        ("embeddings", np.zeros((0, 1), np.float32)),
        ("embeddings", np.zeros((9, 1), np.float32)),
        ("accuracy", np.full((3, RANKS), 0.2, np.float32)),
        ("accuracy", np.full((3, RANKS), -0.1, np.float32)),
        ("accuracy", np.zeros((2, RANKS), np.float32)),
    ):
        with pytest.raises(ModelFileError):
            prompts_of(replace(good, tensors={**good.tensors, name: wrong}), 1)


def test_an_engine_without_vectors_says_so() -> None:
    plain = WrappedEngine(TableEngine(law(SIZE, 1), size=SIZE))
    with pytest.raises(EngineError, match="takes no vectors"):
        answer(ppd(plain), [1], Limits(3))
