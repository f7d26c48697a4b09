"""A bench from end to end on table engines: interleaved, resumable, bounded, checked, shared among
processes.
"""

from __future__ import annotations

import csv
import gc
import io
import json
import random
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from adec.benchmark.bench_report import make_rows
from adec.benchmark.columns import QUALITY, SPEED
from adec.benchmark.html_report import write_page
from adec.benchmark.json_csv import write_csv, write_json
from adec.benchmark.run_bench import run_bench
from adec.benchmark.runner import Bench, BenchSettings, first_difference
from adec.benchmark.samples import (
    PLAIN,
    BenchAnswer,
    Difference,
    PromptResult,
    RowHeader,
    SamplesFile,
)
from adec.benchmark.tasks.task import Task
from adec.benchmark.text_report import explain, show
from adec.benchmark.totals import Totals
from adec.benchmark.workers import run_here
from adec.engines.pair import Engines
from adec.errors import AdecError, UsageError
from adec.events.records import Guarantee
from tests import laws
from tests.benchmark.rows import (
    bench_here,
    forgetful_here,
    liar_here,
    plan_of,
    prompt_of,
    request_of,
    samples_of,
    table_bench,
)


def never() -> bool:
    return False


def run(request, folder: Path, interrupted=never, **options):
    with samples_of(request, folder, **options) as samples:
        report = run_bench(request, samples, interrupted)
        return report, list(samples.results())


def test_exact_rows_equal_plain_and_the_small_model_does_not(tmp_path: Path) -> None:
    report, results = run(request_of(30), tmp_path)
    assert [r.index for r in results] == list(range(30)) and report.done == 30
    rows = {row.name: row for row in report.rows}
    for name in ("plain", "ead", "lookup"):
        assert rows[name].same is not None and rows[name].same.part == 30
        assert rows[name].leading == 1.0 and rows[name].unlike == 0
    assert rows["small"].same is not None and rows["small"].same.part < 30
    assert report.unlike == 0
    assert rows["plain"].per_forward == 1.0 == rows["plain"].read == rows["plain"].work
    assert rows["ead"].per_forward is not None and rows["ead"].per_forward > 1
    assert rows["small"].wrote == 0 == rows["small"].read and rows["small"].per_forward is None
    assert all(row.verdict for row in report.rows)
    for row in report.rows:
        assert row.accuracy is not None and row.accuracy.count == 30


def test_rows_are_interleaved_and_the_caches_are_cold() -> None:
    order: list[tuple[str, int]] = []

    class Spy:
        def __init__(self, inner):
            self.header, self.inner = inner.header, inner

        def reply(self, question, run, interrupted):
            reply = self.inner.reply(question, run, interrupted)
            order.append((question.text, self.header.name))
            return reply

        def close(self) -> None: ...

    bench = table_bench(BenchSettings(max_tokens=4, runs=2))
    bench.decoders = [Spy(c) for c in bench.decoders]  # type: ignore[misc]
    for index in range(12):
        result = bench.run(Task(index, prompt_of(index), "g"), never)
        assert result is not None and len(result.answers) == 8
        for answer in result.answers:
            if answer.row == "plain":  # the whole prompt was read, whoever ran before
                assert answer.prompt_fed_work == 6 * len(prompt_of(index))
    texts = [text for text, _ in order]
    assert texts == [prompt_of(i) for i in range(12) for _ in range(8)]
    firsts = {order[8 * i][1] for i in range(12)}
    assert len(firsts) > 1, "the order within a prompt changes"
    bench.close()


