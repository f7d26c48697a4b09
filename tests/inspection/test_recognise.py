"""What was given: every kind is known by what it holds, and everything else is one clear line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from adec.errors import AdecError, UsageError
from adec.inspection.recognise import Model, Pair, Trace, recognise
from adec.profiles.schema import Profile
from tests.engines.gguf.tiny_gguf import write_tiny_gguf


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_kind(folder: Path) -> None:
    write_tiny_gguf(folder / "odd.name")
    (folder / "run.txt").write_text('{"type": "start"}\n')
    (folder / "empty.jsonl").touch()
    (folder / "mine.toml").write_text("schema = 1\n")
    (folder / "model").mkdir()
    os.mkfifo(folder / "pipe")
    assert recognise(("odd.name",)) == Model("odd.name")
    assert recognise(("run.txt",)) == Trace(Path("run.txt"))
    assert recognise(("empty.jsonl",)) == Trace(Path("empty.jsonl"))
    assert recognise(("pipe",)) == Trace(Path("pipe"))
    assert recognise(("-",)) == Trace(None)
    assert recognise(("model",)) == Model("model")
    assert recognise(("practice:large",)) == Model("practice:large")
    assert isinstance(recognise(("mine.toml",)), Profile)
    assert isinstance(recognise(("practice",)), Profile)
    assert recognise(("a", "b")) == Pair("a", "b")
    assert recognise((), small="a", large="b") == Pair("a", "b")
    assert isinstance(recognise((), pair="practice"), Pair)
    assert (recognise(("config",)), recognise(("env",))) == ("config", "env")
    assert recognise(("config",), pair="practice") == "config"


def test_a_folder_that_is_no_model_does_not_hide_a_profile(folder: Path) -> None:
    (folder / "practice").mkdir()
    assert isinstance(recognise(("practice",)), Profile)


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ((), {}, "there is nothing to look at"),
        (("a", "b", "c"), {}, "3 things were given"),
        (("nosuch",), {}, "there is no file, folder or profile 'nosuch'"),
        (("practise",), {}, "did you mean practice?"),
        (("confg",), {}, "did you mean config?"),
        (("no/such",), {}, "no/such does not exist"),
        (("no.jsonl",), {}, "no.jsonl does not exist"),
        (("no.toml",), {}, "cannot be read"),
        (("words.md",), {}, "neither a trace nor a profile nor a model"),
        (("w.safetensors",), {}, "give the model's folder"),
        (("/dev/null",), {}, "neither a file nor a folder"),
        (("a\0b",), {}, "there is no file"),
        (("x" * 5000,), {}, "there is no file"),
        ((), {"small": "a"}, "--large is missing"),
        ((), {"large": "a"}, "--small is missing"),
        ((), {"pair": "practice", "small": "a"}, "exclude each other"),
        (("a",), {"pair": "practice"}, "both given"),
        ((), {"pair": "nosuch"}, "there is no profile"),
    ],
)
def test_everything_else_is_one_clear_line(
    folder: Path, names: tuple[str, ...], options: dict[str, str], said: str
) -> None:
    (folder / "words.md").write_text("# words")
    (folder / "w.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(AdecError) as caught:
        recognise(names, **options)
    assert said.lower() in str(caught.value).lower()
    assert isinstance(caught.value, UsageError) and caught.value.exit_code == 2


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"type": "bench", "schema": 1}, "with --samples, goes on"),
        ({"schema": 1, "about": {}}, "--html"),
    ],
)
def test_files_of_a_bench_are_named_as_such(
    folder: Path, data: dict[str, object], said: str, indent: int | None
) -> None:
    (folder / "bench.json").write_text(json.dumps(data, indent=indent))
    with pytest.raises(UsageError, match=r"written by adec bench") as caught:
        recognise(("bench.json",))
    assert said in str(caught.value)
