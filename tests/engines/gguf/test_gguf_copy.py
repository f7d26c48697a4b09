"""A GGUF file without some blocks is a whole model, and says the same as leaving them out does."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from adec.engines.base import OpenOptions
from adec.engines.llama.gguf import gguf_copy
from adec.engines.llama.gguf.gguf_copy import LEFT_OUT, write_without
from adec.engines.llama.gguf.gguf_reader import read_gguf
from adec.engines.opening import open_engine, read_header
from adec.errors import ModelFileError
from tests.engines.contract import assert_rows_equal, log_probabilities
from tests.engines.gguf.tiny_gguf import RawGguf, write_tiny_gguf

TOKENS = list(range(20, 32))
OPTIONS = OpenOptions(context=64, threads=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "whole.gguf", layers=5)


def rows(path: Path, left_out: Collection[int] = (), engine: Any = None) -> np.ndarray:
    opened: Any = open_engine(read_header(path, engine), OPTIONS)
    try:
        if left_out:
            opened.leave_out(left_out)
        return log_probabilities(opened.forward(TOKENS, rows=4))
    finally:
        opened.close()


@pytest.mark.parametrize("left_out", [(0,), (1, 3), (2, 3, 4)])
def test_the_file_says_what_the_model_says_without_these_blocks(
    whole: Path, tmp_path: Path, left_out: tuple[int, ...]
) -> None:
    path = tmp_path / "fewer.gguf"
    write_without(whole, path, left_out)
    header = read_header(path)
    assert header.info.layers == 5 - len(left_out)
    assert header.vocabulary == read_header(whole).vocabulary
    assert_rows_equal(rows(path), rows(whole, left_out, "torch"), 0.05)
    assert_rows_equal(rows(path, engine="torch"), rows(whole, left_out, "torch"), 1e-4)


def test_tensors_are_copied_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "fewer.gguf"
    write_without(whole, path, [1])
    before = {tensor.name: tensor for tensor in gguf.GGUFReader(whole).tensors}
    after = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert len(before) - len(after) == 9
    for name, tensor in after.items():
        parts = name.split(".")
        if parts[0] == "blk" and int(parts[1]) > 0:
            name = ".".join(["blk", str(int(parts[1]) + 1), *parts[2:]])
        assert (tensor.data == before[name].data).all()


def test_what_is_left_out_twice_is_named_as_the_origin_counts_it(
    whole: Path, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once.gguf", tmp_path / "twice.gguf"
    write_without(whole, once, [1])
    write_without(once, twice, [1, 2])  # the origin's 2 and 3
    gone = read_gguf(twice).array(LEFT_OUT)
    assert gone is not None and gone.numbers() == (1, 2, 3)
    assert read_header(twice).info.name == "tiny (4 of 5 blocks) (2 of 4 blocks)"


def test_values_given_a_block_each_lose_theirs(whole: Path, tmp_path: Path) -> None:
    raw = RawGguf.read(whole)
    key = b"llama.feed_forward_length"
    raw.pairs = [(key, 9, (4, [128] * 5)) if pair[0] == key else pair for pair in raw.pairs]
    given = tmp_path / "given.gguf"
    raw.write(given)
    write_without(given, tmp_path / "fewer.gguf", [0, 4])
    found = read_gguf(tmp_path / "fewer.gguf").array(key.decode())
    assert found is not None and found.numbers() == (128.0,) * 3


@pytest.mark.parametrize(
    ("left_out", "said"), [([5], "has no block 5"), (range(5), "no block left"), ([-1], "no block")]
)
def test_blocks_that_are_not_there_and_all_of_them_are_refused(
    whole: Path, tmp_path: Path, left_out: Collection[int], said: str
) -> None:
    with pytest.raises(ModelFileError, match=said):
        write_without(whole, tmp_path / "fewer.gguf", left_out)
    assert not list(tmp_path.iterdir())


def test_it_refuses_other_kinds_itself_and_a_full_disk(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sliding = write_tiny_gguf(tmp_path / "sliding.gguf", swa=16)
    with pytest.raises(ModelFileError, match="gemma2, whose blocks"):
        write_without(sliding, tmp_path / "fewer.gguf", [0])
    same = tmp_path / "same.gguf"
    shutil.copy(whole, same)
    with pytest.raises(ModelFileError, match="is the model itself"):
        write_without(same, same, [0])
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(gguf_copy.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ModelFileError, match="MiB free"):
        write_without(whole, tmp_path / "fewer.gguf", [0])
    assert not (tmp_path / "fewer.gguf").exists()


def test_a_file_that_shrinks_meanwhile_leaves_nothing_half_written(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrunk = tmp_path / "shrunk.gguf"
    shutil.copy(whole, shrunk)
    header = read_gguf(shrunk)
    monkeypatch.setattr(gguf_copy, "read_model", lambda path: header)
    shrunk.write_bytes(shrunk.read_bytes()[:-4096])
    with pytest.raises(ModelFileError, match="became shorter"):
        write_without(shrunk, tmp_path / "fewer.gguf", [0])
    assert [path.name for path in tmp_path.iterdir()] == ["shrunk.gguf"]
