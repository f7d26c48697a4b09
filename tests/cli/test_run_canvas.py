"""Diffusion models on the command line: text in order, the canvas in the trace, plain refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adec.answering.choice import Choice
from adec.answering.plan import plan_yardstick
from adec.profiles.find import find_profile
from tests.cli.command import call
from tests.engines.gguf.tiny_gguf import RawGguf
from tests.engines.tiny_canvas import write_practice_form

pytest.importorskip("torch")
pytest.importorskip("llama_cpp")

Pair = tuple[Path, Path]
ALL = ("--threads", 1, "-n", 32, "--ctx", 256)
SMALL = ("--set", "threshold.canvas=32", "--set", "threshold.block=16")


@pytest.fixture(scope="module")
def canvas(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """(folder, GGUF) of one random model."""
    folder, gguf, _ = write_practice_form(tmp_path_factory.mktemp("canvas"))
    return folder, gguf


def run(capsys: Any, model: Path, *more: object) -> Any:
    return call(capsys, "run", "-m", model, *ALL, *more)


def test_the_text_is_the_same_in_every_form(canvas: Pair, capsys: Any) -> None:
    for model in canvas:
        answer = json.loads(run(capsys, model, "--json", "hello").out)
        plain = run(capsys, model, "hello")
        assert plain.code == 0
        assert plain.out.removesuffix("\n") == answer["text"].removesuffix("\n")
        assert answer["summary"]["strategy"] == "steps"
        assert answer["summary"]["guarantee"] == "exact"
        assert answer["summary"]["tokens_per_large_forward"] == 1.0


def test_a_trace_has_the_order_of_filling(canvas: Pair, capsys: Any, tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    strategy = ("--strategy", "threshold", "--set", "threshold.factor=100", *SMALL)
    shown = run(capsys, canvas[1], *strategy, "--jsonl", "--trace", trace, "hello").out
    assert trace.read_text() == shown
    steps = [json.loads(line) for line in shown.splitlines()[1:-1]]
    filled: dict[int, str] = {}
    text = ""
    for step in steps:
        assert step["kind"] == "fill"
        for token in step["canvas"]["filled"]:
            filled[token["position"]] = token.get("text", "")
        text += "".join(token.get("text", "") for token in step.get("tokens", ()))
    assert len(steps) < len(filled)
    summary = json.loads(shown.splitlines()[-1])["summary"]
    assert summary["tokens"] == sum(len(step.get("tokens", ())) for step in steps)
    assert summary["large_forwards"] == len(steps)
    assert text == json.loads(run(capsys, canvas[1], *strategy, "--json", "hello").out)["text"]
    for more in ((), ("--html", tmp_path / "run.html")):
        assert call(capsys, "inspect", trace, *more).code == 0
    assert (
        "0 of 32 positions are still masked"
        in call(capsys, "inspect", trace, "--step", len(steps)).out
    )


def test_stop_strings_and_limits_hold(canvas: Pair, capsys: Any) -> None:
    text = json.loads(run(capsys, canvas[1], "--json", "hello").out)["text"]
    stop = text[4:7]
    cut = json.loads(run(capsys, canvas[1], "--json", "--stop", stop, "hello").out)
    assert cut["text"] == text[: text.index(stop)]
    assert cut["summary"]["finish"] == "stop"
    short = json.loads(run(capsys, canvas[1], "--json", "-n", 3, "hello").out)
    assert short["summary"]["tokens"] == 3 and text.startswith(short["text"])


def test_sampling_is_repeated_by_its_seed(canvas: Pair, capsys: Any) -> None:
    def text(seed: int) -> str:
        more = ("--temp", 1.5, "--seed", seed, "--json", "hello")
        return str(json.loads(run(capsys, canvas[1], *more).out)["text"])

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(3)}) > 1


def test_a_cache_is_for_folders(canvas: Pair, capsys: Any) -> None:
    cached = ("--strategy", "threshold", "--set", "threshold.cache=dual", *SMALL)
    fine = json.loads(run(capsys, canvas[0], *cached, "--json", "hello").out)
    assert 0 < fine["summary"]["large_fed"] < 32 * 37
    refused = run(capsys, canvas[1], *cached, "hello")
    assert refused.code != 0 and "cannot reuse" in refused.err


def test_what_does_not_fit_is_one_line(
    canvas: Pair, tiny_pair: Pair, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_weights(*_: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("adec.answering.session.open_engines", no_weights)
    maskless = RawGguf.read(canvas[1]).drop("tokenizer.ggml.mask_token_id")
    cases: list[tuple[tuple[object, ...], str]] = [
        (("-m", canvas[1], "--strategy", "plain"), "fills a canvas"),
        (("-m", canvas[0], "--strategy", "speculate"), "fills a canvas"),
        (("-m", canvas[1], "--strategy", "lookup"), "fills a canvas"),
        (("-m", tiny_pair[1], "--strategy", "threshold"), "no diffusion model"),
        (("-m", tiny_pair[1], "--strategy", "steps"), "no diffusion model"),
        (("-m", maskless.write(tmp_path / "x.gguf")), "no mask token"),
        (("-m", canvas[1], "--set", "steps.block=7"), "does not divide"),
        (("-m", canvas[1], "--set", "steps.canvas=4096"), "holds 1,024"),
    ]
    for arguments, words in cases:
        outcome = call(capsys, "run", *arguments, "hello")
        assert outcome.code != 0 and outcome.out == ""
        assert words in outcome.err and outcome.err.count("\n") == 1, outcome.err


def test_a_bench_holds_rules_against_one_position_a_forward(
    canvas: Pair, capsys: Any, tmp_path: Path
) -> None:
    told = tmp_path / "bench.json"
    command = ("bench", "-m", canvas[1], "--task", "lists", "--prompts", 2, "-n", 8, "--threads", 1)
    named = ("--set", "threshold.canvas=32", "--set", "threshold.factor=100")
    outcome = call(capsys, *command, "--strategies", "threshold", *named, "--json", told)
    assert outcome.code == 0, outcome.err
    rows = json.loads(told.read_text())["rows"]
    assert [row["name"] for row in rows] == ["plain", "threshold"]
    assert all(row["guarantee"] in ("exact", "approximate") for row in rows)


def test_what_needs_a_left_to_right_model_says_so(canvas: Pair, capsys: Any) -> None:
    outcome = run(capsys, canvas[1], "--strategy", "speculate", "hello")
    assert outcome.code != 0 and "fills a canvas" in outcome.err and outcome.err.count("\n") == 1
    shown = call(capsys, "inspect", canvas[1])
    assert shown.code == 0 and "threshold" in shown.out


def test_a_diffusion_model_is_calibrated_against_one_position_a_forward(
    canvas: Pair, capsys: Any, tmp_path: Path
) -> None:
    asked = tmp_path / "prompts.txt"
    asked.write_text("\n".join(f"question {i}" for i in range(10)))
    few = ("--threads", 1, "--ctx", 130, "-n", 4, "--time-limit", "2s", "--prompts", asked)
    done = call(capsys, "calibrate", canvas[1], *few, "--keep", 0.5, "-o", "mine")
    assert done.code == 0, done.err
    assert done.err.count("the canvas has fewer than 128 positions behind 10 of 10 prompts") == 1
    assert "\nsteps " in done.out and "\nfreedave " in done.out
    profile = find_profile("mine")
    assert "the canvas has fewer than 128" in profile.path.read_text()
    assert profile.choice is not None and profile.choice.exact in ("steps", "freedave")
    assert {"threshold", "entropy"} & set(profile.settings)
    answer = call(capsys, "run", "--pair", "mine", *ALL, "--json", "hello")
    assert json.loads(answer.out)["summary"]["strategy"] == profile.recommended
    assert "a canvas of 128 positions" in call(capsys, "inspect", "mine").out
    # the yardstick of a bench is what it was, whatever the profile recommends
    assert plan_yardstick(Choice(pair="mine")).method.name == "steps"
    refused = call(capsys, "calibrate", canvas[1], "--metric", "perplexity", "--prompts", asked)
    assert refused.code == 2 and "reads answers from left to right" in refused.err
