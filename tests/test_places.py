"""Paths that a person types."""

from __future__ import annotations

from pathlib import Path

import pytest

from adec.errors import ModelFileError
from adec.models.names import locate
from adec.places import typed_path


def test_a_home_that_nobody_has_stays_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert typed_path("~/x.toml") == Path("/somewhere/x.toml")
    assert typed_path("x/~") == Path("x/~")
    for word in ("~nobody-of-that-name/x.toml", "~no\0body/x.toml"):
        assert typed_path(word) == Path(word)


def test_a_model_in_such_a_home_does_not_exist() -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        locate("~nobody-of-that-name/x.gguf")
