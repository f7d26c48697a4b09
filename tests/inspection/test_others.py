"""Profiles, settings, the machine, and the replay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adec.decoding.registry import default_method
from adec.display import Quiet
from adec.display.trace_file import LONGEST_SECONDS, replay, seconds
from adec.engines.opening import read_header
from adec.events.records import Event, Forward, Step
from adec.practice import large_gguf
from tests.cli.command import call
from tests.display.fakes import events_of
from tests.inspection.traces import look, visible, write_trace

PROFILE = """
schema = 1
name = "mine"
recommended = "ead"
[pair]
small = "gone.gguf"
large = "practice:large"
vocabulary = "0000000000000000"
[ead]
up = 0.4 # nats, found by trying
[signals]
large_ms = [1.5, 2.5] # of 1 and 2 tokens
[signals.inner]
x = nan
[history]
level = 0.05
made = 2026-01-02
evil = "\\u001b[2J"
"""


def test_a_profile_with_evidence_and_faults(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PROFILE)
    outcome = look(path)
    assert outcome.code == 0 and visible(outcome.out)
    for said in (
        "gone.gguf (missing", "was made for another vocabulary", "nats, found by trying",
        "large_ms", "of 1 and 2 tokens", "inner.x", "2026-01-02",
    ):  # fmt: skip
        assert said in outcome.out
    data = json.loads(look(path, "--json").out)
    assert data["evidence"]["signals"]["inner"]["x"] == "nan" and data["dates"] == ["2026-01-02"]
    assert data["strategies"][0]["settings"][0]["value"] == 0.4


def test_a_profile_without_evidence_promises_nothing() -> None:
    outcome = look("practice")
    assert outcome.code == 0 and "Does it fit its models\nyes" in outcome.out


def test_a_refused_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("schema = 1\n[ead]\nup = -1\nwidnow = 3\n")
    assert "these settings are refused" in look(path).out


def test_settings_have_their_origins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "profiles").mkdir()
    (home / "profiles" / "mine.toml").write_text("schema = 1\n[fly]\nwindow = 4\n")
    data = json.loads(look("config", "--pair", "mine", "--json").out)
    rows = {row["name"]: row for row in data["settings"]}
    assert (rows["fly.window"]["value"], rows["fly.window"]["origin"]) == (4, "profile mine")
    assert rows["fly.gate"]["origin"] == "default" and rows["fly.window"]["default"] == 6
    variables = {row["name"]: row["value"] for row in data["variables"]}
    assert variables["ADEC_HOME"] == str(home) and "mine" in data["profiles"]
    assert "fly.window" in look("config", "--pair", "mine").out
    assert data["strategy"] is None  # the profile names no models


def test_the_strategy_that_would_run_is_the_one_of_its_models(home: Path) -> None:
    (home / "profiles").mkdir()
    models = '[pair]\nlarge = "practice:large"\n'
    (home / "profiles" / "mine.toml").write_text(f"schema = 1\n{models}")
    data = json.loads(look("config", "--pair", "mine", "--json").out)
    default = default_method({"large": read_header(large_gguf())})
    assert (data["strategy"], data["strategy_origin"]) == (default.name, "default")


def test_the_machine_is_told_without_a_backend() -> None:
    code = (
        "import sys; from adec.cli.app import app;"
        "app(['inspect', 'env', '--json'], standalone_mode=False);"
        "print([m for m in ('torch', 'transformers', 'llama_cpp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    first, last = done.stdout.splitlines()
    assert last == "[]" and json.loads(first)["type"] == "env"


def test_a_load_is_told_with_as_many_digits_as_mean_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adec.inspection.environment.load_average", lambda: 1000.986328125)
    shown = look("env").out
    assert "1001.0 jobs for" in shown and "1000.99" in shown and "98632" not in shown


class Seen(Quiet):
    def __init__(self) -> None:
        self.events: list[Event] = []

    def show(self, event: Event) -> None:
        self.events.append(event)


def test_a_replay_shows_every_event_after_its_time() -> None:
    events, seen, waits = list(events_of("some words")), Seen(), list[float]()
    replay(events, seen, 2.0, waits.append)
    assert seen.events == events
    took = sum(s.ms() + s.own_ms for s in events if isinstance(s, Step)) / 1000
    assert sum(waits) == pytest.approx(took / 2)


@pytest.mark.parametrize(("ms", "expected"), [(1e300, LONGEST_SECONDS), (-5, 0), (float("nan"), 0)])
def test_no_trace_can_make_a_replay_hang(ms: float, expected: float) -> None:
    assert seconds(Step("draft", forwards=(Forward("small", "draft", 1, ms),))) == expected


def test_the_replay_and_the_picture_by_command(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", events_of("some words"))
    assert look(path, "--replay", "--speed", 1000).out == "some words\n"
    assert look(path, "--svg", tmp_path / "t.svg").code == 0
    assert (tmp_path / "t.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    "arguments",
    [("--json", "--html", "x"), ("--replay", "--step", 1), ("--speed", 2)],
)
def test_flags_that_exclude_each_other(arguments: tuple[object, ...], tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", events_of("x"))
    assert look(path, *arguments).code == 2


CALIBRATED = """
schema = 1
name = "proved"
recommended = "ead"
[pair]
small = "practice:small"
large = "practice:large"
[choice]
exact = "speculate"
exact_tokens_per_second = 60.0
within_budget = "ead"
within_budget_tokens_per_second = 90.0
plain_tokens_per_second = 40.0
[budget]
metric = "agreement"
keep = 0.97
confidence = 0.95
strategy = "ead"
proved = true
held_out = 123
kept = 0.985
proved_keep = 0.972
[ead]
up = 0.4
[machine]
processor = "an abacus"
[[front]]
point = "plain"
kept = 1.0
tokens_per_second = 40.0
on_front = true
[[front]]
point = "ead up=0.4"
kept = 0.985
tokens_per_second = 90.0
predicted_tokens_per_second = 88.0
large_share = 0.2
large_fed = 0.95
prompts = 24
on_front = true
[[front]]
point = 7
kept = 2.0
[[front]]
point = "portable up=0.5"
kept = 0.99
"""


def test_a_calibrated_profile_shows_promise_speed_and_front(tmp_path: Path) -> None:
    path = tmp_path / "proved.toml"
    path.write_text(CALIBRATED)
    outcome = look(path)
    assert outcome.code == 0 and visible(outcome.out)
    for said in (
        "ead keeps at least 97 % of the agreement of the large model alone, with 95 % confidence",
        "123 held-out prompts, on which it kept 98.5 %; they prove 97.2 % at most",
        "ead, within the budget: 90.0 tokens per second, 2.25 times as fast as plain",
        "not to be expected here, where nothing was measured: machine.processor is an abacus",
        "p plain  e ead  (capital: on the front",
    ):  # fmt: skip
        assert said in outcome.out
    chart = outcome.out.partition("The front")[2].partition("Points that were run")[0]
    assert sum(line.count("E") for line in chart.splitlines()[2:-1]) == 1
    data = json.loads(look(path, "--json").out)
    assert [p["label"] for p in data["front"]] == ["plain", "ead up=0.4", "portable up=0.5"]
    assert data["promise"]["proved"] is True and data["speed"]["plain_tokens_per_second"] == 40.0


def test_a_budget_that_was_not_proved_is_no_promise(tmp_path: Path) -> None:
    path = tmp_path / "tried.toml"
    path.write_text(CALIBRATED.replace("proved = true", "proved = false"))
    out = look(path).out
    assert "nothing is proved: that ead keeps 97 % of the agreement was tried on 123" in out


def test_servers_are_asked_who_they_are_by_env_only(capsys: Any, monkeypatch: Any) -> None:
    outcome = call(capsys, "inspect", "practice:small", "--rpc", "127.0.0.1:1")
    assert outcome.code == 2 and "--rpc has no effect here" in outcome.err
    # a default for runs is no mistake of somebody who inspects
    monkeypatch.setenv("ADEC_RPC", "127.0.0.1:1")
    assert call(capsys, "inspect", "practice:small").code == 0
