"""What parts were learned for a model, for `adec inspect MODEL`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adec.display.wording import short
from adec.engines.base import ModelInfo
from adec.errors import AdecError
from adec.inspection.sheet import Block, Table
from adec.parts.kept_parts import parts_of
from adec.parts.part import Part

_SHOWN = 8
"""Facts of a part in the table; --json has all."""


def parts_data(info: ModelInfo) -> list[dict[str, Any]]:
    """The parts of a model as plain data; of a damaged one, its file and what is wrong with it."""
    try:
        found = parts_of(info)
    except AdecError:
        return []  # the model itself cannot be read, which others say
    return [
        {"path": str(path), **(_described(part) if isinstance(part, Part) else {"problem": part})}
        for path, part in found
    ]


def _described(part: Part) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "made": part.made,
        "parameters": sum(int(array.size) for array in part.tensors.values()),
        "facts": dict(part.facts),
    }


def parts_table(parts: Sequence[dict[str, Any]]) -> list[Block]:
    """A table of the parts; nothing where there are none."""
    rows = []
    for part in parts:
        if "problem" in part:
            rows.append((part["path"], "", "", part["problem"]))
            continue
        facts = list(part["facts"].items())
        said = ", ".join(f"{name} {_number(value)}" for name, value in facts[:_SHOWN])
        if len(facts) > _SHOWN:
            said += f" and {len(facts) - _SHOWN} more"
        rows.append((part["kind"], part["made"], short(part["parameters"]), said))
    if not rows:
        return []
    return [Table("Parts", ("part", "made", "parameters", "learned"), rows, frozenset({2}))]


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
