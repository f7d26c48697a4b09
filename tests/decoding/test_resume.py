"""What an engine holds of the next prompt is not read again, which changes no answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.plain import Plain
from adec.decoding.registry import METHODS
from adec.decoding.strategy import Aids, Exchange, Limits, Prompt
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.parts.part import Part
from adec.sampling import Sampler
from tests.decoding.heads.pseudo_table import PseudoTable, pseudo_part
from tests.decoding.heads.test_ppd import part as prompt_part
from tests.decoding.layers.layered import LayeredTable
from tests.decoding.layers.test_early_exit import random_part
from tests.laws import law, pair, prompt_of

# their draws also depend on how far they drafted, and so on the clock
DRAWS_BY_DRAFTS = {"dyspec", "tli"}

# what a later prompt keeps of the sequence before it, from the end, and what it adds
TURNS = st.lists(
    st.tuples(st.integers(0, 9), st.lists(st.integers(0, 5), max_size=9)), min_size=1, max_size=4
)


class Talk:
    """A strategy that answers one prompt after another."""

    def __init__(self, name: str, seed: int, *, resume: bool) -> None:
        self.seed = seed
        small, large = pair(seed, likeness=0.8)
        self.small, self.large = small, large
        exchange = Exchange("", lambda _: [1, 2], lambda ids: str(ids))
        method = METHODS[name]
        if "layers" in method.needs["large"]:
            self.large = LayeredTable(seed)
        elif "pseudo" in method.needs["large"]:
            self.large = PseudoTable(seed)
        self.strategy = method.build(
            Engines(small=small, large=self.large),
            method.settings(),
            Aids({}, lambda: exchange, part=self.part),
        )
        self.resume = resume

    def part(self, kind: str) -> Part:
        if isinstance(self.large, PseudoTable):
            return pseudo_part(kind)
        if kind == "ppd":
            return prompt_part()
        return random_part("linear", self.seed, kind=kind)

    def answer(self, ids: list[int], count: int, sampler: Sampler, stop: int) -> list[int]:
        limits = Limits(count, frozenset({5}), sampler, chunk=4, resume=self.resume)
        tokens: list[int] = []
        for step in self.strategy.generate(Prompt(tuple(ids)), limits):
            tokens += [token.id for token in step.tokens]
            if len(tokens) >= stop:  # as when Ctrl-C ends it
                break
        return tokens[:stop]


# a canvas is computed whole, so nothing of it can be kept
LEFT_TO_RIGHT = [name for name, method in METHODS.items() if "canvas" not in method.needs["large"]]


@pytest.mark.parametrize("name", LEFT_TO_RIGHT)
@given(
    seed=st.integers(0, 50),
    turns=TURNS,
    temperature=st.sampled_from((0.0, 0.8)),
    stop=st.integers(1, 12),
)
def test_a_resumed_answer_is_that_of_a_fresh_run(
    name: str, seed: int, turns: list[tuple[int, list[int]]], temperature: float, stop: int
) -> None:
    kept, fresh = Talk(name, seed, resume=True), Talk(name, seed, resume=False)
    sampler = Sampler(0.0 if name in DRAWS_BY_DRAFTS else temperature, seed=seed)
    sequence = [0]
    for back, new in turns:
        ids = sequence[: len(sequence) - back] + new or [0]
        answer = kept.answer(ids, 12, sampler, stop)
        assert answer == fresh.answer(ids, 12, sampler, stop)
        sequence = ids + answer


@given(seed=st.integers(0, 50), turns=TURNS)
def test_only_what_is_new_is_read(seed: int, turns: list[tuple[int, list[int]]]) -> None:
    engine = TableEngine(law(6, seed), size=6)
    ids = [0, 1]
    for back, new in turns:
        held = engine.tokens
        same = next((i for i, (a, b) in enumerate(zip(held, ids, strict=False)) if a != b), None)
        same = min(len(held), len(ids)) if same is None else same
        steps = list(Plain(engine).generate(prompt_of(ids), Limits(6, chunk=4, resume=True)))
        read = sum(step.fed("large", prompt=True) for step in steps)
        assert read == len(ids) - min(same, len(ids) - 1)
        ids = [*ids, *(token.id for step in steps for token in step.tokens)]
        ids = ids[: len(ids) - back] + new or [0]


def test_an_engine_that_cannot_be_cut_reads_all_again() -> None:
    engine = TableEngine(law(6, 1), size=6, capabilities=frozenset())
    for ids in ([0, 1, 2], [0, 1, 3, 4]):
        steps = list(Plain(engine).generate(prompt_of(ids), Limits(3, resume=True)))
        assert sum(step.fed("large", prompt=True) for step in steps) == len(ids)


def test_without_being_asked_to_nothing_is_kept() -> None:
    engine = TableEngine(law(6, 1), size=6)
    for _ in range(2):
        steps = list(Plain(engine).generate(prompt_of([0, 1, 2]), Limits(3)))
        assert sum(step.fed("large", prompt=True) for step in steps) == 3
