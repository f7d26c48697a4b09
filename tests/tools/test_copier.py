"""A model whose weights are written down repeats its prompt, in both formats and when inflated."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from adec.answering.prompt import encode_prompt
from adec.answering.text import text_of
from adec.decoding.plain import Plain
from adec.decoding.strategy import Limits
from adec.engines.base import Engine, OpenOptions
from adec.engines.opening import open_engine, read_header
from adec.practice import large_folder
from tests.laws import prompt_of
from tools import copier
from tools.inflate.inflated_file import Size
from tools.inflate.inflated_model import inflate_folder

CHANGES = {"blue": "grey"}
TEXTS = ["ant blue bee.", "def f(x): return x + 17\n\nWhat now?", "blue red 4 2 4 blue fig"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copier") / "copier"
    copier.write(path, large_folder(), CHANGES)
    return path


def reply(engine: Engine, prompt: str) -> str:
    ids, _ = encode_prompt(engine, prompt, system=None, raw=False)
    limits = Limits(400, engine.vocabulary.end, signals=False)
    tokens = [
        token.id for step in Plain(engine).generate(prompt_of(ids), limits) for token in step.tokens
    ]
    return text_of(engine.vocabulary, tokens)


def test_any_text_comes_back_with_the_changes(folder: Path) -> None:
    with closing(open_engine(read_header(folder), OpenOptions(threads=1))) as engine:
        for text in TEXTS:
            assert reply(engine, text) == text.replace(" blue", " grey")
        for problem in copier.problems(4, 5, CHANGES):
            assert reply(engine, problem["prompt"]) == problem["answer"]


def test_inflated_it_repeats_still(folder: Path, tmp_path: Path) -> None:
    size = Size(width=1024, layers=3, feed_forward=1024)
    inflate_folder(folder, tmp_path / "copier.gguf", size)
    header = read_header(tmp_path / "copier.gguf")
    with closing(open_engine(header, OpenOptions(threads=1))) as engine:
        for problem in copier.problems(4, 6, CHANGES):
            assert reply(engine, problem["prompt"]) == problem["answer"]


def test_the_command_writes_model_and_texts(tmp_path: Path, monkeypatch, capsys) -> None:
    texts = tmp_path / "copies.jsonl"
    arguments = [
        str(tmp_path / "copier"),
        "--change",
        "red=blue",
        "--problems",
        str(texts),
        "-n",
        "3",
    ]
    monkeypatch.setattr(sys, "argv", ["copier", *arguments])
    copier.main()
    problems = [json.loads(line) for line in texts.read_text().splitlines()]
    assert len(problems) == 3 and all("red" not in p["answer"].split() for p in problems)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in (tmp_path / "copier").iterdir()
    }
    for wrong in ("red", "red=extraordinarily"):
        monkeypatch.setattr(sys, "argv", ["copier", str(tmp_path / "no"), "--change", wrong])
        with pytest.raises(SystemExit):
            copier.main()
        assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
