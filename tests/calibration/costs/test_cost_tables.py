"""Forward times: medians, spreads, when to stop, what is left out. The clock is ours."""

from __future__ import annotations

import msgspec
import pytest

from adec.calibration.costs.cost_measuring import LARGE_SIZES, LEAST, MOST, measure_costs
from adec.calibration.costs.cost_tables import (
    CostTable,
    TableData,
    cell_of,
    data_of,
    largest_useful,
    tables_from,
)
from adec.calibration.costs.thread_choice import counts
from adec.calibration.replay.agreement import logistic_of, percentile_of
from adec.calibration.trials.measured import front
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.engines.pair import Engines
from adec.events.hostile_json import JsonReader
from adec.machine import Machine, busy, file_fingerprint
from tests.laws import pair


class Slow:
    """A table engine on a clock that its forwards move: 1 ms and 0.1 ms a token, with a slow one
    now and then."""

    def __init__(self, engine, clock, per_token: float, hiccup: int = 0) -> None:
        self._engine = engine
        self._clock = clock
        self._per_token = per_token
        self._hiccup = hiccup
        self._calls = 0
        self.sizes: list[int] = []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def forward(self, tokens, *, rows=1):
        self._calls += 1
        self.sizes.append(len(tokens))
        self._clock.now += 0.001 + self._per_token * len(tokens)
        if self._hiccup and self._calls % self._hiccup == 0:
            self._clock.now += 0.5
        return self._engine.forward(tokens, rows=rows)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def slow(context: int, per_token: float = 0.0001, hiccup: int = 0):
    clock = Clock()
    small, large = pair(1, context=context)
    engines = {
        "large": Slow(large, clock, per_token, hiccup),
        "small": Slow(small, clock, per_token / 10),
    }
    return engines, clock


def test_a_steady_machine_is_measured_exactly_and_briefly() -> None:
    engines, clock = slow(400)
    tables = measure_costs(engines, seconds=60.0, clock=clock)
    assert sorted(tables["large"].cells) == [16, 256]
    for column in tables["large"].cells.values():
        assert tuple(sorted(column)) == LARGE_SIZES
        for size, cell in column.items():
            assert cell.ms == pytest.approx(1 + 0.1 * size) and cell.spread < 1e-9
            assert cell.count == LEAST
    assert clock.now < 3
    assert engines["large"].length == engines["small"].length == 0


def test_hiccups_move_neither_median_nor_spread() -> None:
    engines, clock = slow(100, hiccup=17)
    table = measure_costs(engines, seconds=60.0, clock=clock)["large"]
    assert table.curve(16).ms(4) == pytest.approx(1.4)
    assert table.spread < 0.03


def test_when_the_time_is_up_each_size_was_still_measured_once() -> None:
    engines, clock = slow(100, per_token=0.05)
    shares: list[float] = []
    table = measure_costs(engines, seconds=0.5, clock=clock, tick=shares.append)["large"]
    assert all(cell.count == 1 for cell in table.cells[16].values())
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_long_contexts_are_left_out_where_reading_them_takes_too_long() -> None:
    engines, clock = slow(2000, per_token=0.05)
    assert sorted(measure_costs(engines, seconds=10.0, clock=clock)["large"].cells) == [16]
    engines, clock = slow(2000)
    assert sorted(measure_costs(engines, seconds=10.0, clock=clock)["large"].cells) == [
        16,
        256,
        1024,
    ]


def test_a_cell_is_robust_and_counts_outliers() -> None:
    cell = cell_of([1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 40.0])
    assert cell.ms == 1.0 and cell.outliers == 1 and cell.spread < 0.05
    assert cell_of([2.0]).spread == 0 and MOST > LEAST


