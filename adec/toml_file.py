"""Reads TOML files within bounds, because somebody else may have written them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adec.errors import AdecError

LARGEST_INTEGER = 2**63 - 1
"""TOML's integers have 64 bits; the parser takes longer ones, which later overflow as floats."""


def read_toml(path: Path, most_bytes: int, error: type[AdecError]) -> dict[str, Any]:
    """The table in a file.

    Raises `error`, with the path and the reason in one line, for a file that has more than
    `most_bytes`, is not UTF-8 or not TOML, or holds an integer beyond 64 bits; and OSError.
    """
    # imported here, so that a run without such a file does not pay for it
    import tomli

    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise error(f"{path} is larger than {most_bytes:,} bytes")
    try:
        table = tomli.loads(data.decode("utf-8"))
        _check_integers(table)
    except (ValueError, RecursionError) as trouble:
        # bad UTF-8, bad TOML, an integer of thousands of digits: all are ValueErrors
        reason = " ".join(str(trouble).split())[:160]
        raise error(f"{path} is not valid TOML: {reason}") from None
    return table


def _check_integers(table: dict[str, Any]) -> None:
    waiting: list[Any] = [table]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, int) and not -LARGEST_INTEGER - 1 <= value <= LARGEST_INTEGER:
            raise ValueError(f"the integer {str(value)[:20]}… does not fit in 64 bits")
