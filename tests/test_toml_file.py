"""TOML is read within bounds, and what is wrong with it is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.errors import UsageError
from adec.toml_file import LARGEST_INTEGER, read_toml


@pytest.mark.parametrize(
    "text",
    [
        "a = ",
        "\x00",
        "a = " + "[" * 9000,
        "a = " + "9" * 5000,
        f"a = {LARGEST_INTEGER + 1}",
        f"[b]\na = [1, [{-LARGEST_INTEGER - 2}]]",
        b"a = '\xff'",
        "a = 1\na = 2\n# " + "long " * 100,
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        read_toml(path, 100_000, UsageError)
    message = str(caught.value)
    assert message.startswith(f"{path} is not valid TOML: ")
    assert "\n" not in message and len(message) < len(str(path)) + 200


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a = 12345")
    assert read_toml(path, 9, UsageError) == {"a": 12345}
    with pytest.raises(UsageError, match="larger than 8 bytes"):
        read_toml(path, 8, UsageError)
    with pytest.raises(FileNotFoundError):
        read_toml(tmp_path / "none.toml", 8, UsageError)


@given(st.integers(-LARGEST_INTEGER - 1, LARGEST_INTEGER))
def test_every_integer_of_64_bits_is_read(tmp_path_factory: pytest.TempPathFactory, n: int) -> None:
    path = tmp_path_factory.getbasetemp() / "n.toml"
    path.write_text(f"n = {n}")
    assert read_toml(path, 100, UsageError) == {"n": n}
