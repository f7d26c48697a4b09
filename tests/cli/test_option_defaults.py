"""Defaults of options from files and the environment, and which of them wins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import call

QUESTION = ("run", "--json", "--pair", "practice", "-n", "4", "hi")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADEC_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path


def strategy(capsys: Any, *more: str) -> str:
    outcome = call(capsys, *QUESTION, *more)
    assert outcome.code == 0, outcome.err
    return str(json.loads(outcome.out)["summary"]["strategy"])


def test_a_flag_beats_the_environment_which_beats_the_folder_which_beats_the_user(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/config.toml").write_text('strategy = "lookup"\n')
    assert strategy(capsys) == "lookup"
    (tmp_path / "adec.toml").write_text('strategy = "recycling"\n')
    assert strategy(capsys) == "recycling"
    monkeypatch.setenv("ADEC_STRATEGY", "speculate")
    assert strategy(capsys) == "speculate"
    assert strategy(capsys, "--strategy", "plain") == "plain"


def test_a_model_on_the_command_line_puts_those_of_a_file_aside(
    tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "adec.toml").write_text('pair = "practice"\nthreads = 1\n')
    outcome = call(capsys, "run", "--json", "-m", "practice:small", "-n", "4", "hi")
    assert outcome.code == 0 and json.loads(outcome.out)["summary"]["small_fed"] == 0


def test_settings_are_a_list_in_a_file_and_words_in_the_environment(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start() -> dict[str, Any]:
        out = call(capsys, "run", "--jsonl", "--strategy", "ead", "-n", "4", "hi").out
        return dict(json.loads(out.splitlines()[0])["settings"])

    (tmp_path / "adec.toml").write_text('set = ["ead.up=0.2", "ead.window=3"]\n')
    assert (start()["up"], start()["window"]) == (0.2, 3)
    monkeypatch.setenv("ADEC_SET", "ead.up=0.4 ead.window=4")
    assert (start()["up"], start()["window"]) == (0.4, 4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("thraeds = 2", "adec.toml: there is no setting 'thraeds'. Did you mean threads?"),
        ('trace = "/tmp/x"', "there is no setting 'trace'"),
        ("threads = 0", "adec.toml: "),
        ('threads = "many"', "--threads"),
        ('set = "ead.up=1"', "adec.toml: set must be a list"),
        ("[threads]", "adec.toml: threads must be one value"),
        ("threads = ", "adec.toml is not valid TOML"),
        ("a = " + "[" * 9000, "adec.toml is not valid TOML"),
        ("#" * 70_000, "larger than 65,536 bytes"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(
    tmp_path: Path, capsys: Any, text: str, told: str
) -> None:
    (tmp_path / "adec.toml").write_text(text)
    outcome = call(capsys, "run", "hi")
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err and outcome.err.count("\n") == 1


def test_a_wrong_variable_is_named(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADEC_THREADS", "-3")
    outcome = call(capsys, "run", "hi")
    assert outcome.code == 2 and outcome.err.startswith("adec: ADEC_THREADS: ")
