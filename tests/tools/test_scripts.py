"""The laboratory's scripts say what they measure, and run."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from adec.benchmark.tasks.parallelbench import limit
from adec.benchmark.tasks.task_files import read_tasks
from tools import (
    busy_machine,
    canvas_table,
    own_time,
    parallel_bench,
    strategies_page,
)
from tools.choices import look_ahead, pause_cost, sweep, visible_examples

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "tools").rglob("*.py")
    if "\nif __name__ ==" in path.read_text(encoding="utf-8") and path.stem != "__main__"
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_opens_with_what_it_measures_and_its_command(name: str) -> None:
    text = importlib.import_module(name).__doc__ or ""
    assert f"\n    python -m {name}" in text
    assert f"`python -m {name}" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_sweep_has_a_row_a_setting_and_the_exact_one_differs_nowhere(capsys) -> None:
    sweep.main(["-n", "1", "--family", "lists"])
    heads, _, *rows = capsys.readouterr().out.splitlines()
    assert heads.startswith("| strategy and settings | right |")
    assert len(rows) == len(sweep.GRID)
    assert rows[0].startswith("| plain | ") and rows[0].endswith("| 0 of 1 |")
    assert "accept=exact" in rows[-1] and rows[-1].endswith("| 0 of 1 |")


def test_look_ahead_has_a_cell_for_every_size(capsys) -> None:
    grid = ["--candidates", "2", "3", "--ahead", "1", "2"]
    look_ahead.main(["-n", "2", "--learn", "60", "--family", "lists", *grid])
    out = capsys.readouterr().out
    assert "lists: greedy is right in" in out and "| L | B = 2 | B = 3 |" in out
    assert "\n| 1 | " in out and "\n| 2 | " in out


def test_a_pause_is_held_against_its_bare_forwards(capsys) -> None:
    pause_cost.main(["--candidates", "2", "--ahead", "1", "--pauses", "2", "--threads", "1"])
    assert "\n| 2 | 1 | " in capsys.readouterr().out


def test_own_time_has_a_row_a_strategy_and_spreads_its_prompts(tmp_path, capsys) -> None:
    task = tmp_path / "task.txt"
    task.write_text("".join(f"{n} + 1 =\n" for n in range(10)))
    assert list(own_time.prompts(task, 3)) == ["0 + 1 =", "3 + 1 =", "6 + 1 ="]
    assert len(list(own_time.prompts(task, 30))) == 10
    command = ["--task", str(task), "-n", "2", "--tokens", "6", "--strategies", "lookup"]
    own_time.main(command)
    heads, _, plain, lookup = capsys.readouterr().out.splitlines()[2:]
    assert heads.startswith("| strategy | own µs a token |")
    assert plain.startswith("| plain | ") and lookup.startswith("| lookup | ")


def test_parallel_bench_has_limits_beside_what_was_right(capsys) -> None:
    command = ["--model", "practice:canvas", "--strategies", "threshold:probability=0.8"]
    parallel_bench.main([*command, "--kinds", "copy", "words to sentence", "-n", "1"])
    heads, _, *rows = capsys.readouterr().out.splitlines()
    assert heads.startswith("| kind | C, nats | strategy | right |")
    assert [row.split(" | ")[:3] for row in rows] == [
        ["| copy", "0.00", "steps"],
        ["| copy", "0.00", "threshold:probability=0.8"],
        ["| words to sentence", "-", "steps"],
        ["| words to sentence", "-", "threshold:probability=0.8"],
    ]
    # copied words depend on nothing, and of a sentence nobody knows
    assert [row.split(" | ")[5] for row in rows] == ["100 %", "100 %", "-", "-"]
    assert parallel_bench.limit_at("shuffle", 4, 0.5) == 1
    assert parallel_bench.limit_at("shuffle", 4, 1.5) == pytest.approx(
        (1 + limit("shuffle", 4, 2)) / 2
    )


def test_parallel_bench_has_an_autoregressive_model_beside(capsys) -> None:
    command = ["--model", "practice:canvas", "--beside", "practice:large", "--task", "dependence"]
    parallel_bench.main([*command, "--kinds", "shuffle", "-n", "1", "--tokens", "24"])
    _, _, canvas, beside = capsys.readouterr().out.splitlines()
    assert canvas.split(" | ")[:3] == [
        "| shuffle",
        canvas.split(" | ")[1],
        "steps (practice:canvas)",
    ]
    assert beside.split(" | ")[2] == "plain (practice:large)"
    # whoever writes one token after the other may always be right
    assert beside.split(" | ")[5] == "100 %"


def test_a_canvas_table_compares_models_and_goes_on(tmp_path: Path, capsys) -> None:
    rows = ["practice:canvas=threshold:probability=0.8", "practice:small=plain"]
    command = [*rows, "-n", "1", "--family", "lists", "--tokens", "24"]
    command += ["--json", str(tmp_path / "rows.jsonl")]
    canvas_table.main(command)
    first = capsys.readouterr().out
    heads, _, canvas, small = first.splitlines()[2:]
    assert heads.startswith("| row | right |") and " 1.00 | 1.00 |" in canvas
    assert canvas.startswith(f"| {rows[0]} | ") and small.startswith(f"| {rows[1]} | ")
    canvas_table.main(command)
    assert capsys.readouterr().out == first
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2


def test_a_wrong_argument_is_one_line_and_an_exit_code() -> None:
    command = [sys.executable, "-m", "tools.choices.sweep", "-n", "1", "--large", "nowhere.gguf"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("adec: ") and "nowhere.gguf" in done.stderr


def test_a_page_that_is_not_current_fails_the_check(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(strategies_page, "PAGE", tmp_path / "strategies.md")
    assert strategies_page.main([]) == 0
    assert strategies_page.main(["--check"]) == 0
    strategies_page.PAGE.write_text("# Strategies\n")
    assert strategies_page.main(["--check"]) == 4


def test_visible_examples_judge_apart_from_the_hidden_tests_and_go_on(tmp_path, capsys) -> None:
    source = 'import math\n\ndef f(a):\n    """\n    >>> f(2)\n    4\n    """\n'
    prompt = f"Write it.\n```python\n{source}```"
    task, kept = tmp_path / "task.jsonl", tmp_path / "kept.jsonl"
    lines = [{"prompt": prompt, "answer": "cat", "match": "command"}, {"prompt": "no example"}]
    task.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = list(visible_examples.with_examples(read_tasks(task)))
    assert [one.index for one, _ in found] == [0]
    verify = found[0][1]
    assert verify("```python\ndef f(a):\n    return math.prod([a, 2])\n```").score == 1
    assert verify("```python\ndef f(a):\n    return 3\n```").score == 0
    command = [str(task), "--max-tokens", "8", "--candidates", "2", "--samples", str(kept)]
    visible_examples.main(command)
    table, samples = capsys.readouterr().out, kept.read_text()
    assert "| greedy | 1 of 1 |" in table and "| iad, 2 x 2 | 1 of 1 |" in table
    visible_examples.main(command)
    assert capsys.readouterr().out == table and kept.read_text() == samples


def test_threads_that_adapt_are_held_against_the_best_fixed_count(monkeypatch) -> None:
    rows = {
        None: busy_machine.Row([90.0, 99.0, 110.0], [0.012, 0.011, 0.01], 3),
        1: busy_machine.Row([100.0, 101.0, 80.0], [0.01, 0.01, 0.01]),
        2: busy_machine.Row([20.0, 20.0, 200.0], [0.05, 0.05, 0.005]),
    }
    assert busy_machine.cells(1, rows, [1, 2]) == [
        "1", "99 (90 to 110)", "3", "100 (80 to 101)", "20 (20 to 200)", "0.99", "0.91"
    ]  # fmt: skip
    looks = iter([3, 2, 1])
    monkeypatch.setattr(busy_machine, "others_steadily", lambda: next(looks))
    monkeypatch.setattr(busy_machine, "sleep", lambda seconds: None)
    assert busy_machine.calm(1)
    monkeypatch.setattr(busy_machine, "others_steadily", lambda: 2)
    monkeypatch.setattr(busy_machine, "monotonic", iter([0.0, 1.0, 99.0]).__next__)
    assert not busy_machine.calm(1)


def test_busy_machine_runs_beside_its_own_processes_and_ends_them(capsys, monkeypatch) -> None:
    ended = []
    monkeypatch.setattr(busy_machine, "PATIENCE", 0.0)
    monkeypatch.setattr(busy_machine, "sleep", lambda seconds: None)
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: ended.append(start(*a, **k)) or ended[-1]
    )
    busy_machine.main(["--beside", "0", "1", "--rounds", "1", "-n", "2", "--fixed", "1"])
    out = capsys.readouterr().out
    assert "\n| 0 | " in out and "\n| 1 | " in out and " of 4 answers began beside" in out
    assert len(ended) == 1 and ended[0].returncode is not None
