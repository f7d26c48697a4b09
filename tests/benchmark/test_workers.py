"""A bench by several workers: every prompt once whatever dies, no figure mixes machines."""

from __future__ import annotations

import io
import os
import random
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from adec.benchmark.html_report import write_page
from adec.benchmark.json_csv import row_data, write_json
from adec.benchmark.run_bench import run_bench
from adec.benchmark.text_report import show
from adec.benchmark.workers import DeskOfBench
from adec.errors import AdecError
from adec.spreading.processes import ProcessCrew
from tests.benchmark.rows import bench_here, request_of, samples_of
from tests.spreading.fakes import FakeCrew


def never() -> bool:
    return False


def text_of(results) -> list[tuple[int, list[tuple[str, str]]]]:
    return sorted((r.index, sorted((a.row, a.text) for a in r.answers)) for r in results)


def run(request, folder: Path, interrupted=never):
    with samples_of(request, folder) as samples:
        report = run_bench(request, samples, interrupted)
        return report, list(samples.results())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(0, 2**32))
def test_every_prompt_is_in_the_samples_once_whatever_dies(size: int, seed: int) -> None:
    rng = random.Random(seed)
    script = ["well"] * 5 + ["slow", "dies", "lies", "refuses"]
    with tempfile.TemporaryDirectory() as folder:
        request = request_of(8)
        alone, expected = run(request, Path(folder) / "alone")
        results, tries = [], 0
        while len(results) < 8:  # the same command goes on where an unlucky one ended
            crew = FakeCrew(size, lambda worker, job: rng.choice(script), named=True)
            request = replace(request, crew=lambda crew=crew: crew)
            try:
                report, results = run(request, Path(folder) / "shared")
                assert len(results) == 8
            except AdecError:
                tries += 1
                assert tries < 60
            assert crew.closed
        assert text_of(results) == text_of(expected)
        assert sum(worker.prompts for worker in report.workers) == 8
        for one, other in zip(alone.rows, report.rows, strict=True):
            assert (one.same, one.accuracy) == (other.same, other.accuracy)


def test_times_of_several_workers_are_in_no_figure_together(tmp_path: Path) -> None:
    request = replace(request_of(24), crew=lambda: FakeCrew(2, named=True))
    with samples_of(request, tmp_path) as samples:
        report = run_bench(request, samples, never)
        results = list(samples.results())
        json_text, page, table = io.StringIO(), io.StringIO(), io.StringIO()
        write_json(report, samples.results(), json_text)
        write_page(report, samples.results(), page)
        show(report, table, width=100, unicode=True, colour=False)
    assert [(w.name, w.machine) for w in report.workers] == [
        ("host0", "processor 0"), ("host1", "processor 1"),
    ]  # fmt: skip
    assert {r.worker for r in results} == {"host0", "host1"}
    for row in report.rows:
        assert (row.speed, row.ratio, row.first_ms, row.time, row.overhead) == (None,) * 5
        assert row.ratios == {} and ("worker" in row.verdict or row.name == "plain")
        data = row_data(row)
        assert data["tokens_per_second"] is data["ratio_to_plain"] is None
        for name, times in row.by_worker.items():
            own = [r for r in results if r.worker == name]
            assert times.speed is not None and times.speed.count == len(own)
        assert set(row.by_worker) == {"host0", "host1"}
    shown = table.getvalue()
    assert "host0" in shown and "plain tok/s" in shown and "no figure mixes them" in shown
    assert "ms a token" not in shown, "there is no plot of mixed times"
    assert "host1" in page.getvalue() and '"by_worker"' in json_text.getvalue()


def test_one_worker_elsewhere_has_figures_of_its_own(tmp_path: Path) -> None:
    request = replace(request_of(8), crew=lambda: FakeCrew(1, named=True))
    report, _ = run(request, tmp_path)
    assert [worker.prompts for worker in report.workers] == [8]
    assert all(row.speed is not None and row.ratio is not None for row in report.rows)


def test_a_bench_begun_here_and_ended_elsewhere_does_not_mix_either(tmp_path: Path) -> None:
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 150

    part, _ = run(request_of(14), tmp_path, soon)
    assert 0 < part.done < 14 and part.workers == ()
    report, _ = run(replace(request_of(14), crew=lambda: FakeCrew(1, named=True)), tmp_path)
    assert [worker.name for worker in report.workers] == ["", "host0"]
    assert report.mixed and all(row.speed is None for row in report.rows)


def test_a_process_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    _, expected = run(request_of(40), tmp_path / "alone")
    crew = ProcessCrew(2)
    killed: list[int] = []

    def watch(done: int, planned: int) -> None:
        if done == 5:
            process = next(iter(crew._running.values())).process
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    request = replace(request_of(40), crew=lambda: crew)
    with samples_of(request, tmp_path) as samples:
        report = run_bench(request, samples, never, watch=watch)
        results = list(samples.results())
    assert killed and text_of(results) == text_of(expected)
    assert report.done == 40 and report.workers == ()


def test_a_desk_warms_up_once_and_tells_what_is_left_out() -> None:
    desk = DeskOfBench(bench_here)()
    task = next(request_of(1).source.begin())
    first, again = desk.do(task), desk.do(task)
    assert first and again and desk.warm
    desk.close()
