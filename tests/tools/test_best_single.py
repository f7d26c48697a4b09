"""The automatic choice against the best single row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adec.benchmark.samples import BenchAnswer, PromptResult
from adec.errors import UsageError
from adec.events.hostile_json import to_plain
from tools.choices.best_single import compare, main


def result(group: str, **seconds: float) -> PromptResult:
    answers = (BenchAnswer(row, 0, spent, 10, "") for row, spent in seconds.items())
    return PromptResult(0, group, group, tuple(answers))


RESULTS = [
    result("lists", auto=1.0, plain=2.0, lookup=1.5),
    result("lists", auto=1.0, plain=2.0, lookup=0.3),
    result("texts", auto=2.1, plain=2.0),
]


def test_each_group_has_its_best_row_over_all_its_prompts() -> None:
    lists, texts = compare(RESULTS)
    assert lists == ("lists", 10.0, "lookup", pytest.approx(20 / 1.8))
    assert texts == ("texts", pytest.approx(10 / 2.1), "plain", 5.0)
    with pytest.raises(UsageError, match="no row auto"):
        compare([result("lists", plain=1.0)])


def test_it_prints_a_table_and_fails_where_auto_is_too_slow(tmp_path: Path, capsys) -> None:
    path = tmp_path / "bench.json"
    samples = [{k: v for k, v in to_plain(r).items() if k != "type"} for r in RESULTS]
    path.write_text(json.dumps({"schema": 1, "samples": samples}))
    assert main([str(path), "--least", "0.5"]) == 0
    assert "| lists | 10.0 | lookup | 11.1 | 0.900 |" in capsys.readouterr().out
    assert main([str(path)]) == 4
    assert "slower than 0.97 of the best on lists" in capsys.readouterr().err
    path.write_text("{}")
    assert main([str(path)]) == 2
    assert main([str(tmp_path / "none.json")]) == 2
