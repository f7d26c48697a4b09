"""A GGUF file without halves of some blocks says what the model says without them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adec.engines.base import OpenOptions
from adec.engines.llama.gguf.gguf_halves import (
    WITHOUT_ATTENTION,
    WITHOUT_FEED_FORWARD,
    write_halves,
)
from adec.engines.llama.gguf.gguf_reader import read_gguf
from adec.engines.opening import open_engine, read_header
from adec.errors import ModelFileError
from adec.practice import large_gguf
from tests.engines.contract import assert_rows_equal, log_probabilities
from tests.engines.gguf.tiny_gguf import write_tiny_gguf

TOKENS = list(range(20, 32))
OPTIONS = OpenOptions(context=64, threads=1)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def whole(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / f"{request.param}.gguf"
    return write_tiny_gguf(path, layers=5, architecture=request.param)


def rows(path: Path, engine: Any = None, **left_out: Collection[int]) -> np.ndarray:
    opened: Any = open_engine(read_header(path, engine), OPTIONS)
    try:
        if left_out:
            opened.leave_out((), **left_out)
        return log_probabilities(opened.forward(TOKENS, rows=4))
    finally:
        opened.close()


@pytest.mark.parametrize(
    ("attention", "feed_forward"),
    [((), ()), ((2,), ()), ((), (0, 1)), ((1, 3), (0, 4)), ((0, 2, 3), (0, 1, 3))],
)
def test_the_file_says_what_the_model_says_without_these_halves(
    whole: Path, tmp_path: Path, attention: tuple[int, ...], feed_forward: tuple[int, ...]
) -> None:
    path = tmp_path / "less.gguf"
    write_halves(whole, path, attention, feed_forward)
    header = read_header(path)
    assert header.info.layers == 5 - len({*attention} & {*feed_forward})
    assert header.vocabulary == read_header(whole).vocabulary
    expected = rows(whole, "torch", attention=attention, feed_forward=feed_forward)
    assert_rows_equal(rows(path), expected, 0.05)
    for key, left_out in ((WITHOUT_ATTENTION, attention), (WITHOUT_FEED_FORWARD, feed_forward)):
        found = read_gguf(path).array(key)
        assert found is not None and found.numbers() == left_out


def test_nothing_left_out_changes_no_bit(tmp_path: Path) -> None:
    """In another architecture, on quantised rows."""
    path = tmp_path / "same.gguf"
    write_halves(large_gguf(), path, (), ())
    assert (rows(path) == rows(large_gguf())).all()


@pytest.mark.parametrize(
    ("attention", "feed_forward", "said"),
    [
        ([5], [], "has no block 5"),
        ([], [-1], "has no block -1"),
        (range(5), range(5), "no block left"),
        ([0], [], "begin with block 0 without attention"),
        ([0, 1], [0], "begin with block 1 without attention"),
    ],
)
def test_what_cannot_be_left_out_is_refused(
    whole: Path, tmp_path: Path, attention: Any, feed_forward: Any, said: str
) -> None:
    with pytest.raises(ModelFileError, match=said):
        write_halves(whole, tmp_path / "less.gguf", attention, feed_forward)
    assert not list(tmp_path.iterdir())


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    other = write_tiny_gguf(tmp_path / "other.gguf", architecture="qwen3")
    experts = write_tiny_gguf(tmp_path / "experts.gguf", experts=4)
    for path, said in ((other, "is a qwen3: halves"), (experts, "has experts: halves")):
        with pytest.raises(ModelFileError, match=said):
            write_halves(path, tmp_path / "less.gguf", [1], [])
    assert not (tmp_path / "less.gguf").exists()
