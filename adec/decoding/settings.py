"""A strategy's settings: a frozen dataclass whose fields carry their bounds and their meaning."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from adec import defaults
from adec.errors import UsageError

T = typing.TypeVar("T")


def setting(
    default: T,
    meaning: str,
    *,
    least: float | None = None,
    most: float | None = None,
    per_writer: bool = False,
) -> T:
    """A dataclass field with its meaning and its bounds (inclusive).

    `per_writer`: a profile may hold a value of it for each model that may write.
    """
    metadata = {"meaning": meaning, "least": least, "most": most, "per_writer": per_writer}
    field: T = dataclasses.field(default=default, metadata=metadata)
    return field


def parse_assignments(words: Iterable[str]) -> dict[str, dict[str, str]]:
    """`["ead.up=0.3"]` to `{"ead": {"up": "0.3"}}`. Raises UsageError on any other form."""
    result: dict[str, dict[str, str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        strategy, dot, name = key.strip().partition(".")
        if not (equals and dot and strategy and name):
            hint = _option_hint(key) if equals else None
            raise UsageError(
                f"--set {word!r} is not STRATEGY.NAME=VALUE",
                hint=hint or "for example: --set ead.up=0.3",
            )
        result.setdefault(strategy, {})[name] = value.strip()
    return result


def build(settings: type[T], strategy: str, *layers: tuple[str, Mapping[str, Any]]) -> T:
    """A settings object from layers of values, of which the later ones win.

    Each layer is (where it comes from, name to value). Values are strings from a command line or
    TOML values from a profile. Raises UsageError on an unknown name (with the nearest one), a wrong
    type or a value out of bounds.
    """
    fields = {field.name: field for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(settings)
    values: dict[str, Any] = {}
    for origin, layer in layers:
        for name, value in layer.items():
            if name not in fields:
                near = difflib.get_close_matches(name, fields, n=1)
                known = f"did you mean {strategy}.{near[0]}?" if near else _known(strategy, fields)
                hint = _option_hint(name) or known
                raise UsageError(f"{origin}: {strategy} has no setting {name!r}", hint=hint)
            where = f"{origin}: {strategy}.{name}"
            values[name] = _bounded(_convert(value, hints[name], where), fields[name], where)
    return settings(**values)


def meanings(settings: type[Any]) -> list[tuple[str, Any, str]]:
    """(name, default, meaning) of every setting, for help."""
    return [
        (field.name, field.default, field.metadata["meaning"])
        for field in dataclasses.fields(settings)
    ]


def as_typed(value: Any) -> str:
    """A setting's value as it is typed."""
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _option_hint(name: str) -> str | None:
    """Where a word goes that is no setting of a strategy but an option of the command."""
    word = name.strip().replace("_", "-")
    word = "temp" if word == "temperature" else word
    return f"it is an option of its own, --{word}" if word in defaults.KEYS else None


def _known(strategy: str, fields: Mapping[str, Any]) -> str:
    return f"{strategy} has {', '.join(fields)}" if fields else f"{strategy} has no settings"


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as a field's type: bool, int, float, literal, or one of these or None."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value == "none":
            return None
        return _convert(
            value, next(option for option in options if option is not type(None)), where
        )
    if typing.get_origin(hint) is Literal:
        if value in options:
            return value
        raise UsageError(f"{where} is {value!r}, not one of {', '.join(options)}")
    if hint is bool:
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        answer = value if isinstance(value, bool) else known.get(str(value).lower())
        if answer is None:
            raise UsageError(f"{where} is {value!r}, not true or false")
        return answer
    if isinstance(value, bool):
        raise UsageError(f"{where} is {value!r}, not a number")
    try:
        number = float(value)
        if hint is int and number != int(number):
            raise ValueError
    except (ValueError, OverflowError, TypeError):
        kind = "a whole number" if hint is int else "a number"
        raise UsageError(f"{where} is {value!r}, not {kind}") from None
    return int(number) if hint is int else number


def _bounded(value: Any, field: dataclasses.Field[Any], where: str) -> Any:
    least, most = field.metadata["least"], field.metadata["most"]
    if isinstance(value, float) and math.isnan(value):
        raise UsageError(f"{where} is not a number")
    if least is not None and value is not None and value < least:
        raise UsageError(f"{where} is {value}, below {least}")
    if most is not None and value is not None and value > most:
        raise UsageError(f"{where} is {value}, above {most}")
    return value


def per_writer(kind: type[Any], learned: Mapping[str, Any]) -> dict[str, Any]:
    """What of a profile's [NAME.ROLE] table are settings; the rest says what they rest on."""
    names = [f.name for f in dataclasses.fields(kind) if f.metadata["per_writer"]]
    return {name: learned[name] for name in names if name in learned}
