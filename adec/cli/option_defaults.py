"""Hands the defaults from files and environment to click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adec.defaults import Setting

MODELS = ("pair", "small", "large", "model")
"""These exclude each other: one on the command line overrides all that are set elsewhere."""

VALUELESS = {"--check": ("noise", "bitwise")}
"""Options of bench that may stand alone, with their values; the first is what they then mean."""


def default_map(
    known: Mapping[str, Setting], commands: Mapping[str, Any], arguments: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """click's `default_map`: by command, the values of its parameters as one would type them."""
    flags = {argument.partition("=")[0] for argument in arguments}
    if flags & {"-m", *(f"--{key}" for key in MODELS)}:
        known = {key: setting for key, setting in known.items() if key not in MODELS}
    return {
        name: {
            parameter.name: _typed(known[key])
            for parameter in command.params
            for key in _keys(parameter)
            if key in known
        }
        for name, command in commands.items()
    }


def with_values(arguments: Sequence[str]) -> list[str]:
    """The arguments with a value behind each option that may be given without one.

    click has no such options: `--check` of bench stands for `--check=noise`.
    """
    given = list(arguments)
    if given[:1] != ["bench"]:
        return given
    following = [*given[1:], ""]
    return [
        f"{word}={VALUELESS[word][0]}"
        if word in VALUELESS and after not in VALUELESS[word]
        else word
        for word, after in zip(given, following, strict=True)
    ]


def origin_of(known: Mapping[str, Setting], parameter: Any, arguments: Sequence[str]) -> str | None:
    """The file or variable that set a value which click refused; None for the command line."""
    flags = {argument.partition("=")[0] for argument in arguments}
    if parameter is None or flags & set(parameter.opts):
        return None
    return next((known[key].origin for key in _keys(parameter) if key in known), None)


def _keys(parameter: Any) -> list[str]:
    return [option.removeprefix("--") for option in parameter.opts if option.startswith("--")]


def _typed(setting: Setting) -> str | list[str]:
    if isinstance(setting.value, list):
        return [str(item) for item in setting.value]
    return str(setting.value)