def test_a_stopped_bench_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, _ = run(request_of(14), tmp_path / "whole")
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 150

    part, results = run(request_of(14), tmp_path, soon)
    assert 0 < part.done < 14 and len(results) == part.done and part.planned == 14
    file = tmp_path / "samples.jsonl"
    with file.open("ab") as stream:  # a line that a crash tore
        stream.write(file.read_bytes().splitlines(keepends=True)[-1][:40])
    again, results = run(request_of(14), tmp_path)
    assert sorted(r.index for r in results) == list(range(14)) and again.done == 14
    assert any("stopped bench" in remark for remark in again.remarks)
    for one, other in zip(whole.rows, again.rows, strict=True):
        assert (one.same, one.accuracy) == (other.same, other.accuracy)
        if one.name != "lookup":  # what lookup saw before decides what it drafts
            assert (one.per_forward, one.work) == (other.per_forward, other.work)
    # all is done: nothing runs, the report is the same
    request = request_of(14, opener=lambda: pytest.fail("nothing is left to run"))
    once_more, _ = run(request, tmp_path)
    assert once_more.rows == again.rows


def test_a_samples_file_of_another_bench_is_not_touched(tmp_path: Path) -> None:
    run(request_of(3), tmp_path)
    before = (tmp_path / "samples.jsonl").read_bytes()
    with pytest.raises(UsageError, match="another bench"):
        run(request_of(4), tmp_path)
    assert (tmp_path / "samples.jsonl").read_bytes() == before
    run(request_of(4), tmp_path, fresh=True)
    (tmp_path / "samples.jsonl").write_text("my diary\n")
    with pytest.raises(UsageError, match="no samples file"):
        run(request_of(4), tmp_path, fresh=True)
    assert (tmp_path / "samples.jsonl").read_text() == "my diary\n"


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_a_mutated_samples_file_is_one_error_or_done_again(
    tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int
) -> None:
    rng = random.Random(seed)
    answer = BenchAnswer(
        "plain", 0, 0.5, 3, "abc", right=True, difference=Difference(1, "a", "b", 0.5)
    )
    request = request_of(4)
    folder = tmp_path_factory.mktemp("mutated")
    with samples_of(request, folder) as samples:
        for index in range(3):
            samples.append(PromptResult(index, "g", "k", (answer,)))
    file = folder / "samples.jsonl"
    data = bytearray(file.read_bytes())
    head = data.index(b"\n") + 1
    for _ in range(changes):
        at = rng.randrange(head, len(data))
        data[at : at + rng.randrange(3)] = rng.choice(
            [
                b"",
                b"9" * 30,
                b"null",
                b"[",
                b'"',
                b"{",
                b"-",
                b"1e999",
                b"\n",
                b"\xff",
                bytes([rng.randrange(256)]),
            ]
        )
    file.write_bytes(data)
    with samples_of(request, folder) as samples:
        left = list(samples.results())
        assert sorted(r.index for r in left) == [i for i in range(4) if samples.done[i]]
        assert len(left) == samples.found
        totals = Totals(request.rows, 0)
        for one in left:
            totals.add(one)
        make_rows(totals, 0)


def test_two_benches_do_not_write_one_file(tmp_path: Path) -> None:
    request = request_of(3)
    with samples_of(request, tmp_path), pytest.raises(UsageError, match="another bench is writing"):
        samples_of(request, tmp_path).__enter__()


def test_a_full_disk_is_one_error() -> None:
    request = request_of(3)
    with pytest.raises(AdecError):
        SamplesFile(Path("/dev/full"), request.header).__enter__()


def test_processes_share_the_work(tmp_path: Path) -> None:
    alone, _ = run(request_of(9), tmp_path / "alone")
    shared, results = run(request_of(9, jobs=2), tmp_path / "shared")
    assert sorted(r.index for r in results) == list(range(9))
    for one, other in zip(alone.rows, shared.rows, strict=True):
        assert (one.same, one.accuracy) == (other.same, other.accuracy)
        if one.name != "lookup":
            assert one.work == pytest.approx(other.work)
    assert any("2 processes" in remark for remark in shared.remarks)


def broken_here() -> Bench:
    raise AdecError("no such model")


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(AdecError, match="no such model"):
        run(request_of(4, broken_here, jobs=2), tmp_path)


