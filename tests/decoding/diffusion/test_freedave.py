"""FreeDave writes what one position a forward writes, in fewer forwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.diffusion.draft_width import DraftWidth
from adec.decoding.diffusion.freedave import FreeDaveSettings
from adec.decoding.meter import Meter
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.settings import build
from adec.decoding.strategy import Limits
from adec.engines.table_canvas import TableCanvas
from adec.errors import UsageError
from adec.events.records import Guarantee, Role, Step
from adec.sampling import Sampler
from tests.decoding.diffusion.tables import (
    END,
    SIZE,
    answer_of,
    canvas_strategy,
    filled_in,
    law,
    steps_of,
)
from tests.laws import prompt_of


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sway=st.sampled_from([0.0, 0.1, 0.4, 1.0]),
    end=st.sampled_from([0.0, 0.3, 2.0]),
    shape=st.sampled_from([(8, 4), (6, 6), (12, 3), (4, 4)]),
    drafts=st.integers(1, 6),
    least=st.sampled_from([0.0, 0.3, 0.9]),
    order=st.sampled_from(["confidence", "margin", "entropy"]),
    count=st.integers(1, 14),
    temperature=st.sampled_from([0.0, 0.8]),
    width=st.sampled_from(["clock", "fixed"]),
)
def test_it_writes_what_one_position_a_forward_writes(
    seed: int,
    sway: float,
    end: float,
    shape: tuple[int, int],
    drafts: int,
    least: float,
    order: str,
    count: int,
    temperature: float,
    width: str,
) -> None:
    limits = Limits(count, frozenset({END}), Sampler(temperature, seed=seed))
    common = {"canvas": shape[0], "block": shape[1], "order": order}
    table = law(seed, end=end, sway=sway)
    once = canvas_strategy("steps", TableCanvas(table, size=SIZE), **common)
    many = canvas_strategy(
        "freedave", TableCanvas(table, size=SIZE), drafts=drafts, least=least, width=width, **common
    )
    one, made = steps_of(once, [0, 1], limits), steps_of(many, [0, 1], limits)
    assert answer_of(made) == answer_of(one)
    # not only the answer, but the whole way, with its signals
    way = [token for step in one for token in step.detail.filled]  # type: ignore[union-attr]
    both = {token.position: token for token in way}
    for step in made:
        for token in step.detail.filled:  # type: ignore[union-attr]
            assert both[token.position] == token
    at = 0
    for step in made:
        steps = one[at : at + step.accepted + 1]
        reached = {place for before in steps for place in filled_in(before)}
        ends = [t.position for t in step.detail.filled if t.id == END]  # type: ignore[union-attr]
        assert set(filled_in(step)) == {p for p in reached if not ends or p <= ends[0]}
        at += step.accepted + 1
    assert at == len(one)


def test_where_nothing_sways_it_a_batch_is_right_to_its_end() -> None:
    engine = TableCanvas(law(3, end=0.0, sway=0.0), size=SIZE)
    made = steps_of(
        canvas_strategy("freedave", engine, canvas=8, block=8, drafts=4, least=0.0, width="fixed"),
        [0],
        Limits(8),
    )
    assert [len(filled_in(step)) for step in made] == [4, 4]
    assert [(step.drafted, step.accepted) for step in made] == [(3, 3), (3, 3)]


def test_a_draft_ends_where_the_model_is_unsure() -> None:
    engine = TableCanvas(law(3, end=0.0, sway=0.0), size=SIZE)
    made = steps_of(
        canvas_strategy("freedave", engine, canvas=8, block=8, drafts=4, least=1.0, width="fixed"),
        [0],
        Limits(8),
    )
    assert [len(filled_in(step)) for step in made] == [1] * 8
    assert len(engine.fed) == 8


def test_it_is_exact_and_takes_no_cache() -> None:
    engine = TableCanvas(law(1), size=SIZE)
    assert canvas_strategy("freedave", engine).guarantee is Guarantee.EXACT
    with pytest.raises(UsageError, match="no setting 'cache'"):
        build(FreeDaveSettings, "freedave", ("--set", {"cache": "dual"}))


def test_a_closed_generator_leaves_the_engine_usable() -> None:
    engine = TableCanvas(law(8, end=0.0), size=SIZE)
    strategy = canvas_strategy("freedave", engine, canvas=8, block=4)
    whole = answer_of(steps_of(strategy, [0], Limits(8)))
    begun = iter(strategy.generate(prompt_of([0]), Limits(8)))
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert answer_of(steps_of(strategy, [0], Limits(8))) == whole


class ScriptedMeter(Meter):
    """Forwards take as long as a script says, by their positions."""

    def __init__(self, ms: Callable[[int], float]) -> None:
        self._script = ms
        super().__init__()

    def stated_canvas_ms(self, model: Role, count: int) -> float:
        return self._script(count)


LENGTH = 33


def spent(steps: list[Step]) -> float:
    return sum(forward.ms for step in steps for forward in step.forwards)


def both_times(sway: float, ms: Callable[[int], float]) -> tuple[float, float]:
    """What five answers take one position a forward, and with drafts."""
    limits = Limits(LENGTH - 1, meter=lambda: ScriptedMeter(ms))
    size = {"canvas": LENGTH - 1, "block": 16}
    table = law(5, end=0.0, sway=sway, sharp=12.0)
    one = canvas_strategy("steps", TableCanvas(table, size=SIZE), **size)
    many = canvas_strategy("freedave", TableCanvas(table, size=SIZE), **size)
    times = [0.0, 0.0]
    for prompt in range(5):
        for place, strategy in enumerate((one, many)):
            times[place] += spent(steps_of(strategy, [prompt], limits))
    return times[0], times[1]


@pytest.mark.parametrize("sway", [0.0, 0.05, 0.3, 1.0])
def test_where_a_batch_costs_what_its_canvases_cost_it_never_loses(sway: float) -> None:
    one, many = both_times(sway, lambda count: count / LENGTH)
    assert many <= 1.02 * one


@pytest.mark.parametrize("sway", [0.0, 0.05])
def test_where_a_batch_costs_what_one_canvas_costs_it_gains(sway: float) -> None:
    one, many = both_times(sway, lambda count: 1.0)
    assert many < 0.8 * one


def test_drafts_that_do_not_hold_are_not_paid_for_twice() -> None:
    """A batch is half price, and no draft holds: it is found out, and costs little."""
    one, many = both_times(1.0, lambda count: 0.5 + 0.5 * count / LENGTH)
    assert many <= 1.1 * one


def test_a_profile_s_curve_says_what_a_width_costs_before_it_is_seen() -> None:
    flat, steep = CostCurve({10: 1.0, 40: 1.1}), CostCurve({10: 1.0, 40: 4.0})
    for curve, wide in ((flat, 4), (steep, 1), (None, 1)):
        width = DraftWidth(4, curve)
        assert width.choose(10, [0.9] * 3) == 1  # no time of one canvas is known yet
        for _ in range(3):
            width.took(1, 10, 1.0)
        assert width.choose(10, [0.9] * 3) == wide
