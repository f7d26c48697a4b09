"""The pair loop: what is committed, what each model read, and when they change hands."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.plain import Plain
from adec.decoding.strategy import Limits
from adec.engines.table import TableEngine
from adec.events.records import Guarantee
from adec.sampling import Sampler
from tests.decoding.clock import Clock, timed_pair
from tests.laws import blend, law, pair, prompt_of

END = frozenset({5})

ead_settings = st.builds(
    EadSettings,
    up=st.floats(0, 2),
    down=st.none() | st.floats(0, 2),
    window=st.integers(1, 6),
    dwell=st.integers(0, 5),
    reset=st.booleans(),
    accept=st.sampled_from(["none", "exact", "tolerant"]),
    share=st.floats(0.001, 1),
    longest=st.integers(1, 6),
)
samplers = st.builds(
    Sampler,
    temperature=st.sampled_from([0.0, 0.7, 1.3]),
    top_k=st.sampled_from([0, 3]),
    top_p=st.sampled_from([1.0, 0.8]),
    seed=st.integers(0, 99),
)


def run(
    settings: EadSettings, *, seed=0, prompt=(0, 1, 2), limits=None, likeness=0.7, context=4096
):
    small, large = pair(seed, likeness=likeness, context=context)
    steps = []
    for step in Ead(small, large, settings).generate(prompt_of(prompt), limits or Limits(30, END)):
        steps.append(step)
    committed = [token.id for step in steps for token in step.tokens]
    return steps, committed, small, large


def plain(seed, prompt, limits, context=4096):
    _, large = pair(seed, context=context)
    steps = Plain(large).generate(prompt_of(prompt), limits)
    return [token.id for step in steps for token in step.tokens]


@settings(max_examples=150, deadline=None)
@given(ead_settings, samplers, st.integers(0, 50), st.integers(1, 25), st.integers(1, 4))
def test_exact_acceptance_gives_the_large_models_tokens(
    chosen, sampler, seed, count, prompt
) -> None:
    """Token by token, greedy and sampled: equality, no statistics."""
    limits = Limits(count, END, sampler)
    chosen = EadSettings(**{**{f: getattr(chosen, f) for f in chosen.__slots__}, "accept": "exact"})
    _, committed, _, _ = run(chosen, seed=seed, prompt=range(prompt), limits=limits)
    assert committed == plain(seed, range(prompt), limits)


@settings(max_examples=150, deadline=None)
@given(ead_settings, samplers, st.integers(0, 50), st.integers(1, 25), st.sampled_from([12, 40]))
def test_engines_hold_what_was_committed_and_nothing_else(
    chosen, sampler, seed, count, context
) -> None:
    """After every step each cache is a prefix of prompt + output, and everything fed is accounted
    for.
    """
    small, large = pair(seed, context=context)
    prompt = [0, 1, 2]
    sequence = list(prompt)
    fed = {"small": 0, "large": 0}
    for step in Ead(small, large, chosen).generate(prompt_of(prompt), Limits(count, END, sampler)):
        sequence += [token.id for token in step.tokens]
        for engine, role in ((small, "small"), (large, "large")):
            if not (chosen.accept != "none" and step.kind == "prompt"):
                assert list(engine.tokens) == sequence[: engine.length]
                assert engine.length < len(sequence) or step.kind == "prompt"
            fed[role] += step.fed(role) + step.fed(role, prompt=True)
        assert step.accepted <= step.drafted
    # a draft phase that never woke the large one may have fed tokens that no step was left to
    # report
    assert fed["large"] == sum(map(len, large.fed))
    assert len(sequence) - len(prompt) <= min(count, context - len(prompt))


def test_a_rule_that_never_fires_is_the_small_model_alone() -> None:
    steps, committed, _, large = run(EadSettings(up=99.0))
    again, _ = pair(0)
    alone = Plain(again, "small").generate(prompt_of([0, 1, 2]), Limits(30, END))
    assert committed == [t.id for s in alone for t in s.tokens]
    assert large.fed == []
    assert {step.kind for step in steps} == {"prompt", "draft"}


def test_a_rule_that_always_fires_is_the_large_model_alone() -> None:
    chosen = EadSettings(up=0.0, down=0.0, window=1, dwell=0)
    steps, committed, _, large = run(chosen)
    assert committed == plain(0, (0, 1, 2), Limits(30, END))
    assert all(token.source == "large" for step in steps for token in step.tokens)
    # woken once: no row is at or below zero nats, so it never hands back
    assert sum(step.kind == "wake" for step in steps) == 1
    assert large.length == 3 + len(committed) - 1


def test_each_model_stays_for_its_dwell() -> None:
    for seed in range(20):
        steps, _, _, _ = run(EadSettings(up=0.9, window=1, dwell=4), seed=seed, limits=Limits(60))
        sources = [token.source for step in steps for token in step.tokens]
        stays = [len(list(group)) for _, group in itertools.groupby(sources)]
        assert all(stay >= 4 for stay in stays[:-1])


def test_hysteresis_keeps_the_large_model_longer() -> None:
    def share(down: float) -> float:
        sources = []
        for seed in range(20):
            steps, *_ = run(
                EadSettings(up=1.0, down=down, window=1, dwell=0), seed=seed, limits=Limits(40)
            )
            sources += [token.source for step in steps for token in step.tokens]
        return sources.count("large") / len(sources)

    assert share(0.3) > share(1.0) > share(99.0)


def test_the_waking_model_reads_what_it_missed_in_one_forward() -> None:
    # the small model is sure except after token 3, which comes every fourth token
    def cycle(prefix):
        sure = [0.0] * 6
        sure[(prefix[-1] + 1) % 4] = 1.0
        return [1 / 6] * 6 if prefix[-1] == 3 else sure

    def always_zero(prefix):
        return [0.9, 0.1, 0, 0, 0, 0] if prefix[-1] == 3 else cycle(prefix)

    small, large = TableEngine(cycle, size=6), TableEngine(always_zero, size=6)
    chosen = EadSettings(up=0.5, window=1, dwell=0)
    steps = list(Ead(small, large, chosen).generate(prompt_of([0]), Limits(12)))
    wakes = [step for step in steps if step.kind == "wake"]
    assert [step.fed("large") for step in wakes] == [4, 4, 4]
    assert all(
        len(step.forwards) == 2 for step in wakes
    )  # the small row that raised the alarm, the catch-up
    assert [token.id for step in steps for token in step.tokens] == [1, 2, 3, 0] * 3
    assert wakes[0].reason == "entropy 1.79 > 0.50 nats"


def test_forced_rejections_at_every_position() -> None:
    """The draft differs from the target at one position of the run; the rounds after it accept
    everything again.
    """
    for wrong in range(1, 20):

        def target(prefix):
            row = [0.0] * 6
            row[(prefix[-1] + 1) % 5] = 1.0
            return row

        def draft(prefix, wrong=wrong):
            row = [0.0] * 6
            row[0 if len(prefix) == wrong else (prefix[-1] + 1) % 5] = 1.0
            return row

        small, large = TableEngine(draft, size=6), TableEngine(target, size=6)
        chosen = EadSettings(up=5.0, accept="exact", dwell=0, longest=3)
        steps = list(Ead(small, large, chosen).generate(prompt_of([0]), Limits(24)))
        committed = [token.id for step in steps for token in step.tokens]
        assert committed == [(i + 1) % 5 for i in range(24)]
        rounds = [step for step in steps if step.kind == "wake"]
        lost = [step.drafted - step.accepted for step in rounds]
        hit = [i for i, count in enumerate(lost) if count]
        assert len(hit) <= 1  # none where the wrong token is the target's anyway
        hows = [step.tokens[-1].how for step in rounds[:-1]]
        assert all(how == ("corrected" if i in hit else "bonus") for i, how in enumerate(hows))


def test_an_end_token_inside_an_accepted_draft_ends_it() -> None:
    def target(prefix):
        row = [0.0] * 6
        row[5 if len(prefix) == 4 else 1] = 1.0
        return row

    small, large = TableEngine(target, size=6), TableEngine(target, size=6)
    chosen = EadSettings(up=9.0, accept="exact", dwell=0, longest=8)
    steps = list(Ead(small, large, chosen).generate(prompt_of([0, 1]), Limits(50, END)))
    assert [token.id for step in steps for token in step.tokens] == [1, 1, 5]


def test_guarantees() -> None:
    small, large = pair()
    assert Ead(small, large, EadSettings()).guarantee is Guarantee.APPROXIMATE
    assert Ead(small, large, EadSettings(accept="exact")).guarantee is Guarantee.EXACT


def test_closing_early_leaves_the_engines_usable() -> None:
    small, large = pair(3)
    strategy = Ead(small, large, EadSettings(up=0.5, window=1, dwell=0))
    steps = strategy.generate(prompt_of([0, 1]), Limits(30))
    for _ in range(6):
        next(steps)
    steps.close()
    committed = [t.id for s in strategy.generate(prompt_of([0, 1]), Limits(30)) for t in s.tokens]
    fresh = Ead(*pair(3), EadSettings(up=0.5, window=1, dwell=0)).generate(
        prompt_of([0, 1]), Limits(30)
    )
    assert committed == [t.id for s in fresh for t in s.tokens]


@pytest.mark.parametrize("accept", ["none", "exact"])
def test_the_sum_of_times_is_the_steps_own(accept) -> None:
    steps, *_ = run(EadSettings(accept=accept, window=1, dwell=0))
    for step in steps:
        assert step.own_ms >= 0 and step.ms() >= 0
        assert step.ms("draft", "large") == 0


def test_blended_laws_are_laws() -> None:
    both = blend(law(6, 1), law(6, 2), 0.3)
    assert sum(both((1, 2))) == pytest.approx(1)


def test_reading_the_prompt_is_not_the_wakes_own_time() -> None:
    """The large model reads the prompt when it first wakes; neither that nor what the consumer does
    meanwhile is the step's.
    """
    clock = Clock()
    with clock.installed():
        small, large = timed_pair(clock, seed=3)
        strategy = Ead(small, large, EadSettings(up=0.0, window=1, dwell=0))
        for step in strategy.generate(prompt_of([0, 1, 2, 3, 4]), Limits(8)):
            clock.now += 0.5
            assert step.own_ms < 1e-6
        assert large.length > 0
