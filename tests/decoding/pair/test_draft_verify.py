"""Every speculating strategy: what it commits, what its engines hold, what its steps say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.pair.adaedl import AdaEdlSettings
from adec.decoding.pair.bild import BildSettings
from adec.decoding.pair.cascade import CascadeSettings
from adec.decoding.pair.clock.cost_curve import GRID, CostCurve
from adec.decoding.pair.dyspec import DySpecSettings
from adec.decoding.pair.fly import FlySettings
from adec.decoding.pair.model_free.aded import AdedSettings
from adec.decoding.pair.model_free.lookup import LookupSettings
from adec.decoding.pair.model_free.recycling import RecyclingSettings
from adec.decoding.pair.model_free.suffix import SuffixSettings
from adec.decoding.pair.smartspec import SmartSpecSettings
from adec.decoding.pair.speculate import SpeculateSettings
from adec.decoding.plain import Plain
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.events.records import Guarantee, TreeRecord
from adec.sampling import Sampler
from tests.decoding.clock import Clock, cpu, timed_pair
from tests.laws import law, prompt_of

END = frozenset({5})

FOLLOWING = {
    "speculate": st.builds(
        SpeculateSettings,
        longest=st.integers(1, 20),
        small=st.booleans(),
        suffix=st.booleans(),
        recycling=st.booleans(),
    ),
    "smartspec": st.builds(SmartSpecSettings, longest=st.integers(1, 6), start=st.floats(0, 1)),
    "adaedl": st.builds(AdaEdlSettings, start=st.floats(0, 0.9), longest=st.integers(1, 6)),
    "aded": st.builds(
        AdedSettings,
        iterations=st.integers(1, 40),
        budget=st.integers(1, 20),
        size=st.sampled_from(["time", "fixed"]),
    ),
    "recycling": st.builds(
        RecyclingSettings, budget=st.integers(1, 20), size=st.sampled_from(["time", "fixed"])
    ),
    "suffix": st.builds(
        SuffixSettings,
        least=st.integers(1, 3),
        longest=st.integers(1, 20),
        recycling=st.booleans(),
    ),
    "lookup": st.builds(
        LookupSettings,
        least=st.integers(1, 3),
        tokens=st.integers(1, 10),
        size=st.sampled_from(["time", "fixed"]),
    ),
    "dyspec": st.builds(
        DySpecSettings,
        shape=st.sampled_from(["greedy", "threshold"]),
        budget=st.integers(1, 16),
        size=st.sampled_from(["time", "fixed"]),
        temperature=st.sampled_from([None, 0.6]),
        accept=st.just("follow"),
    ),
    "cascade": st.builds(CascadeSettings, accept=st.just("exact")),
    "bild": st.builds(BildSettings, fallback=st.floats(0, 1), accept=st.just("exact")),
    "fly": st.builds(FlySettings, drafts=st.integers(1, 9), accept=st.just("exact")),
}
OTHERS = {
    "dyspec": st.builds(
        DySpecSettings,
        shape=st.sampled_from(["greedy", "threshold"]),
        budget=st.integers(1, 16),
        size=st.sampled_from(["time", "fixed"]),
        temperature=st.sampled_from([None, 0.6]),
    ),
    "cascade": st.builds(
        CascadeSettings,
        rule=st.sampled_from(["optimal", "difference", "chow"]),
        alpha=st.floats(0, 1),
    ),
    "bild": st.builds(BildSettings, fallback=st.floats(0, 1), rollback=st.floats(0, 4)),
    "fly": st.builds(
        FlySettings, window=st.integers(2, 4), gate=st.floats(0, 1), drafts=st.integers(1, 9)
    ),
}
following = st.sampled_from(sorted(FOLLOWING)).flatmap(
    lambda name: st.tuples(st.just(name), FOLLOWING[name])
)
any_strategy = st.one_of(
    following,
    st.sampled_from(sorted(OTHERS)).flatmap(lambda name: st.tuples(st.just(name), OTHERS[name])),
)
samplers = st.builds(
    Sampler,
    temperature=st.sampled_from([0.0, 0.0, 0.7, 1.3]),
    top_k=st.sampled_from([0, 3]),
    top_p=st.sampled_from([1.0, 0.8]),
    min_p=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 99),
)
capabilities = st.sampled_from([frozenset({"rewind"}), frozenset({"rewind", "tree"})])


KNOWN = {"large": CostCurve({1: 10.0, 64: 73.0}), "small": CostCurve({1: 1.0, 16: 4.0})}


def steps_of(named, clock, small, large, prompt, limits, *, known=False, answers=1):
    """Of the last of some answers to one prompt. `known`: forward times are given beforehand, as a
    profile does.
    """
    name, chosen = named
    aids = Aids(curves=KNOWN if known else {})
    strategy = find_method(name).build(Engines(large=large, small=small), chosen, aids)
    for _ in range(answers - 1):
        with clock.installed():
            list(strategy.generate(prompt_of(prompt), limits))
        small.fed.clear()
        large.fed.clear()
    with clock.installed():
        yield from strategy.generate(prompt_of(prompt), limits)


def plain(seed, prompt, limits, **options):
    _, large = timed_pair(Clock(), seed, **options)
    return [t.id for s in Plain(large).generate(prompt_of(prompt), limits) for t in s.tokens]


@settings(max_examples=300, deadline=None)
@given(
    following,
    samplers,
    st.integers(0, 50),
    st.integers(0, 40),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.7, 1.0]),
    capabilities,
    st.booleans(),
    st.sampled_from([2, 256]),
    st.sampled_from([1, 4]),
)
def test_following_the_target_gives_the_large_models_tokens(
    named, sampler, seed, count, prompt, likeness, able, known, chunk, answers
) -> None:
    """Token by token, greedy and sampled, warpers on, for every drafter and shape: equality, no
    statistics.
    """
    if named[0] == "dyspec":
        able = frozenset({"rewind", "tree"})
    clock = Clock()
    small, large = timed_pair(clock, seed, likeness=likeness, sharpness=8.0, capabilities=able)
    limits = Limits(count, END, sampler, chunk=chunk)
    steps = steps_of(
        named, clock, small, large, range(prompt), limits, known=known, answers=answers
    )
    committed = [token.id for step in steps for token in step.tokens]
    assert committed == plain(seed, range(prompt), limits, sharpness=8.0)


@settings(max_examples=300, deadline=None)
@given(
    any_strategy,
    samplers,
    st.integers(0, 50),
    st.integers(1, 40),
    st.sampled_from([9, 14, 60]),
    st.sampled_from([7, 12, 60]),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from([2, 256]),
)
def test_engines_hold_what_was_committed_and_nothing_else(
    named, sampler, seed, count, context, small_context, prompt, known, chunk
) -> None:
    """After every step each cache is a prefix of prompt + output, its newest token unread, and
    everything fed is on record.
    """
    clock = Clock()
    small, large = timed_pair(clock, seed, sharpness=8.0, context=context)
    small.context = small_context
    sequence = list(range(prompt))
    fed = {"small": 0, "large": 0}
    limits = Limits(count, END, sampler, chunk=chunk)
    for step in steps_of(named, clock, small, large, range(prompt), limits, known=known):
        sequence += [token.id for token in step.tokens]
        for engine, role in ((small, "small"), (large, "large")):
            fed[role] += step.fed(role) + step.fed(role, prompt=True)
            assert fed[role] == sum(map(len, engine.fed))
            assert list(engine.tokens) == sequence[: engine.length]
            assert engine.length < len(sequence) or step.kind == "prompt"
        if step.kind in ("wake", "write"):
            assert large.length == len(sequence) - 1
            assert len(step.tokens) in (step.accepted, step.accepted + 1)
            assert step.accepted <= step.drafted
            assert (step.detail is None) == (step.drafted == 0)
            for token in step.tokens[: step.accepted]:
                assert token.how == "accepted" and token.source != "large"
            if isinstance(step.detail, TreeRecord):
                path = [step.detail.tokens[node] for node in step.detail.accepted]
                assert path == [token.id for token in step.tokens[: step.accepted]]
    assert len(sequence) - prompt <= min(count, context - prompt)
    ended = sequence[-1] in END and len(sequence) > prompt
    assert ended or len(sequence) - prompt == min(count, context - prompt)


def step_law(right: int, wrong=None):
    """Counts up modulo 5; at the length `wrong` it says 0 instead."""

    def distribution(prefix):
        row = [0.0] * 6
        row[0 if len(prefix) == wrong else (prefix[-1] + right) % 5] = 1.0
        return row

    return distribution


@pytest.mark.parametrize(
    "name", ["dyspec", "adaedl", "smartspec", "speculate", "bild", "cascade", "fly"]
)
def test_forced_rejections_at_every_position(name) -> None:
    """The draft differs from the target at one position; the round after the rejection accepts
    everything again.

    A rewind that is off by one shows only here: elsewhere it just lowers acceptance.
    """
    chosen = {
        "dyspec": DySpecSettings(budget=4, size="fixed"),
        "bild": BildSettings(longest=4),
        "cascade": CascadeSettings(accept="exact", drafts=4),
        "fly": FlySettings(accept="exact", drafts=4),
        "adaedl": AdaEdlSettings(longest=4),
        "speculate": SpeculateSettings(suffix=False, recycling=False, longest=4),
    }.get(name, SmartSpecSettings(longest=4))
    for wrong in range(1, 24):
        clock = Clock()
        small, large = timed_pair(clock)
        small._law, large._law = step_law(1, wrong), step_law(1)
        steps = list(steps_of((name, chosen), clock, small, large, [0], Limits(28)))
        assert [t.id for s in steps for t in s.tokens] == [(i + 1) % 5 for i in range(28)]
        rounds = [step for step in steps if step.drafted]
        hit = [step for step in rounds if any(t.how == "corrected" for t in step.tokens)]
        assert len(hit) <= 1  # none where the wrong token happens to be right, or was not drafted
        for step in rounds:
            if step not in hit:
                assert step.accepted == max(step.detail.parents) + 2 or name == "dyspec"
                assert all(t.how in ("accepted", "bonus") for t in step.tokens)


def test_an_end_token_inside_an_accepted_draft_ends_it() -> None:
    def target(prefix):
        row = [0.0] * 6
        row[5 if len(prefix) == 7 else 1] = 1.0
        return row

    for named in (
        ("adaedl", AdaEdlSettings()),
        ("bild", BildSettings()),
        ("cascade", CascadeSettings()),
        ("fly", FlySettings()),
        ("dyspec", DySpecSettings(size="fixed", budget=12)),
        ("recycling", RecyclingSettings(size="fixed")),
    ):
        clock = Clock()
        small, large = timed_pair(clock)
        small._law = large._law = target
        steps = list(steps_of(named, clock, small, large, [0, 1], Limits(50, END)))
        assert [t.id for s in steps for t in s.tokens] == [1, 1, 1, 1, 1, 5]


def test_guarantees() -> None:
    small, large = timed_pair(Clock())
    engines = Engines(large=large, small=small)
    exact = {
        "speculate",
        "dyspec",
        "smartspec",
        "adaedl",
        "aded",
        "recycling",
        "suffix",
        "lookup",
        "plain",
    }
    for name in (*exact, "cascade", "bild", "fly"):
        method = find_method(name)
        strategy = method.build(engines, method.settings(), Aids())
        assert strategy.name == name
        assert (strategy.guarantee is Guarantee.EXACT) == (name in exact)
        assert strategy.guarantee is not Guarantee.BOUNDED
    for name, chosen in (
        ("cascade", CascadeSettings(accept="exact")),
        ("bild", BildSettings(accept="exact")),
        ("fly", FlySettings(accept="exact")),
    ):
        assert find_method(name).build(engines, chosen, Aids()).guarantee is Guarantee.EXACT


@pytest.mark.parametrize("name", ["speculate", "aded", "recycling", "suffix", "lookup"])
def test_one_model_is_enough(name) -> None:
    method = find_method(name)
    assert not method.pair
    engine = TableEngine(law(6, 3, sharpness=20.0), size=6)
    strategy = method.build(Engines(large=engine), method.settings(), Aids())
    limits = Limits(60)
    committed = [t.id for s in strategy.generate(prompt_of([0, 1]), limits) for t in s.tokens]
    again = TableEngine(law(6, 3, sharpness=20.0), size=6)
    assert committed == [
        t.id for s in Plain(again).generate(prompt_of([0, 1]), limits) for t in s.tokens
    ]


@pytest.mark.parametrize("name", sorted(FOLLOWING))
def test_closing_early_leaves_the_engines_usable(name) -> None:
    clock = Clock()
    small, large = timed_pair(clock, 3, sharpness=8.0)
    method = find_method(name)
    strategy = method.build(Engines(large=large, small=small), method.settings(), Aids())
    limits = Limits(30, END)
    with clock.installed():
        for stop in range(1, 12):
            steps = strategy.generate(prompt_of([0, 1]), limits)
            for _, _step in zip(range(stop), steps, strict=False):
                pass
            steps.close()
        committed = [t.id for s in strategy.generate(prompt_of([0, 1]), limits) for t in s.tokens]
    assert committed == plain(3, [0, 1], limits, sharpness=8.0)


def test_who_wrote_what_is_on_record() -> None:
    for name, source in (
        ("aded", "ngram"),
        ("lookup", "ngram"),
        ("recycling", "recycling"),
        ("adaedl", "small"),
    ):
        clock = Clock()
        small, large = timed_pair(clock)
        small._law = large._law = step_law(1)
        method = find_method(name)
        steps = list(
            steps_of(
                (name, method.settings()), clock, small, large, [0, 1, 2, 3, 4, 0, 1], Limits(30)
            )
        )
        sources = {token.source for step in steps for token in step.tokens}
        assert sources == {source, "large"}
        for step in steps:
            assert all(t.entropy is not None and t.probability is not None for t in step.tokens)


@pytest.mark.parametrize("name", ["speculate", "suffix"])
def test_earlier_answers_are_drafted_from_and_the_answer_stays_the_same(name) -> None:
    def answer(earlier):
        clock = Clock()
        _, large = timed_pair(clock, large_cost=cpu(10.0, 0.15))
        large._law = law(6, 3, order=40)
        method = find_method(name)
        curves = {"large": CostCurve({n: 9.85 + 0.15 * n for n in (1, *GRID)})}
        aids = Aids(curves=curves, earlier=earlier)
        strategy = method.build(Engines(large=large), method.settings(recycling=False), aids)
        with clock.installed():
            steps = list(strategy.generate(prompt_of([0, 1, 2]), Limits(30)))
        return [t.id for s in steps for t in s.tokens], sum(s.accepted for s in steps)

    first, alone = answer(None)
    again, helped = answer([[1, 2, *first]])
    assert again == first and helped >= alone + 10


def early(likeness, **chosen):
    """Answer after answer to a prompt of five tokens, the large model's forward times known."""
    clock = Clock()
    # neither its reading of the prompt nor its drafts delay the first token by 5 %
    costs = {"small_cost": cpu(0.05, 0.001), "large_cost": cpu(10.0, 0.15)}
    small, large = timed_pair(clock, 3, likeness=likeness, sharpness=8.0, **costs)
    strategy = find_method("speculate").build(
        Engines(large=large, small=small),
        SpeculateSettings(**chosen),
        Aids(curves={"large": CostCurve({n: 9.85 + 0.15 * n for n in (1, *GRID)})}),
    )
    with clock.installed():
        return [list(strategy.generate(prompt_of(range(5)), Limits(24))) for _ in range(12)]


def test_a_first_draft_rides_along_with_the_prompt() -> None:
    answers = early(1.0)
    # how little the small model costs is seen in the first answer
    for steps in answers[1:]:
        first = next(step for step in steps if step.tokens)
        assert first.drafted and first.accepted == first.drafted
        assert [f.purpose for f in first.forwards if f.model == "large"] == ["prompt", "verify"]
        assert sum(step.fed("large", prompt=True) for step in steps) == 5
    assert next(step for step in answers[-1] if step.tokens).drafted > 1
    for steps in early(1.0, early=False):
        assert next(step for step in steps if step.tokens).drafted == 0


def test_a_draft_that_is_always_wrong_leaves_the_prompt_nearly_alone() -> None:
    drafted = [next(s for s in steps if s.tokens).drafted for steps in early(0.0)]
    assert sum(drafted[-6:]) <= 6
