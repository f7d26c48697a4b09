"""Within the sizes that were measured, every exact method's answer is plain's, bit for bit.

The large model here gives other rows in forwards of other sizes, and remembers in its cache what
was read in them, so that one wrong forward shows in all that follows.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.pair.ead import EadSettings
from adec.decoding.pair.model_free.lookup import LookupSettings
from adec.decoding.pair.model_free.recycling import RecyclingSettings
from adec.decoding.plain import Plain
from adec.decoding.registry import METHODS, find_method
from adec.decoding.strategy import Aids, Limits
from adec.engines.exactness.bitwise import BitwiseEngine
from adec.engines.exactness.invariance import Invariance, measure_invariance
from adec.engines.pair import Engines
from adec.events.records import Guarantee
from tests.decoding.clock import LARGE, SMALL, Clock, TimedTable
from tests.decoding.pair.test_draft_verify import END, FOLLOWING, KNOWN, samplers
from tests.engines.shaped import ShapedTable
from tests.laws import blend, law, prompt_of

EXACT = FOLLOWING | {
    "ead": st.builds(
        EadSettings,
        up=st.floats(0.2, 1.5),
        window=st.integers(1, 3),
        dwell=st.integers(0, 3),
        accept=st.just("exact"),
        wake=st.sampled_from(["doubt", "clock"]),
        longest=st.integers(1, 12),
    )
}
exact = st.sampled_from(sorted(EXACT)).flatmap(lambda name: st.tuples(st.just(name), EXACT[name]))


class TimedShapes(TimedTable, ShapedTable):
    """Such an engine on a clock."""


def large_model(seed: int, clock: Clock, shape) -> TimedShapes:
    engine = TimedShapes(law(6, seed, sharpness=8.0), clock, LARGE, name="large", size=6)
    engine.chains, engine.trees, engine.reach, engine.rivals = shape
    return engine


def small_model(seed: int, clock: Clock, likeness: float) -> TimedTable:
    draft = blend(law(6, seed, sharpness=8.0), law(6, seed + 1000, sharpness=8.0), likeness)
    return TimedTable(draft, clock, SMALL, name="small", size=6)


@cache
def found_of(shape) -> Invariance:
    return measure_invariance(large_model(0, Clock(), shape), [0, 1, 2], [3, 4, 0, 1], reach=40)


def plain_of(seed: int, shape, prompt, limits: Limits) -> tuple[list[int], list[int]]:
    """The tokens of plain decoding, and the marks in its cache."""
    engine = large_model(seed, Clock(), shape)
    steps = Plain(engine).generate(prompt_of(prompt), limits)
    return [token.id for step in steps for token in step.tokens], engine.marks


shapes = st.sampled_from(
    [
        ((2, 3), (2, 3), 10_000, 10_000),  # as K-quants are
        ((2, 3), (), 10_000, 10_000),
        ((2, 3, 4, 5, 6, 8, 12, 16, 32), (2, 3, 4, 5, 6, 8, 12, 16, 32), 10_000, 10_000),
        ((2, 3, 4, 5, 6, 8, 12, 16, 32), (2, 3, 4, 5, 6, 8, 12, 16, 32), 10_000, 14),
        ((2, 3, 4, 8), (2, 4, 8), 45, 10_000),  # as attention that is split over threads
        ((), (), 10_000, 10_000),
        ((8,), (4,), 10_000, 10_000),
    ]
)


@settings(max_examples=120, deadline=None)
@given(
    exact,
    samplers,
    shapes,
    st.integers(0, 50),
    st.integers(0, 60),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.7, 1.0]),
    st.booleans(),
    st.sampled_from([4, 256]),
    st.sampled_from([1, 3]),
)
def test_every_exact_method_is_plain_bit_for_bit(
    named, sampler, shape, seed, count, length, likeness, known, chunk, answers
) -> None:
    name, chosen = named
    clock = Clock()
    small, large = small_model(seed, clock, likeness), large_model(seed, clock, shape)
    guarded = BitwiseEngine(large)
    guarded.plan_within(found_of(shape))
    aids = Aids(curves=KNOWN if known else {})
    strategy = find_method(name).build(Engines(large=guarded, small=small), chosen, aids)
    assert strategy.guarantee is Guarantee.EXACT
    prompt = [token % 5 for token in range(length)]
    limits = Limits(count, END, sampler, chunk=chunk, bitwise=True)
    tokens, marks = plain_of(seed, shape, prompt, limits)
    for _ in range(answers):
        guarded.begin(prompt, chunk)
        with clock.installed():
            steps = list(strategy.generate(prompt_of(prompt), limits))
        assert [token.id for step in steps for token in step.tokens] == tokens
        # what the cache holds was read in forwards that leave plain's marks
        assert large.marks == marks[: len(large.marks)]
        assert large.length >= min(len(prompt), len(marks)) or not tokens


def test_all_methods_that_can_be_exact_are_among_them() -> None:
    unable = {"plain", "slem", "tli", "adadec", "iad"}
    unable |= {m.name for m in METHODS.values() if not m.needs["large"] <= {"rewind", "tree"}}
    assert set(EXACT) == set(METHODS) - unable, "slem and tli need two vocabularies"


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("lookup", LookupSettings(size="fixed", least=1)),
        ("recycling", RecyclingSettings(size="fixed", budget=12)),
    ],
)
def test_without_it_such_a_model_gives_other_answers(name, chosen) -> None:
    shape = ((2, 3), (), 10_000, 10_000)
    prompt = [0, 1, 2, 0, 1, 2, 0]
    unlike = 0
    for seed in range(12):
        limits = Limits(40)
        large = large_model(seed, Clock(), shape)
        steps = find_method(name).build(Engines(large=large), chosen, Aids())
        tokens = [t.id for s in steps.generate(prompt_of(prompt), limits) for t in s.tokens]
        unlike += tokens != plain_of(seed, shape, prompt, limits)[0]
    assert unlike > 3


@pytest.mark.parametrize("wake", ["doubt", "clock"])
def test_drafts_are_planned_within_the_sizes(wake) -> None:
    """No forward has to be cut into single tokens: what is drafted fits from the start."""
    shape = ((2, 3), (), 10_000, 10_000)
    methods = {
        "lookup": LookupSettings(size="fixed", least=1),
        "recycling": RecyclingSettings(size="fixed", budget=12),
        "ead": EadSettings(up=9.0, accept="exact", wake=wake),
    }
    for name, chosen in methods.items():
        clock = Clock()
        small, large = small_model(1, clock, 1.0), large_model(1, clock, shape)
        guarded = BitwiseEngine(large)
        guarded.plan_within(found_of(shape))
        guarded.begin([0, 1, 2, 0, 1, 2], 256)
        strategy = find_method(name).build(
            Engines(large=guarded, small=small), chosen, Aids(curves=KNOWN)
        )
        limits = Limits(40, bitwise=True)
        with clock.installed():
            steps = list(strategy.generate(prompt_of([0, 1, 2, 0, 1, 2]), limits))
        sizes = [f.tokens for s in steps for f in s.forwards if f.purpose == "verify"]
        # the first one may read the end of the prompt as well, which comes in a forward of its own
        assert max(sizes[1:]) == 3, name


@settings(max_examples=60, deadline=None)
@given(exact, shapes, st.integers(0, 30), st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_a_conversation_is_that_of_plain(named, shape, seed, lengths) -> None:
    """Each answer goes on from what the engine holds of the one before."""
    name, chosen = named
    clock = Clock()
    small, large = small_model(seed, clock, 0.7), large_model(seed, clock, shape)
    guarded = BitwiseEngine(large)
    guarded.plan_within(found_of(shape))
    strategy = find_method(name).build(Engines(large=guarded, small=small), chosen, Aids())
    yardstick = large_model(seed, Clock(), shape)
    limits = Limits(12, END, chunk=4, resume=True, bitwise=True)
    said: list[int] = []
    for number, length in enumerate(lengths):
        said += [(number + token) % 5 for token in range(length)]
        guarded.begin(said, limits.chunk)
        with clock.installed():
            steps = list(strategy.generate(prompt_of(said), limits))
        wanted = list(Plain(yardstick).generate(prompt_of(said), limits))
        tokens = [token.id for step in wanted for token in step.tokens]
        assert [token.id for step in steps for token in step.tokens] == tokens
        assert large.marks == yardstick.marks[: len(large.marks)]
        said += tokens