def test_a_broken_promise_is_found_with_its_place_and_gap(tmp_path: Path) -> None:
    report, results = run(request_of(20, liar_here, names=("plain", "liar")), tmp_path)
    liar = report.rows[1]
    assert liar.unlike == report.unlike > 0
    assert liar.verdict.startswith("broken")
    index, difference = liar.differences[0]
    answers = {a.row: a for a in next(r for r in results if r.index == index).answers}
    plain, other = answers[PLAIN].text, answers["liar"].text
    place = next(
        i for i, (a, b) in enumerate(zip(plain + "\0", other + "\1", strict=False)) if a != b
    )
    assert difference.position == place
    assert "logit gap" in explain(difference) or "ends there" in explain(difference)


def test_the_gap_is_that_of_the_large_models_logits() -> None:
    _, large = laws.pair(3)
    prompt = [0, 1]
    row = large.forward([0, 1, 2], rows=1).row(0)
    large.rewind(0)
    difference = first_difference(large, prompt, [2, 3, 4], [2, 1, 4])
    assert difference is not None and difference.position == 1
    assert difference.gap == pytest.approx(float(row[3] - row[1]))
    assert first_difference(large, prompt, [2, 3], [2, 3]) is None
    ends = first_difference(large, prompt, [2, 3], [2])
    assert ends is not None and ends.gap is None and ends.row_token == "nothing"


def test_ties_do_not_fail_a_check(tmp_path: Path) -> None:
    request = request_of(20, liar_here, names=("plain", "liar"))
    with samples_of(request, tmp_path) as samples:
        strict = run_bench(request, samples, never)
    from dataclasses import replace

    with samples_of(request, tmp_path) as samples:
        lenient = run_bench(replace(request, tie_gap=1e9), samples, never)
    assert lenient.unlike < strict.unlike


def test_a_strict_check_counts_differences_within_the_noise_too() -> None:
    header = RowHeader("close", "strategy", "", Guarantee.EXACT.value)
    within = Difference(3, "a", "b", 0.1, noise=0.2)
    answers = [
        BenchAnswer(name, 0, 1.0, 4, "abcd", guarantee="exact", same=not far, difference=far)
        for name, far in (("plain", None), ("close", within))
    ]
    for strict, found in ((False, (0, 1)), (True, (1, 0))):
        totals = Totals((RowHeader(PLAIN, "strategy"), header), 0, strict=strict)
        totals.add(PromptResult(0, "g", "k", tuple(answers)))
        row = make_rows(totals, 0)[1]
        assert (row.unlike, row.ties) == found
    assert "within rounding" in explain(within)
    assert "more than rounding" in explain(changed(within, gap=0.3))


def test_a_prompt_that_does_not_fit_is_counted_not_fatal() -> None:
    bench = bench_here()
    tasks = iter([Task(0, "abc", "g"), Task(1, "a" * 600, "g"), Task(2, "cab", "g")])
    results = list(run_here(lambda: bench, tasks, never, lambda line: None))
    assert [bool(a.error) for a in results[1].answers] == [True] * 4
    assert not any(a.error for r in (results[0], results[2]) for a in r.answers)


def test_memory_does_not_grow_with_the_prompts(tmp_path: Path, monkeypatch) -> None:
    """What is held after 450 prompts is what was held after 150, give or take a file's buffers."""
    monkeypatch.setattr("adec.benchmark.totals.KEPT", 100)
    held: dict[int, int] = {}

    def watch(done: int, planned: int) -> None:
        if done in (150, 450):
            gc.collect()
            held[done] = tracemalloc.get_traced_memory()[0]

    request = request_of(450, forgetful_here, names=("plain",))
    tracemalloc.start()
    try:
        with samples_of(request, tmp_path) as samples:
            run_bench(request, samples, never, watch=watch)
    finally:
        tracemalloc.stop()
    assert held[450] < held[150] + 25_000


