"""AdaDec: look-aheads worked out by hand, and what must hold for any law, settings and room."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.plain import Plain
from adec.decoding.registry import find_method
from adec.decoding.search.adadec import AdaDec, AdaDecSettings
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.errors import UsageError
from adec.events.records import Guarantee, Pause, Step
from adec.sampling import Sampler
from tests.laws import law, pair, prompt_of

A, B, C, D, Z = range(5)
END = frozenset({Z})

# after the prompt A the model is unsure; each continuation's best mean is worked out below
BOOK = {
    (A,): {A: 0.40, B: 0.35, C: 0.25},
    (A, A): {B: 0.5, C: 0.5 - 1e-9},
    (A, A, B): {Z: 1.0},
    (A, B): {C: 0.9, D: 0.1},
    (A, B, C): {D: 0.8, A: 0.2},
    (A, B, C, D): {Z: 1.0},
    (A, C): {Z: 0.6, A: 0.4},
}


def book(prefix: tuple[int, ...]) -> list[float]:
    row = BOOK.get(prefix, {Z: 1.0})
    return [row.get(token, 0.0) / sum(row.values()) for token in range(5)]


def engine(distribution=book, size: int = 5, context: int = 64, **options) -> TableEngine:
    return TableEngine(distribution, size=size, context=context, **options)


def run(chosen: AdaDecSettings, *, count: int = 20, on: TableEngine | None = None) -> list[Step]:
    on = on or engine()
    return list(
        AdaDec(Engines(large=on), chosen, Aids()).generate(prompt_of([A]), Limits(count, END))
    )


def tokens_of(steps: list[Step]) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


def test_a_pause_by_hand() -> None:
    """Three candidates, two tokens ahead; the third ends at once and collects nothing more."""
    on = engine()
    steps = run(AdaDecSettings(threshold=0.9, candidates=3, ahead=2), on=on)
    step = next(step for step in steps if step.kind == "pause")
    assert isinstance(step.detail, Pause) and step.signal is not None
    assert [c.tokens for c in step.detail.candidates] == [(A, B, Z), (B, C, D), (C, Z)]
    logs = [(0.40, 0.5, 1.0), (0.35, 0.9, 0.8), (0.25, 0.6)]
    expected = [sum(map(math.log, row)) / len(row) for row in logs]
    assert [c.score for c in step.detail.candidates] == pytest.approx(expected, abs=1e-6)
    assert [c.probability for c in step.detail.candidates] == pytest.approx([0.40, 0.35, 0.25])
    assert step.detail.winner == 1 == max(range(3), key=expected.__getitem__)
    assert step.signal.value == pytest.approx(-sum(p * math.log(p) for p in (0.40, 0.35, 0.25)))
    assert [token.how for token in step.tokens] == ["chosen", "written", "written"]
    assert tokens_of(steps) == [B, C, D, Z]
    # a level a forward: three candidates, then the two that did not end; the winner's tokens are
    # not read again
    assert on.fed == [[A], [A, B, C], [B, C], [D]]
    assert step.detail.kept == 2


def test_an_ended_candidate_keeps_its_mean() -> None:
    """With a longer look-ahead its two tokens still count two."""
    steps = run(AdaDecSettings(threshold=0.9, candidates=3, ahead=3))
    pause = next(step.detail for step in steps if isinstance(step.detail, Pause))
    assert [len(c.tokens) for c in pause.candidates] == [3, 4, 2]
    assert pause.candidates[2].score == pytest.approx((math.log(0.25) + math.log(0.6)) / 2)
    assert pause.candidates[1].score == pytest.approx(
        (math.log(0.35) + math.log(0.9) + math.log(0.8)) / 4
    )


def test_the_look_aheads_weight_by_hand() -> None:
    """With weight 0 only the candidate itself counts, by its share of the tokens; with 3 what
    follows it decides.
    """
    logs = [(0.40, 0.5, 1.0), (0.35, 0.9, 0.8), (0.25, 0.6)]
    for weight in (0.0, 0.5, 3.0):
        steps = run(AdaDecSettings(threshold=0.9, candidates=3, ahead=2, weight=weight))
        pause = next(step.detail for step in steps if isinstance(step.detail, Pause))
        expected = [
            (math.log(first) + weight * sum(map(math.log, rest))) / (1 + len(rest))
            for first, *rest in logs
        ]
        assert [c.score for c in pause.candidates] == pytest.approx(expected, abs=1e-6)
        assert pause.winner == max(range(3), key=expected.__getitem__)


def test_look_ahead_is_kept_up_to_the_next_unsure_place() -> None:
    steps = run(AdaDecSettings(threshold=0.45, candidates=2, ahead=2))
    first = next(step for step in steps if step.kind == "pause")
    assert isinstance(first.detail, Pause)
    # after B the entropy is 0.33, after B C 0.50: C is kept, and D's place is a pause of its own
    assert (first.detail.kept, [t.id for t in first.tokens]) == (1, [B, C])
    assert [step.kind for step in steps] == ["prompt", "pause", "pause"]


def test_splitting_by_hand() -> None:
    """The small model's look-ahead under the large one's probabilities, in one forward of it."""

    def small_book(prefix: tuple[int, ...]) -> list[float]:
        return [0.05, 0.05, 0.1, 0.2, 0.6] if len(prefix) > 1 else [0.3, 0.3, 0.2, 0.1, 0.1]

    def large_book(prefix: tuple[int, ...]) -> list[float]:
        return [0.1, 0.4, 0.3, 0.1, 0.1] if len(prefix) == 1 else [0.1, 0.1, 0.1, 0.6, 0.1]

    for writer, candidates in (("small", (A, B)), ("large", (B, C))):
        small, large = engine(small_book), engine(large_book)
        chosen = AdaDecSettings(threshold=1.2, candidates=2, ahead=1, model=writer, split=True)
        steps = list(
            AdaDec(Engines(large=large, small=small), chosen, Aids()).generate(
                prompt_of([A]), Limits(1, END)
            )
        )
        step = steps[-1]
        assert isinstance(step.detail, Pause)
        assert [c.tokens for c in step.detail.candidates] == [(t, Z) for t in candidates]
        first = large_book((A,))
        assert [c.score for c in step.detail.candidates] == pytest.approx(
            [(math.log(first[t]) + math.log(0.1)) / 2 for t in candidates]
        )
        assert step.tokens[0].id == B and step.tokens[0].source == writer
        assert step.fed("small") + step.fed("small", prompt=True) <= 3
        assert [
            f.tokens for f in step.forwards if f.model == "large" and f.purpose == "verify"
        ] == [3 if writer == "small" else 2]


any_settings = st.builds(
    AdaDecSettings,
    threshold=st.sampled_from([0.0, 0.3, 0.8, 1.2, 1.6, math.inf]),
    candidates=st.integers(1, 6),
    ahead=st.integers(0, 6),
    keep=st.booleans(),
    model=st.sampled_from(["large", "small"]),
    split=st.booleans(),
)
samplers = st.builds(Sampler, temperature=st.sampled_from([0.0, 0.0, 0.9]), seed=st.integers(0, 99))


def answer(chosen, seed, prompt, limits, context=4096):
    small, large = pair(seed, context=context)
    steps = list(
        AdaDec(Engines(large=large, small=small), chosen, Aids()).generate(
            prompt_of(range(prompt)), limits
        )
    )
    return steps, small, large


def plain(chosen, seed, prompt, limits, context=4096) -> list[int]:
    small, large = pair(seed, context=context)
    writer = small if chosen.model == "small" else large
    return tokens_of(list(Plain(writer).generate(prompt_of(range(prompt)), limits)))


@settings(max_examples=150, deadline=None)
@given(any_settings, samplers, st.integers(0, 30), st.integers(1, 5), st.booleans())
def test_without_look_ahead_or_pauses_it_is_plain(chosen, sampler, seed, prompt, unsure) -> None:
    from dataclasses import replace

    chosen = replace(chosen, ahead=0) if unsure else replace(chosen, threshold=math.inf)
    limits = Limits(16, frozenset({5}), sampler)
    steps, small, large = answer(chosen, seed, prompt, limits)
    assert tokens_of(steps) == plain(chosen, seed, prompt, limits)
    assert not any(isinstance(step.detail, Pause) for step in steps)
    other = large if chosen.model == "small" else small
    assert other.fed == []


@settings(max_examples=250, deadline=None)
@given(
    any_settings,
    samplers,
    st.integers(0, 30),
    st.integers(1, 5),
    st.integers(1, 24),
    st.sampled_from([8, 16, 64]),
)
def test_caches_hold_what_is_committed(chosen, sampler, seed, prompt, count, context) -> None:
    """After every step: a prefix of it, at most the newest token unread; one more unread for a
    judge that does not write.
    """
    small, large = pair(seed, context=context)
    steps = AdaDec(Engines(large=large, small=small), chosen, Aids()).generate(
        prompt_of(range(prompt)), Limits(count, frozenset({5}), sampler)
    )
    committed = list(range(prompt))
    writer, other = (small, large) if chosen.model == "small" else (large, small)
    for step in steps:
        committed += [token.id for token in step.tokens]
        if len(committed) > prompt:
            assert writer.tokens == tuple(committed[: writer.length])
            assert writer.length >= len(committed) - 1
        assert other.tokens == tuple(committed[: other.length])
    written = committed[prompt:]
    assert len(written) == min(count, context - prompt) or written[-1] == 5
    assert 5 not in written[:-1]


@settings(max_examples=150, deadline=None)
@given(any_settings, samplers, st.integers(0, 30), st.integers(1, 20))
def test_keeping_the_look_ahead_changes_no_token(chosen, sampler, seed, count) -> None:
    from dataclasses import replace

    limits = Limits(count, frozenset({5}), sampler)
    kept, *_ = answer(replace(chosen, keep=True), seed, 3, limits)
    dropped, *_ = answer(replace(chosen, keep=False), seed, 3, limits)
    assert tokens_of(kept) == tokens_of(dropped)
    fed = [sum(s.fed("large") + s.fed("small") for s in steps) for steps in (kept, dropped)]
    assert fed[0] <= fed[1]


@settings(max_examples=150, deadline=None)
@given(any_settings, st.integers(0, 30))
def test_every_pause_is_what_a_fresh_engine_says(chosen, seed) -> None:
    """Candidates, look-ahead, scores and the entropy that caused it, recomputed from the laws token
    by token.
    """
    steps, small, large = answer(chosen, seed, 3, Limits(12, frozenset({5})))
    writer = small if chosen.model == "small" else large
    looker = small if chosen.split else writer
    judge = large if chosen.split else writer
    committed = [0, 1, 2]

    def row(model: TableEngine, prefix: list[int]) -> list[float]:
        return list(model._law(tuple(prefix)))

    for step in steps:
        if isinstance(step.detail, Pause):
            first = row(writer, committed)
            order = sorted(range(6), key=lambda t: (-first[t], t))[: chosen.candidates]
            assert [c.tokens[0] for c in step.detail.candidates] == order
            entropy = -sum(p * math.log(p) for p in first if p)
            assert entropy >= chosen.threshold - 1e-4
            for candidate in step.detail.candidates:
                path, total = list(committed), 0.0
                for place, token in enumerate(candidate.tokens):
                    if place:
                        ahead = row(looker, path)
                        assert token == max(range(6), key=lambda t: (ahead[t], -t))
                    total += math.log(row(judge, path)[token])
                    path.append(token)
                assert candidate.score == pytest.approx(total / len(candidate.tokens), abs=1e-3)
                assert len(candidate.tokens) == 1 + chosen.ahead or candidate.tokens[-1] == 5
            scores = [c.score for c in step.detail.candidates]
            assert scores[step.detail.winner] == max(scores)
            winner = step.detail.candidates[step.detail.winner]
            ids = tuple(token.id for token in step.tokens)
            assert ids == winner.tokens[: 1 + step.detail.kept]
        committed += [token.id for token in step.tokens]


def test_a_pause_feeds_a_token_a_candidate_and_level() -> None:
    for width in range(2, 6):
        for depth in range(1, 6):
            on = TableEngine(law(8, 1), size=8)
            chosen = AdaDecSettings(threshold=0.0, candidates=width, ahead=depth, keep=False)
            steps = list(
                AdaDec(Engines(large=on), chosen, Aids()).generate(prompt_of([0]), Limits(3))
            )
            for step in steps:
                if isinstance(step.detail, Pause):
                    fed = [f.tokens for f in step.forwards if f.purpose == "look_ahead"]
                    assert fed == [width] * depth


def test_an_answer_does_not_depend_on_how_much_may_follow() -> None:
    chosen = AdaDecSettings(threshold=0.5)
    answers = [tokens_of(answer(chosen, 4, 2, Limits(count))[0]) for count in range(1, 15)]
    assert all(longer[: len(shorter)] == shorter for shorter, longer in pairwise(answers))


def test_names_and_promises() -> None:
    small, large = pair()
    method = find_method("adadec")
    ours = method.build(Engines(large=large, small=small), AdaDecSettings(split=True), Aids())
    papers = method.build(Engines(large=large), AdaDecSettings(), Aids())
    assert papers.paper == "arXiv 2506.08980" and ours.paper is None
    assert papers.guarantee is ours.guarantee is Guarantee.APPROXIMATE
    for chosen in (AdaDecSettings(split=True), AdaDecSettings(model="small")):
        with pytest.raises(UsageError, match="needs a pair"):
            method.build(Engines(large=large), chosen, Aids())


def test_closing_early_leaves_the_engine_usable() -> None:
    on = TableEngine(law(6, 3), size=6)
    strategy = AdaDec(Engines(large=on), AdaDecSettings(threshold=0.2), Aids())
    whole = tokens_of(list(strategy.generate(prompt_of([0]), Limits(12))))
    steps = strategy.generate(prompt_of([0]), Limits(12))
    next(steps), next(steps)
    steps.close()
    assert tokens_of(list(strategy.generate(prompt_of([0]), Limits(12)))) == whole
