"""The records of a bench: written and read back, those of older versions too, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.benchmark.bench_report import make_rows
from adec.benchmark.samples import (
    BenchAnswer,
    Difference,
    PromptResult,
    RowHeader,
    SamplesFile,
)
from adec.benchmark.totals import Totals
from adec.events.hostile_json import JsonReader, encode
from tools.choices.best_single import BenchJson

FIXTURES = Path(__file__).parent / "fixtures"
OLD = FIXTURES / "samples_c73a023.jsonl"
READER: JsonReader[PromptResult] = JsonReader(PromptResult)

counts = st.integers(0, 2**63 - 1)
numbers = st.floats(-(2.0**63), 2.0**63)
flags = st.none() | st.booleans()
differences = st.builds(
    Difference, counts, st.text(), st.text(), st.none() | numbers, st.none() | numbers
)
answers = st.builds(
    BenchAnswer, row=st.text(), run=counts, seconds=numbers, tokens=counts, text=st.text(),
    finish=st.text(), first_seconds=st.none() | numbers, large_fed=st.none() | counts,
    total_fed=st.none() | counts, right=flags, same=flags,
    difference=st.none() | differences, error=st.none() | st.text(),
)  # fmt: skip
results = st.builds(
    PromptResult, counts, st.text(), st.text(), st.lists(answers, max_size=3).map(tuple),
    st.none() | numbers, st.none() | numbers,
)  # fmt: skip


@given(results)
def test_what_is_written_is_read_back(result: PromptResult) -> None:
    line = encode(result)
    assert line.isascii() and line.isprintable() and READER.read(line.encode()) == result


@pytest.mark.parametrize(
    "line",
    [
        "{}", "[]", "null", '{"answers": 3}', '{"index": 0, "answers": [{}]}',
        '{"index": -1, "group": "g", "kind": "", "answers": []}',
        '{"index": 9223372036854775808, "group": "g", "kind": "", "answers": []}',
        '{"index": 0, "group": "g", "kind": "", "answers": [], "load": 1e999}',
        '{"index": 0, "group": "g", "kind": "", "answers": [], "load": 1e30}',
        '{"index": 0, "group": "g", "kind": "", "answers": [], "load": true}',
        '{"type": "bench", "index": 0, "group": "g", "kind": "", "answers": []}',
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        READER.read(line.encode())


def test_a_samples_file_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """Written by c73a023: no line is run again, and nothing that it says is lost."""
    path = tmp_path / "samples.jsonl"
    shutil.copy(OLD, path)
    header, *lines = [json.loads(line) for line in OLD.read_text().splitlines()]
    with SamplesFile(path, {"key": header["key"], "prompts": header["prompts"]}) as samples:
        assert samples.found == len(lines) == 6
        kept = list(samples.results())
        samples.append(kept[0])
    assert path.read_text().startswith(OLD.read_text())
    assert [json.loads(encode(one)) for one in kept] == lines
    assert json.loads(path.read_text().splitlines()[-1]) == lines[0]
    totals = Totals([RowHeader(n, "strategy") for n in (*header["rows"], "liar", "x")], 0)
    for one in kept:
        totals.add(one)
    rows = {row.name: row for row in make_rows(totals, 0)}
    assert rows["liar"].unlike == 2 and rows["plain"].errors == 1 and rows["plain"].fed == 1.0
    fed = rows["best-of-n (threshold=0.2)"].fed
    assert fed is not None and fed > 1


def test_the_json_of_an_older_version_is_read() -> None:
    data = (FIXTURES / "bench_c73a023.json").read_bytes()
    found: BenchJson = JsonReader[BenchJson](BenchJson).read(data)
    told = json.loads(data)["samples"]
    kept = [json.loads(encode(one)) for one in found.samples]
    assert [{k: v for k, v in one.items() if k != "type"} for one in kept] == told


@pytest.mark.parametrize(
    ("gap", "noise", "explained"),
    [
        (0.1, 0.2, True),
        (-0.1, 0.2, True),
        (0.3, 0.2, False),
        (None, 9.0, False),
        (0.0, None, False),
    ],
)
def test_only_measured_noise_explains_a_difference(gap, noise, explained) -> None:
    assert Difference(3, "a", "b", gap, noise=noise).is_rounding == explained
