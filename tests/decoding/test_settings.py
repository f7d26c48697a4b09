"""Settings from a command line and from a profile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.ead import EadSettings
from adec.decoding.registry import METHODS, find_method
from adec.decoding.settings import build, meanings, parse_assignments
from adec.errors import UsageError


def ead(profile=None, **assigned: str) -> EadSettings:
    return build(EadSettings, "ead", ("profile p", profile or {}), ("--set", assigned))


def test_later_layers_win() -> None:
    assert ead({"up": 0.2, "window": 3}, up="0.4") == EadSettings(up=0.4, window=3)


def test_values_have_types() -> None:
    chosen = ead(down="none", reset="true", accept="exact", window="3", up="1e-1")
    assert chosen == EadSettings(up=0.1, down=None, reset=True, accept="exact", window=3)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("upp", "1", "did you mean ead.up?"),
        ("colour", "1", "ead has up, down"),
        ("up", "high", "'high', not a number"),
        ("up", "nan", "not a number"),
        ("up", "-1", "below 0"),
        ("window", "0", "below 1"),
        ("window", "2.5", "not a whole number"),
        ("window", "1e400", "not a whole number"),
        ("accept", "maybe", "not one of none, exact"),
        ("reset", "perhaps", "not true or false"),
        ("dwell", "", "not a whole number"),
    ],
)
def test_wrong_values_are_named(name, value, said) -> None:
    with pytest.raises(UsageError) as caught:
        ead(**{name: value})
    assert said.lower() in str(caught.value).lower()
    assert "--set" in str(caught.value)


def test_a_profile_is_no_more_trusted() -> None:
    for wrong in ({"up": []}, {"up": True}, {"reset": 2}, {"window": float("inf")}, {"accept": {}}):
        with pytest.raises(UsageError, match="profile p"):
            ead(wrong)


@given(st.text(max_size=20))
def test_any_word_is_an_assignment_or_an_error(word) -> None:
    try:
        parsed = parse_assignments([word])
    except UsageError:
        return
    ((strategy, names),) = parsed.items()
    assert "=" in word and strategy and len(names) == 1


def test_every_setting_of_every_method_is_explained_and_has_a_valid_default() -> None:
    for method in METHODS.values():
        build(method.settings, method.name)
        assert all(meaning for _, _, meaning in meanings(method.settings))


def test_an_unknown_strategy_is_helped() -> None:
    with pytest.raises(UsageError, match="Did you mean plain"):
        find_method("plane")
    with pytest.raises(UsageError, match="There are plain, speculate, ead, "):
        find_method("xyz")
