"""`adec bench` as a person meets it: outputs, exit codes, Ctrl-C, resuming."""

from __future__ import annotations

import csv
import inspect
import json
import os
import pty
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from adec import practice
from adec.cli import bench as bench_module
from adec.errors import AdecError
from tests.cli.command import call, start
from tests.cli.test_process import read_until
from tests.engines.gguf.tiny_gguf import write_tiny_gguf

Pair = tuple[Path, Path]


def bench_of(tiny_pair: Pair, *more: object) -> list[object]:
    small, large = tiny_pair
    return ["bench", "--small", small, "--large", large, "--threads", 1, "-n", 8, *more]


def prompts(folder: Path, *lines: str) -> Path:
    path = folder / "prompts.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_bench_prints_a_table_and_writes_files(
    tiny_pair: Pair, capsys: Any, tmp_path: Path, home: Path
) -> None:
    task = prompts(tmp_path, "one", "two", "three", "four", "five")
    names = {kind: tmp_path / f"bench.{kind}" for kind in ("json", "csv", "html")}
    outcome = call(
        capsys,
        *bench_of(tiny_pair, "--task", task, "--strategies", "ead:accept=exact+up=1,lookup"),
        *("--json", names["json"], "--csv", names["csv"], "--html", names["html"], "--check"),
    )
    assert outcome.code == 0, outcome.err
    assert outcome.err == "adec: the check passed on 5 prompts\n"
    assert "ead accept=exact up=1" in outcome.out and "\x1b" not in outcome.out
    data = json.loads(names["json"].read_text())
    rows = ["plain", "ead accept=exact up=1", "lookup"]
    assert [row["name"] for row in data["rows"]] == rows
    assert [row["guarantee"] for row in data["rows"]] == ["exact"] * 3
    assert all(row["same_as_plain"]["count"] == 5 for row in data["rows"])
    assert data["done"] == data["planned"] == len(data["samples"]) == 5
    assert {a["row"] for a in data["samples"][0]["answers"]} == set(rows)
    assert len(list(csv.reader(names["csv"].open()))) == 4
    assert names["html"].read_text().startswith("<!doctype html>")
    assert not list((home / "bench").glob("*")), "a finished bench leaves nothing behind"
    assert not list(tmp_path.glob(".*"))


def test_a_prompt_that_leaves_the_small_model_out_is_counted(
    tiny_pair: Pair, capsys: Any, tmp_path: Path
) -> None:
    small = write_tiny_gguf(tmp_path / "short.gguf", seed=1, layers=1, context=64)
    task = prompts(tmp_path, "one", "word " * 80, "two")
    outcome = call(
        capsys,
        *bench_of((small, tiny_pair[1]), "--task", task, "--strategies", "lookup", "--json", "-"),
    )
    assert outcome.code == 0, outcome.err
    told = [
        note for note in json.loads(outcome.out)["remarks"] if "had less than was asked for" in note
    ]
    assert len(told) == 1 and told[0].startswith("1 prompt had less than was asked for")
    assert "going on without short.gguf" in told[0]


def test_json_alone_on_stdout(tiny_pair: Pair, capsys: Any, tmp_path: Path) -> None:
    task = prompts(tmp_path, "one")
    outcome = call(
        capsys,
        *bench_of(tiny_pair, "--task", task, "--strategies", "small", "--json", "-", "--check"),
    )
    assert outcome.err == "adec: the check passed on 1 prompt\n"
    data = json.loads(outcome.out)
    assert [row["name"] for row in data["rows"]] == ["plain", "small"]
    assert data["rows"][1]["guarantee"] == "approximate"
    assert data["about"]["models"]["large"]["path"] == str(tiny_pair[1])


