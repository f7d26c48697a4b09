"""Whatever becomes of workers, every job gives one result, or the run says why it cannot go on."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.errors import AdecError
from adec.spreading.dispatcher import ENDED, Dispatcher
from tests.spreading.fakes import FakeCrew


class Doubling:
    """A desk that doubles numbers."""

    remarks: tuple[str, ...] = ()

    def do(self, job: Any) -> bytes:
        return str(2 * job).encode()

    def close(self) -> None: ...


def read(job: int, data: bytes) -> int:
    value = int(data)
    if value != 2 * job:
        raise ValueError("that is not its double")
    return value


def never() -> bool:
    return False


def work_of(crew: FakeCrew, told: list[str] | None = None) -> Dispatcher[int, int]:
    return Dispatcher(crew, Doubling, read, [].append if told is None else told.append)


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 2**32))
def test_every_job_gives_one_result_whatever_dies(size: int, count: int, seed: int) -> None:
    rng = random.Random(seed)
    script = ["well"] * 6 + ["slow", "slow", "dies", "lies", "refuses"]
    crew = FakeCrew(size, lambda worker, job: rng.choice(script))
    work = work_of(crew)
    results: list[int] = []
    try:
        for result, _ in work.ask(iter(range(count)), never):
            results.append(result)
    except AdecError:
        assert count > 0  # no worker is left, or a job ended three
    else:
        assert sorted(results) == [2 * job for job in range(count)]
    assert max(Counter(results).values(), default=1) == 1
    work.close()
    assert crew.closed


@settings(deadline=None, max_examples=100)
@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 2**32))
def test_while_one_worker_lives_all_is_done(size: int, count: int, seed: int) -> None:
    """The first never fails; what the others leave undone is asked of it again."""
    rng = random.Random(seed)
    ended: Counter[int] = Counter()

    def fate(worker: int, job: int) -> str:
        if worker == 1 or ended[job] == ENDED - 1:
            return "well"
        chosen = rng.choice(["well", "dies", "lies", "refuses", "slow"])
        ended[job] += chosen == "dies"
        return chosen

    work = work_of(FakeCrew(size, fate))
    results = [result for result, _ in work.ask(iter(range(count)), never)]
    assert sorted(results) == [2 * job for job in range(count)]


def test_jobs_are_given_in_their_order_and_those_left_undone_come_first() -> None:
    crew = FakeCrew(1, lambda worker, job: "dies" if (worker, job) == (1, 2) else "well")
    results = [result for result, _ in work_of(crew).ask(iter(range(5)), never)]
    assert results == [0, 2, 4, 6, 8]
    assert crew.given == [(1, 0), (1, 1), (1, 2), (2, 2), (2, 3), (2, 4)]


def test_a_slow_worker_holds_nobody_up() -> None:
    crew = FakeCrew(2, lambda worker, job: "slow" if worker == 1 else "well")
    results = [result for result, _ in work_of(crew).ask(iter(range(9)), never)]
    assert sorted(results) == [2 * job for job in range(9)]
    shares = Counter(worker for worker, _ in crew.given)
    assert shares[2] > 3 * shares[1]


def test_workers_that_never_did_anything_are_not_replaced() -> None:
    crew = FakeCrew(3, lambda worker, job: "dies")
    with pytest.raises(AdecError, match="died"):
        list(work_of(crew).ask(iter(range(9)), never))
    assert len(crew.given) <= 3


def test_a_job_that_ends_three_workers_ends_the_run_and_keeps_what_is_done() -> None:
    crew = FakeCrew(2, lambda worker, job: "dies" if job == 4 else "well")
    done = []
    with pytest.raises(AdecError, match="3 workers died at one prompt"):
        for result, _ in work_of(crew).ask(iter(range(50)), never):
            done.append(result)
    assert {0, 2, 4, 6} <= set(done)


def test_refusals_of_all_are_one_error_and_of_some_a_line() -> None:
    told: list[str] = []
    crew = FakeCrew(2, lambda worker, job: "refuses" if worker == 1 else "well", named=True)
    assert len(list(work_of(crew, told).ask(iter(range(4)), never))) == 4
    assert told == ["the worker host1 is left out: another model lies here"]
    with pytest.raises(AdecError, match="another model lies here"):
        list(work_of(FakeCrew(2, lambda worker, job: "refuses")).ask(iter(range(4)), never))


def test_garbage_is_no_result() -> None:
    told: list[str] = []
    crew = FakeCrew(2, lambda worker, job: "lies" if worker == 2 else "well", named=True)
    done = [result for result, _ in work_of(crew, told).ask(iter(range(6)), never)]
    assert sorted(done) == [0, 2, 4, 6, 8, 10] and "not a result" in told[0]


def test_a_round_that_was_ended_early_leaves_nothing_to_the_next() -> None:
    crew = FakeCrew(3, lambda worker, job: "slow")
    work = work_of(crew)
    for result, _ in work.ask(iter(range(100)), never):
        assert result in (0, 2, 4)
        break
    assert sorted(r for r, _ in work.ask(iter(range(200, 205)), never)) == [
        400, 402, 404, 406, 408,
    ]  # fmt: skip
    assert max(worker for worker, _ in crew.given) == 3, "the desks were opened once"


def test_an_interrupted_round_ends() -> None:
    done: list[int] = []
    for result, _ in work_of(FakeCrew(2)).ask(iter(range(1000)), lambda: len(done) > 5):
        done.append(result)
    assert 5 < len(done) < 10