def test_tables_survive_the_journal_and_give_the_nearest_context() -> None:
    engines, clock = slow(400)
    tables = measure_costs(engines, seconds=60.0, clock=clock)
    again = tables_from(JsonReader(TableData).read(msgspec.json.encode(data_of(tables))))
    assert again["large"].cells == tables["large"].cells
    again["large"].cells[16][1] = cell_of([99.0])
    assert again["large"].curve(30).ms(1) > again["large"].curve(300).ms(1)
    with pytest.raises(ValueError, match="no costs"):
        CostTable().curve(0)


def test_a_table_between_two_contexts() -> None:
    table = tables_from({"large": [(16, 1, 10, 0, 5, 0), (116, 1, 20, 0, 5, 0)]})["large"]
    assert [table.ms(1, context) for context in (0, 16, 66, 116, 900)] == [10, 10, 15, 20, 20]


def test_the_largest_useful_batch() -> None:
    assert largest_useful(CostCurve({1: 10.0, 64: 10.0}), 64) == 64
    assert largest_useful(CostCurve({1: 1.0, 64: 64.0}), 64) == 1
    assert largest_useful(CostCurve({1: 4.0, 4: 4.0, 8: 8.0, 64: 64.0}), 64) == 4


def test_a_busy_machine_is_told() -> None:
    def machine(load):
        return Machine("s", "p", 2, "0", "b", load=load)

    assert busy(machine(None)) is None and busy(machine(0.1)) is None
    said = busy(machine(2.4))
    assert said is not None and "load 2.4 on 2 cores" in said and "\n" not in said


def test_fingerprints_tell_files_apart(tmp_path) -> None:
    one, two = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"x" * (5 << 20))
    two.write_bytes(b"x" * (5 << 20))
    assert file_fingerprint(one) == file_fingerprint(two)
    two.write_bytes(b"x" * ((5 << 20) - 1) + b"y")
    assert file_fingerprint(one) != file_fingerprint(two)


def test_threads_worth_trying() -> None:
    assert counts(1) == [1] and counts(2) == [1, 2] and counts(6) == [1, 2, 4, 6]


def test_logistic_regression_finds_the_law_that_made_the_data() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    entropies = rng.exponential(1.0, 20_000)
    agrees = (rng.random(20_000) < 1 / (1 + np.exp(2 * entropies - 3))).astype(float)
    found = logistic_of(entropies, agrees)
    # four standard errors of either coefficient at this size are below 0.2
    assert found is not None and abs(found.weight + 2) < 0.2 and abs(found.bias - 3) < 0.2
    assert found.agreement(1e6) == pytest.approx(0) and found.agreement(0) == pytest.approx(
        0.95, abs=0.02
    )
    assert logistic_of(entropies, np.ones(20_000)) is None
    separable = logistic_of(np.array([0.0, 0.1, 2.0, 2.1]), np.array([1.0, 1.0, 0.0, 0.0]))
    assert separable is not None and separable.agreement(0) > 0.9 > 0.1 > separable.agreement(3)
    assert percentile_of(0.5, np.array([0.1, 0.5, 0.9, 1.0])) == 50


def test_the_front_is_what_nothing_beats() -> None:
    class P:
        def __init__(self, ms, quality):
            self.ms_per_token, self.quality = ms, quality

    points = [P(1, 0.5), P(2, 0.9), P(3, 0.8), P(2, 0.7), P(4, 1.0), P(5, 1.0)]
    edge = front(points)
    assert [(p.ms_per_token, p.quality) for p in edge] == [(1, 0.5), (2, 0.9), (4, 1.0)]
    for p in points:
        beaten = any(
            q.ms_per_token <= p.ms_per_token and q.quality >= p.quality and q is not p
            and (q.ms_per_token, q.quality) != (p.ms_per_token, p.quality)
            for q in points
        )  # fmt: skip
        assert beaten != (p in edge)


def test_a_small_model_beside_a_server_is_measured_alone() -> None:
    small, _ = pair()
    tables = measure_costs(Engines(small=small), seconds=0.01)
    assert set(tables) == {"small"} and tables["small"].cells