def test_the_figures_fit_a_narrow_terminal(
    tiny_pair: Pair, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adec.display.display_choice.is_terminal", lambda stream: True)
    monkeypatch.setattr("adec.display.screen.terminal.size_of", lambda stream: (30, 20))
    task = prompts(tmp_path, "one")
    outcome = call(
        capsys, *bench_of(tiny_pair, "--task", task, "--strategies", "small", "--color", "never")
    )
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 30 and any("tok/forward" in line for line in lines)


def test_auto_is_what_a_run_would_take(tiny_pair: Pair, capsys: Any, tmp_path: Path) -> None:
    small, large = tiny_pair
    task = prompts(tmp_path, "one", "two")
    arguments = ["--task", task, "--strategies", "auto,lookup", "--json", "-"]

    def rows(*models: object) -> dict[str, Any]:
        outcome = call(capsys, "bench", *models, "--threads", 1, "-n", 6, *arguments)
        assert outcome.code == 0, outcome.err
        return {row["name"]: row for row in json.loads(outcome.out)["rows"]}

    assert rows("--small", small, "--large", large)["auto"]["guarantee"] == "exact"
    profile = tmp_path / "mine.toml"
    profile.write_text(
        f'schema = 1\nrecommended = "ead"\n[pair]\nsmall = "{small}"\nlarge = "{large}"\n'
        '[choice]\nexact = "ead"\n[choice.exact_settings]\naccept = "exact"\nup = 0.5\n'
    )
    assert rows("--pair", profile)["auto"]["guarantee"] == "exact"
    profile.write_text(profile.read_text().replace('accept = "exact"', 'accept = "none"'))
    found = rows("--pair", profile)
    assert list(found) == ["plain", "auto", "lookup"]
    assert found["auto"]["guarantee"] == "approximate"
    outcome = call(capsys, *bench_of(tiny_pair, "--strategies", "auto:up=1"))
    assert outcome.code == 2 and "auto takes no settings" in outcome.err


def test_all_strategies_on_one_model(tiny_pair: Pair, capsys: Any, tmp_path: Path) -> None:
    task = prompts(tmp_path, "one")
    outcome = call(
        capsys, "bench", "-m", tiny_pair[1], "--threads", 1, "-n", 4, "--task", task,
        "--strategies", "all", "--json", "-", "--check", "--set", "speculate.keep_times=false",
    )  # fmt: skip
    rows = json.loads(outcome.out)["rows"]
    names = [row["name"] for row in rows]
    assert {"plain", "speculate", "lookup", "recycling", "aded"} <= set(names)
    assert "ead" not in names and "ead is left out" in outcome.err
    assert outcome.code == 0 and not any(row["errors"] for row in rows)


def test_bitwise_rows_pass_the_strict_check(tiny_pair: Pair, capsys: Any, tmp_path: Path) -> None:
    task = prompts(tmp_path, "one two one two", "two three")
    arguments = bench_of(tiny_pair, "--task", task, "--exactness", "bitwise", "--check=bitwise")
    fixed = "plain,lookup:size=fixed,ead:accept=exact,ead"
    outcome = call(capsys, *arguments, "--strategies", fixed)
    assert outcome.code == 0 and "the check passed on 2 prompts" in outcome.err


def test_a_failed_check_is_exit_code_4(
    tiny_pair: Pair, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "adec.answering.session.Session.guarantee", "exact"
    )  # the small model now claims it
    task = prompts(tmp_path, "one", "two")
    arguments = bench_of(tiny_pair, "--task", task, "--strategies", "small")
    outcome = call(capsys, *arguments, "--check")
    assert outcome.code == 4 and "the check failed" in outcome.err
    assert "logit gap" in outcome.out and "plain writes" in outcome.out
    assert call(capsys, *arguments, "--check=bitwise").code == 4
    assert call(capsys, *arguments, "--check", "bitwise").code == 4
    assert call(capsys, *arguments).code == 0, "without --check it is only said"


def test_a_samples_file_is_kept_and_read_again(
    tiny_pair: Pair, capsys: Any, tmp_path: Path
) -> None:
    task, kept = prompts(tmp_path, "one", "two"), tmp_path / "kept.jsonl"
    arguments = bench_of(
        tiny_pair, "--task", task, "--strategies", "lookup", "--samples", kept, "--json", "-"
    )
    first = json.loads(call(capsys, *arguments).out)
    again = call(capsys, *arguments)
    assert json.loads(again.out)["samples"] == first["samples"]
    assert "going on after 2 of 2 prompts" in again.err
    fresh = json.loads(call(capsys, *arguments, "--fresh").out)
    assert fresh["samples"] != first["samples"]
    other = call(capsys, *arguments, "-n", 5)
    assert other.code == 2 and "another bench" in other.err


def test_ctrl_c_prints_what_is_done_and_the_same_command_goes_on(
    tiny_pair: Pair, tmp_path: Path, home: Path
) -> None:
    task = prompts(tmp_path, *[f"prompt {i}" for i in range(3000)])
    arguments = bench_of(tiny_pair, "--task", task, "--strategies", "lookup")
    ours, theirs = pty.openpty()
    process = start(
        *arguments, stderr=theirs, env={"TERM": "xterm-256color"}, start_new_session=True
    )
    os.close(theirs)
    seen = read_until(ours, b"running")
    process.send_signal(signal.SIGINT)
    while chunk := read_until(ours, b"\0never\0", 0.5):
        seen += chunk
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 130
    assert b"prompts" in seen and b"left" in seen and b"the same command goes on" in seen
    assert b"of 3000 prompts were run" in out and b"plain" in out and b"Traceback" not in seen
    (file,) = (home / "bench").glob("*.jsonl")
    done = len(file.read_bytes().splitlines()) - 1
    assert f"Only {done} of 3000".encode() in out and done > 0


def wrong(name: str) -> Any:
    """(arguments, exit code, what is said)."""
    return {
        "strategy": (["--strategies", "eda"], 2, "did you mean ead"),
        "setting": (["--strategies", "ead:upp=1"], 2, "did you mean ead.up"),
        "idle": (["--strategies", "lookup", "--set", "ead.up=1"], 2, "has no effect"),
        "plain": (["--strategies", "plain:model=small"], 2, "takes no settings"),
        "task": (["--task", "no-such-file.txt"], 2, "no task and no file"),
        "peer": (["--peers", "llama-lookup"], 2, "not on the PATH"),
        "unknown peer": (["--peers", "vllm"], 2, "no peer 'vllm'"),
        "format": (["--peers", "transformers"], 3, "--engine torch"),
        "word": (["--check=loosely"], 2, "loosely"),
        "ties": (["--check=bitwise", "--tie-gap", "0.1"], 2, "knows no ties"),
        "sampled": (["--check", "--temp", "1"], 2, "distribution only"),
        "folder": (["--json", "/no/such/folder/x"], 2, "no folder that exists"),
        "runs": (["--runs", "0"], 2, "--runs"),
        "two outputs": (["--json", "-", "--csv", "-"], 2, "both go to standard output"),
        "model": (["--model", "x"], 2, "exclude each other"),
        "samples": (
            ["--samples", "/proc/none/x"],
            1,
            "cannot be written: No such file or directory. --samples FILE puts it elsewhere",
        ),
    }[name]


WRONG = (
    "strategy", "setting", "idle", "plain", "task", "peer", "unknown peer", "format", "sampled",
    "folder", "runs", "two outputs", "model", "word", "ties", "samples",
)  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_one_line_with_the_right_code(
    name: str, tiny_pair: Pair, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/no/such/folder")
    more, code, said = wrong(name)
    outcome = call(capsys, *bench_of(tiny_pair, *more))
    assert outcome.code == code, outcome.err
    assert outcome.err.startswith("adec: ") and outcome.err.count("\n") == 1
    assert said.lower() in outcome.err.lower() and outcome.out == ""


def test_every_option_reaches_the_bench(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    seen: list[str] = []

    def spy(path: Any, header: Any, **options: Any) -> Any:
        frame = inspect.currentframe()
        assert frame is not None and frame.f_back is not None
        own = frame.f_back.f_locals
        kept = (
            "plan",
            "source",
            "request",
            "path",
            "outputs",
            "check",
            "quiet",
            "fresh",
            "peer_path",
        )
        told = {key: own[key] for key in kept}
        told["request"] = {
            k: v for k, v in vars(own["request"]).items() if k in ("jobs", "tie_gap", "crew")
        }
        told["source"] = own["source"].identity
        seen.append(repr(told))
        raise AdecError("seen")

    monkeypatch.setattr("adec.benchmark.samples.SamplesFile", spy)
    large, small = practice.large_gguf(), practice.small_gguf()
    one = ["--pair", "practice"]
    variants = {
        "pair": [], "small": ["--small", large, "--large", large],
        "large": ["--small", small, "--large", small],
        "model": ["-m", large], "strategies": [*one, "--strategies", "plain"],
        "exactness": [*one, "--exactness", "bitwise"],
        "assignments": [*one, "--set", "ead.up=2"], "task": [*one, "--task", "copy"],
        "prompts": [*one, "--prompts", 3], "runs": [*one, "--runs", 3], "jobs": [*one, "--jobs", 2],
        "ray": [*one, "--ray", "local"],
        "allow_exec": [*one, "--allow-exec"], "system": [*one, "--system", "x"],
        "raw": [*one, "--raw"],
        "check": [*one, "--check", "bitwise"], "tie_gap": [*one, "--tie-gap", 0.5],
        "max_tokens": [*one, "-n", 3], "temperature": [*one, "--temp", 1],
        "top_k": [*one, "--top-k", 3],
        "top_p": [*one, "--top-p", 0.5], "min_p": [*one, "--min-p", 0.5],
        "seed": [*one, "--seed", 5],
        "stop": [*one, "--stop", "x"], "escape": [*one, "-e", "--stop", r"\n"],
        "json": [*one, "--json", "j"], "csv": [*one, "--csv", "c"],
        "html": [*one, "--html", "h"], "samples": [*one, "--samples", "s"],
        "fresh": [*one, "--fresh"],
        "color": [*one, "--color", "never"], "quiet": [*one, "-q"], "context": [*one, "--ctx", 99],
        "threads": [*one, "--threads", 9], "batch_threads": [*one, "--batch-threads", 9],
        "gpu_layers": [*one, "--gpu-layers", 9],
        "rpc": [*one, "--rpc", "10.0.0.2:9"], "memory_map": [*one, "--no-mmap"],
        "key_file": [*one, "--key-file", "x"], "budget_tokens": [*one, "--budget-tokens", 9],
        "engine": [*one, "--engine", "torch"],
        "device": [*one, "--device", "x"], "dtype": [*one, "--dtype", "float16"],
        "peers": ["-m", practice.large_folder(), "--peers", "none"],
        "peer_path": [*one, "--peer-path", Path(sys.executable).parent],
    }  # fmt: skip
    assert set(variants) == set(inspect.signature(bench_module.bench).parameters)
    for arguments in variants.values():
        call(capsys, "bench", *arguments)
    call(capsys, "bench", "-m", practice.large_folder())
    assert len(seen) == len(variants) + 1
    assert len(set(seen)) == len(variants) + 1


@pytest.mark.parametrize("more", [(), ("--json", "-"), ("--csv", "-")])
def test_a_reader_that_has_seen_enough_is_no_error(
    tiny_pair: Pair, tmp_path: Path, more: tuple[str, ...]
) -> None:
    process = start(*bench_of(tiny_pair, "--task", prompts(tmp_path, "a"), "-q", *more))
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    process.stderr.close()
