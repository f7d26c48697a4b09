"""What a step's time is made of: forwards, rewinds that run the model, the strategy's own work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.meter import Meter
from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.events.tally import Tally
from tests.decoding.clock import Clock, TimedTable, cpu, timed_pair
from tests.laws import blend, law, prompt_of


class Rereading(TimedTable):
    """Rewinds by a snapshot and feeds the rest again, at a millisecond a token."""

    rewinds_by_reading = True

    def rewind(self, length: int) -> None:
        self._clock.now += length / 1000
        super().rewind(length)


@pytest.mark.parametrize("name", ["adaedl", "speculate", "smartspec", "dyspec", "iad"])
def test_a_rewind_that_reads_again_is_timed_and_is_nobodys_token(name) -> None:
    clock = Clock()
    target = law(6, 3, sharpness=8.0)
    draft = blend(target, law(6, 4, sharpness=8.0), 0.8)
    large = Rereading(target, clock, cpu(10.0, 1.0), size=6, name="large")
    small = Rereading(draft, clock, cpu(1.0, 0.2), size=6, name="small")
    engines = Engines(large=large, small=small)
    strategy = find_method(name).build(engines, find_method(name).settings(), Aids())
    tally, reads = Tally(name, "exact"), 0
    with clock.installed():
        for step in strategy.generate(prompt_of([0, 1]), Limits(80)):
            tally.add(step, 0.0)
            assert step.own_ms < 1e-6
            reads += step.kind == "prompt" and step.fed("large", prompt=True) > 0
    summary = tally.summary(0.0)
    fed = sum(map(len, large.fed)) + sum(map(len, small.fed))
    assert summary["rewind_ms"] > 0
    assert fed == sum(summary[f"{role}_fed"] + summary[f"{role}_prompt_fed"] for role in engines)
    assert summary["large_forwards"] == len(large.fed) - reads


@pytest.mark.parametrize("name", ["speculate", "dyspec", "smartspec", "ead", "bild"])
def test_free_rewinds_leave_no_trace(name) -> None:
    clock = Clock()
    small, large = timed_pair(clock, 3)
    engines, method = Engines(large=large, small=small), find_method(name)
    strategy = method.build(engines, method.settings(), Aids())
    with clock.installed():
        steps = list(strategy.generate(prompt_of([0, 1]), Limits(30)))
    assert all(forward.purpose != "rewind" for step in steps for forward in step.forwards)


class Stated(Meter):
    """Says that every token takes a second."""

    def stated_ms(self, engine, model, count) -> float:
        return 1000.0 * count


@given(st.integers(0, 30), st.sampled_from(["none", "exact"]))
def test_a_meter_may_state_times_that_no_clock_saw(seed, accept) -> None:
    target = law(6, seed)
    small, large = TableEngine(target, size=6), TableEngine(target, size=6)
    chosen = EadSettings(up=0.9, window=1, dwell=0, accept=accept)
    steps = Ead(small, large, chosen).generate(prompt_of([0, 1]), Limits(12, meter=Stated))
    for step in steps:
        assert step.ms() == pytest.approx(1000 * sum(f.tokens for f in step.forwards))
        assert 0 <= step.own_ms < 1000
