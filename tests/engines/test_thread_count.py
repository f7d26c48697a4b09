"""The number of threads follows what forwards take, on machines that others use, too."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.engines.base import OpenOptions
from adec.engines.llama.thread_count import WAIT, ThreadCount
from adec.engines.opening import open_engine, read_header
from adec.practice import large_gguf

Cost = Callable[[int, int], float]
"""From the count and the number of the forward to milliseconds."""


def run(most: int, forwards: int, cost: Cost) -> tuple[ThreadCount, list[float]]:
    chosen: list[int] = []
    count = ThreadCount(most, chosen.append)
    times = []
    for number in range(forwards):
        times.append(cost(count.now, number))
        count.record(times[-1])
    assert (chosen[-1] if chosen else most) == count.now
    return count, times


@given(st.lists(st.floats(1.0, 50.0), min_size=5, max_size=5), st.integers(0, 99))
def test_no_count_is_kept_that_is_much_slower_than_its_neighbours(costs, seed) -> None:
    rng = random.Random(seed)
    by_count = dict(zip((16, 8, 4, 2, 1), costs, strict=True))
    count, _ = run(16, 3000, lambda n, _: by_count[n] * rng.uniform(0.99, 1.01))
    settled = count.counts.index(count.now if count._before is None else count._before[0])
    near = [by_count[count.counts[p]] for p in (settled - 1, settled + 1) if 0 <= p < 5]
    assert by_count[count.counts[settled]] <= 1.12 * min(near)


def test_a_busy_neighbour_costs_a_few_forwards_and_leaves_no_trace() -> None:
    def cost(count: int, number: int) -> float:
        busy = 200 <= number < 400
        return 10.0 if count == 1 else 200.0 if busy else 6.0

    count, times = run(2, 2000, cost)
    assert sum(times[200:400]) < 1.15 * 200 * 10.0 + 6 * 200.0
    assert count.changes >= 2 and sum(times[-500:]) < 1.05 * 500 * 6.0


def test_threads_that_do_not_help_are_left_to_others() -> None:
    count, times = run(2, 500, lambda count, number: 6.0)
    assert count.now == 1 and len(times) == 500


def test_trials_are_rare_where_nothing_changes() -> None:
    count, times = run(2, 10_000, lambda count, number: 6.0 if count == 2 else 18.0)
    assert count.now == 2
    assert sum(times) < 1.01 * 10_000 * 6.0
    assert sum(ms > 6.0 for ms in times[: 4 * WAIT]) <= 9


@pytest.mark.parametrize("other", [2, 3])
def test_a_change_of_threads_in_an_answer_changes_no_bit(other: int) -> None:
    header = read_header(large_gguf())
    rows = []
    for changes in (False, True):
        engine = open_engine(header, OpenOptions(context=128, threads=1))
        scores = engine.forward([5, 6, 7, 8])
        found = []
        for number in range(24):
            if changes and number % 5 == 2:
                context = engine._session.context
                engine._session.api.llama_set_n_threads(context, other, other)
            elif changes and number % 5 == 4:
                engine._session.api.llama_set_n_threads(engine._session.context, 1, 1)
            found.append(scores.row(0).copy())
            scores = engine.forward([scores.argmax(0)])
        rows.append(found)
        engine.close()
    assert all(np.array_equal(one, two) for one, two in zip(*rows, strict=True))


def test_a_count_that_was_asked_for_is_kept() -> None:
    engine = open_engine(read_header(large_gguf()), OpenOptions(context=64, threads=2))
    assert engine.threads == 2
    engine.close()