class Page(HTMLParser):
    """Tags, and whatever would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.loads += [f"{tag} {k}={v}" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        self.loads += [k for k, v in attrs if k.startswith("on")]

    def handle_data(self, data) -> None:
        self.words.append(data)


def test_outputs_say_the_same(tmp_path: Path) -> None:
    request = request_of(8)
    with samples_of(request, tmp_path) as samples:
        report = run_bench(request, samples, never)
        json_text, csv_text, page, table = (io.StringIO() for _ in range(4))
        write_json(report, samples.results(), json_text)
        write_csv(report, csv_text)
        write_page(report, samples.results(), page)
    show(report, table, width=80, unicode=True, colour=False)
    data = json.loads(json_text.getvalue())
    assert len(data["samples"]) == 8 and len(data["samples"][0]["answers"]) == 4
    lines = list(csv.DictReader(io.StringIO(csv_text.getvalue())))
    for row, line, entry in zip(report.rows, lines, data["rows"], strict=True):
        assert row.name == line["name"] == entry["name"]
        assert float(line["ratio_to_plain"]) == entry["ratio_to_plain"]["median"]
        assert row.verdict == entry["verdict"] == line["verdict"]
    reader = Page()
    reader.feed(page.getvalue())
    assert reader.loads == [] and "script" not in reader.tags and "link" not in reader.tags
    words = "".join(reader.words)
    assert all(row.verdict in words for row in report.rows)
    assert max(map(len, table.getvalue().splitlines())) <= 80
    assert "\x1b" not in table.getvalue()
    flat = " ".join(table.getvalue().split())
    assert all(row.verdict in flat for row in report.rows)


EVIL = "<script>alert(1)</script>\x1b]0;x\x07\"'&{{7*7}}\u202e"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    from dataclasses import replace

    request = request_of(6)
    with samples_of(request, tmp_path) as samples:
        report = run_bench(request, samples, never)
        results = [
            changed(
                r, kind=EVIL, group=EVIL, answers=tuple(changed(a, text=EVIL) for a in r.answers)
            )
            for r in samples.results()
        ]
    rows = tuple(
        replace(r, header=changed(r.header, name=f"{EVIL}{i}"), verdict=EVIL, groups={EVIL: c})
        for i, r in enumerate(report.rows)
        for c in [next(iter(r.groups.values()))]
    )
    report = replace(report, rows=rows, remarks=(EVIL,), about={"task": EVIL})
    page, table = io.StringIO(), io.StringIO()
    write_page(report, results, page)
    show(report, table, width=100, unicode=True, colour=True)
    assert "<script" not in page.getvalue() and "{{7*7}}" in page.getvalue()
    for text in (page.getvalue(), table.getvalue()):
        assert "\x1b]" not in text and "\x07" not in text and "\u202e" not in text


def test_a_row_of_another_strategy_does_not_inherit_what_a_profile_proved() -> None:
    small, large = laws.pair(0, size=6, context=512)
    proved = replace(plan_of(Engines(large=large, small=small), "ead"), bounded=True)
    assert not proved.with_strategy("plain").bounded


def test_a_narrow_terminal_gets_lists_with_every_figure(tmp_path: Path) -> None:
    request = request_of(8)
    with samples_of(request, tmp_path) as samples:
        report = run_bench(request, samples, never)
    narrow = io.StringIO()
    show(report, narrow, width=40, unicode=True, colour=False)
    assert max(map(len, narrow.getvalue().splitlines())) <= 40
    shown = narrow.getvalue().splitlines()
    for row in report.rows:
        at = shown.index(row.name)
        known = [cell for cell in (c.cell(row) for c in (*SPEED, *QUALITY)) if cell != "-"]
        for line, cell in zip(shown[at + 1 :], known, strict=False):
            assert line.startswith("  ") and line.endswith(cell)
