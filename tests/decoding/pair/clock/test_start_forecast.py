"""The small model is started where a forecast is certain, or where two in a row agree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.clock.cost_curve import (
    BEFOREHAND,
    SURELY,
    UNSEEN,
    WINDOW,
    CostCurve,
    LearnedCurve,
)
from adec.decoding.pair.clock.start_forecast import (
    CONFIRMED,
    RECONSIDERED,
    StartDecision,
    StartForecast,
)
from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.strategy import Aids, Limits
from tests.decoding.clock import Clock, timed_pair
from tests.laws import prompt_of


def forecast(speed: float, *, noise: float = 0.0, won: float = 100.0, reading: float = 50.0):
    return StartForecast("small", speed, won, reading, noise)


@given(st.floats(0.2, 4.0), st.floats(0.0, 0.5), st.floats(-50, 500), st.floats(0, 200))
def test_what_pays_surely_pays(speed, noise, won, reading) -> None:
    made = forecast(speed, noise=noise, won=won, reading=reading)
    assert made.pays or not made.pays_surely
    assert forecast(speed, won=won, reading=reading).pays_surely == made.pays


def test_one_uncertain_forecast_starts_nothing_and_two_in_a_row_do() -> None:
    decision = StartDecision()
    assert decision.waits(0) == 0
    assert not decision.weigh(forecast(1.2, noise=0.2), 0)
    assert decision.waits(0) == CONFIRMED
    assert not decision.weigh(forecast(0.9, noise=0.2), CONFIRMED)
    assert decision.waits(CONFIRMED) == RECONSIDERED
    assert not decision.weigh(forecast(1.2, noise=0.2), 20)
    assert decision.weigh(forecast(1.2, noise=0.2), 24)


def test_a_certain_forecast_starts_at_once_and_a_refusal_is_said_once_an_answer() -> None:
    decision = StartDecision()
    assert decision.weigh(forecast(2.0, noise=0.2), 0)
    assert decision.take_refusal() is None
    decision.new_answer()
    assert not decision.weigh(forecast(0.9), 0)
    assert "0.90 of plain speed" in (decision.take_refusal() or "")
    assert not decision.weigh(forecast(0.8), 16)
    assert decision.take_refusal() is None


def test_noise_is_what_the_latest_forwards_scatter() -> None:
    times = LearnedCurve(CostCurve({1: 10.0}))
    assert times.noise == BEFOREHAND
    assert LearnedCurve().noise == UNSEEN
    times.record(1, 30.0)
    assert times.noise == UNSEEN
    times.forget()
    for _ in range(SURELY):
        times.record(1, 10.0)
    assert times.noise == 0.0
    for ms in (8.0, 12.0, 10.0):
        times.record(1, ms)
    assert abs(times.noise - 0.2) < 1e-9


def started(slow: range, *, prompt: int = 5, all_slow: bool = False, small_ms: float = 9.0) -> bool:
    """Whether EAD starts the small model, whose blocks take as long as plain decoding at 9 ms.

    In `slow` forwards of one token the large model takes twice as long as usual; `all_slow`: so
    does the small one meanwhile.
    """
    clock, single = Clock(), []

    def usual(count: int) -> float:
        return 9.0 + count

    def is_slow() -> bool:
        return len(single) in slow

    def large_ms(count: int) -> float:
        single.extend([count] if count == 1 else [])
        return usual(count) * (2 if is_slow() else 1)

    def of_small(count: int) -> float:
        return (small_ms + 0.1 * (count - 1)) * (2 if all_slow and is_slow() else 1)

    small, large = timed_pair(
        clock, likeness=0.99, small_cost=of_small, large_cost=large_ms, context=400
    )
    curves = {
        "large": CostCurve({n: usual(n) for n in (1, 2, 4, 8, 16, 32, 64)}),
        "small": CostCurve({1: small_ms, 64: small_ms + 6.3}),
    }
    chosen = EadSettings(accept="exact", wake="clock")
    with clock.installed():
        ead = Ead(small, large, chosen, Aids(curves))
        steps = ead.generate(prompt_of([0] * prompt), Limits(120))
        return any(forward.model == "small" for step in steps for forward in step.forwards)


def test_a_slow_moment_of_the_large_model_starts_nothing() -> None:
    """The small model's times were measured in a quiet one, and would be slower now as well."""
    for first in range(0, 24, 3):
        for length in range(1, 40, 4):
            # a forward of five tokens in a quiet moment stays in the curve beside the slow ones
            prompt = 5 if length <= WINDOW else 1
            assert not started(range(first, first + length), prompt=prompt)
    assert not started(range(200), all_slow=True)
    # it is the times that decide
    assert started(range(0), small_ms=2.0)
