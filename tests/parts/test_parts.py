"""Parts: what is written is read again, and a file of anybody's is an error of one line."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from adec.engines.base import ModelInfo
from adec.errors import ModelFileError, UsageError
from adec.machine import file_fingerprint
from adec.parts import part_file
from adec.parts.kept_parts import (
    find_part,
    keep_part,
    model_fingerprint,
    need_part,
    part_path,
    parts_of,
)
from adec.parts.part import Part
from adec.parts.part_file import read_part, write_part
from tests.cli.command import call


def a_part(model: str = "0123456789abcdef", **facts: str | int | float | bool) -> Part:
    arrays = {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bias": np.array([0.5, -1.0], dtype=np.float32),
    }
    return Part("exits", model, arrays, facts, "2026-01-31")


def model_at(folder: Path, content: bytes = b"weights") -> ModelInfo:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return ModelInfo("model", path, "gguf", "llama", 4, 100, 50, 64, len(content), "F16")


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "part.safetensors"
    part = a_part(prompts=12, worth=0.25, method="linear", frozen=True)
    write_part(part, path)
    back = read_part(path)
    assert (back.kind, back.model, back.made) == (part.kind, part.model, part.made)
    assert back.facts == part.facts
    assert back.tensors.keys() == part.tensors.keys()
    for name, array in part.tensors.items():
        assert np.array_equal(back.tensors[name], array)


def test_arrays_and_numbers_are_checked_where_they_are_used() -> None:
    part = a_part(theta=0.75, flag=True)
    assert part.tensor("weight", 2, None).shape == (2, 3)
    assert part.number("theta", least=0, most=1) == 0.75
    for name, shape in (("weight", (3, 2)), ("weight", (2,)), ("other", (1,))):
        with pytest.raises(ModelFileError):
            part.tensor(name, *shape)
    for name, most in (("theta", 0.5), ("flag", 2.0), ("none", 1.0)):
        with pytest.raises(ModelFileError):
            part.number(name, least=0, most=most)


@given(st.data())
def test_a_damaged_file_is_an_error_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("parts") / "part.safetensors"
    write_part(a_part(worth=0.5), path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        part = read_part(path)
    except ModelFileError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
    else:
        assert all(np.isfinite(array).all() for array in part.tensors.values())


def described(**changes: object) -> dict[str, str]:
    whole = {"schema": 1, "kind": "exits", "model": "0" * 16, "facts": {}} | changes
    return {"adec_part": json.dumps(whole)}


@pytest.mark.parametrize(
    ("arrays", "metadata", "word"),
    [
        ({"a": np.ones(2, np.float32)}, {}, "no part"),
        ({"a": np.ones(2, np.int64)}, described(), "type"),
        ({"a": np.array([np.nan], np.float32)}, described(), "finite"),
        ({"a": np.array([np.inf], np.float16)}, described(), "finite"),
        ({"a": np.array([-3e38], np.float32)}, described(), "above 1e[+]12"),
        ({"a": np.ones(2, np.float32)}, described(schema=9), "later"),
        ({"a": np.ones(2, np.float32)}, described(kind="../x"), "kind"),
        ({"a": np.ones(2, np.float32)}, described(facts={"a": [1]}), "wrongly"),
        ({"a": np.ones(2, np.float32)}, described(model="x" * 500), "wrongly"),
        ({"a": np.ones(2, np.float32)}, {"adec_part": "[" * 5000}, "wrongly"),
    ],
)
def test_what_a_part_must_not_hold_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str], word: str
) -> None:
    path = tmp_path / "part.safetensors"
    path.write_bytes(save(arrays, metadata))
    with pytest.raises(ModelFileError, match=word):
        read_part(path)


def test_sizes_are_bounded_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "part.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(ModelFileError, match="header"):
        read_part(path)
    write_part(a_part(), path)
    monkeypatch.setattr(part_file, "LIMIT", 64)
    with pytest.raises(ModelFileError, match="larger"):
        read_part(path)
    with pytest.raises(ModelFileError, match="too much"):
        write_part(a_part(), path)
    with pytest.raises(ModelFileError, match="not a file"):
        read_part(tmp_path)


def test_a_part_is_found_by_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADEC_HOME", str(tmp_path / "home"))
    info = model_at(tmp_path)
    assert find_part("exits", info) is None and parts_of(info) == []
    with pytest.raises(UsageError, match="--fit exits"):
        need_part("exits", info)
    fingerprint = model_fingerprint(info)
    assert fingerprint is not None
    path = keep_part(a_part(fingerprint, worth=1))
    assert need_part("exits", info).facts == {"worth": 1}
    assert [where for where, _ in parts_of(info)] == [path]
    # the same file name with other weights in it
    other = model_at(tmp_path, b"other weights")
    assert find_part("exits", other) is None and parts_of(other) == []
    # a part that somebody renamed for this model
    renamed = path.with_name(f"exits-{model_fingerprint(other)}.safetensors")
    path.rename(renamed)
    with pytest.raises(ModelFileError, match="another model"):
        find_part("exits", other)
    assert [what for _, what in parts_of(other)] == ["made for another model, or renamed"]
    renamed.write_bytes(b"junk")
    (problem,) = (what for _, what in parts_of(other))
    assert isinstance(problem, str) and "\n" not in problem
    with pytest.raises(ModelFileError, match=f"Learn it again: adec calibrate {other.path} --fit"):
        find_part("exits", other)


def test_a_folder_that_may_not_be_looked_into_is_an_error_of_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = model_at(tmp_path)

    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", denied)
    with pytest.raises(ModelFileError, match=r"cannot read .*Permission denied"):
        find_part("exits", info)


def test_what_is_no_file_here_has_no_parts(tmp_path: Path) -> None:
    info = dataclasses.replace(model_at(tmp_path), format="table")
    assert model_fingerprint(info) is None and parts_of(info) == []
    assert find_part("exits", info) is None


def test_inspect_shows_the_parts_of_a_model(tiny_pair: tuple[Path, Path], capsys: Any) -> None:
    path = tiny_pair[1]
    bare = call(capsys, "inspect", path, "--json")
    assert json.loads(bare.out)["parts"] == []
    assert "Parts" not in call(capsys, "inspect", path).out
    fingerprint = file_fingerprint(path)
    keep_part(a_part(fingerprint, method="\x1b[31mlinear", worth=0.25))
    broken = part_path("routers", fingerprint)
    broken.write_bytes(b"junk")
    (part, problem) = json.loads(call(capsys, "inspect", path, "--json").out)["parts"]
    assert (part["kind"], part["parameters"], part["facts"]["worth"]) == ("exits", 8, 0.25)
    assert problem["path"] == str(broken) and problem["problem"]
    shown = call(capsys, "inspect", path)
    assert shown.code == 0 and "worth 0.25" in shown.out and "\x1b" not in shown.out
