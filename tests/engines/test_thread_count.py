"""The number of threads follows what forwards take, on machines that others use, too."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.engines.base import OpenOptions
from adec.engines.opening import open_engine, read_header
from adec.engines.thread_count import ThreadCount
from adec.machine import others_running, others_steadily
from adec.practice import large_gguf
from adec.tree import TokenTree

Cost = Callable[[int, int], float]
"""From the count and the number of the forward to milliseconds."""
Others = Callable[[int], int | None]
"""From the number of the forward to how many threads of other programs want a core."""


def run(
    most: int,
    forwards: int,
    cost: Cost,
    others: Others = lambda _: None,
    size: Callable[[int], int] = lambda _: 1,
) -> tuple[ThreadCount, list[float]]:
    chosen: list[int] = []
    times: list[float] = []
    count = ThreadCount(most, chosen.append, lambda: others(len(times)), cores=most)
    for number in range(forwards):
        times.append(cost(count.now, number))
        count.record(times[-1], size(number))
    assert (chosen[-1] if chosen else most) == count.now
    return count, times


@settings(deadline=None)
@given(st.lists(st.floats(1.0, 50.0), min_size=5, max_size=5), st.integers(0, 99))
def test_no_count_is_kept_that_is_much_slower_than_its_neighbours(costs, seed) -> None:
    rng = random.Random(seed)
    by_count = dict(zip((16, 8, 4, 2, 1), costs, strict=True))
    count, _ = run(16, 5000, lambda n, _: by_count[n] * rng.uniform(0.99, 1.01))
    settled = count.counts.index(count.now if count._before is None else count._before[0])
    near = [by_count[count.counts[p]] for p in (settled - 1, settled + 1) if 0 <= p < 5]
    assert by_count[count.counts[settled]] <= 1.12 * min(near)


def size_of(number: int) -> int:
    """Sizes of forwards that verify drafts, in no order."""
    return (number * 7) % 13 + 2


@pytest.mark.parametrize("size", [lambda _: 1, size_of], ids=["single", "batches"])
@pytest.mark.parametrize("known", [False, True])
def test_a_busy_neighbour_costs_a_few_forwards_and_leaves_no_trace(size, known: bool) -> None:
    def cost(count: int, number: int) -> float:
        scale = 1 + 0.1 * size(number)
        busy = 200 <= number < 400
        return scale * (10.0 if count == 1 else 200.0 if busy else 6.0)

    def others(number: int) -> int | None:
        return (1 if 200 <= number < 400 else 0) if known else None

    count, times = run(2, 6000, cost, others, size)
    alone = [cost(1, number) for number in range(6000)]
    assert sum(times[200:400]) < 1.15 * sum(alone[200:400]) + 6 * max(times)
    assert [(c.before, c.after) for c in count.changes] == [(2, 1), (1, 2)]
    if known:
        assert [c.reason for c in count.changes] == ["machine in use", "machine free again"]
        assert sum(times[480:]) < 1.03 * 0.6 * sum(alone[480:])
    assert sum(times[-500:]) < 1.05 * 0.6 * sum(alone[-500:])


def test_a_model_starts_on_the_cores_that_are_free() -> None:
    for others, expected in ((0, 8), (1, 4), (4, 4), (5, 2), (7, 1), (99, 1), (None, 8)):
        count, _ = run(8, 0, lambda n, _: 1.0, lambda _, others=others: others)
        assert count.now == expected
        assert len(count.changes) == (expected != 8)


def test_a_measured_start_is_taken_as_far_as_cores_are_free() -> None:
    for start, others, expected in ((1, 0, 1), (4, 0, 4), (5, 0, 4), (8, 6, 2), (2, 4, 2)):
        applied: list[int] = []
        count = ThreadCount(8, applied.append, lambda n=others: n, cores=8, start=start)
        assert count.now == expected and applied == ([] if expected == 8 else [expected])
        assert [c.after for c in count.changes] == ([2] if others == 6 else [])


def test_what_runs_for_a_moment_only_takes_no_core() -> None:
    looks, pauses = iter([3, 1, 2]), []
    assert others_steadily(lambda: next(looks), pauses.append) == 1 and len(pauses) == 2
    assert others_steadily(lambda: 0, pauses.append) == 0 and len(pauses) == 2
    assert others_steadily(lambda: None, pauses.append) is None and len(pauses) == 2


def test_a_short_answer_pays_for_no_trial_where_the_machine_is_known_to_be_free() -> None:
    _, times = run(2, 40, lambda count, _: 6.0 * 2 / count, lambda _: 0)
    assert sum(times) == 40 * 6.0


def test_more_threads_are_not_tried_while_others_want_the_cores() -> None:
    count, times = run(2, 1000, lambda count, _: 10.0 if count == 1 else 200.0, lambda _: 1)
    assert count.now == 1 and sum(times) == 1000 * 10.0


def test_more_threads_are_tried_in_the_end_beside_a_program_that_gives_way() -> None:
    count, _ = run(2, 4000, lambda count, _: 10.0 if count == 1 else 6.0, lambda _: 1)
    assert count.now == 2


def test_threads_that_do_not_help_are_left_to_others() -> None:
    count, times = run(2, 500, lambda count, number: 6.0)
    assert count.now == 1 and len(times) == 500


@pytest.mark.parametrize("others", [None, 0, 1])
@settings(deadline=None)
@given(seed=st.integers(0, 999), slower=st.floats(1.2, 40.0))
def test_trials_cost_one_in_a_hundred_and_the_last_of_them(others, seed, slower) -> None:
    rng = random.Random(seed)

    def cost(count: int, number: int) -> float:
        return rng.uniform(0.95, 1.05) * (6.0 if count == 2 else 6.0 * slower)

    forwards = rng.randrange(20, 3000)
    count, times = run(2, forwards, cost, lambda number: others if number else 0)
    assert count.now == 2 or count._before is not None
    most = 8 * 1.6 * 6.0 if slower < 1.6 else 1.06 * 6.0 * slower
    assert sum(times) < 1.05 * 1.01 * forwards * 6.0 + most


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


def test_what_others_run_is_counted_without_the_own_threads(tmp_path: Path) -> None:
    for number, state in enumerate("RRSDR"):
        task = tmp_path / "self/task" / str(number)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{number} (a) R b) {state} 1 1 0")
    (tmp_path / "self/task/9").mkdir()  # it has just ended
    for running, expected in (("7/123", 4), ("2/9", 0), ("x", None)):
        (tmp_path / "loadavg").write_text(f"0.1 0.2 0.3 {running} 999\n")
        assert others_running(tmp_path) == expected
    assert others_running(tmp_path / "none") is None


def test_batches_and_single_forwards_count_in_a_real_engine() -> None:
    engine = open_engine(read_header(large_gguf()), OpenOptions(context=128, threads=1))
    engine.adapt_threads(2)
    seen: list[int] = []
    engine._threads.record = lambda ms, tokens=1: seen.append(tokens)
    engine.forward([5, 6, 7, 8])
    engine.forward([9])
    engine.forward_tree(TokenTree([1, 2, 3], [-1, 0, 0]))
    engine.keep([0])
    engine.forward_tree(TokenTree.chain([4, 5]))
    assert seen == [4, 1, 3, 2]
    engine.close()


@pytest.mark.parametrize("adapts", [True, False])
def test_a_number_that_must_not_change_is_fixed(
    adapts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adec.engines.llama.llama_engine.default_threads", lambda parameters: 2)
    engine = open_engine(read_header(large_gguf()), OpenOptions(context=128, adapts=adapts))
    assert engine.threads in (1, 2) if adapts else engine.threads == 2
    assert (engine._threads is not None) == adapts
    engine.close()
