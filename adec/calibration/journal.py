"""What a calibration has measured so far, one JSON line an item, so that an interrupted one goes on where it stopped.

The first line is the key: what the items depend on. Another key, and the journal begins anew. A line that was cut off in
the middle, or that is not what it should be, is measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adec.errors import TraceError, UsageError
from adec.events.json_fields import loads
from adec.whole_file import whole_file

MOST_BYTES = 256 * 1024 * 1024
"""Largest journal that is read; a larger one is not ours."""


class Journal:
    """Items by name. Every `put` is on the disk when it returns."""

    def __init__(self, path: Path, key: str) -> None:
        """Raises UsageError when the folder cannot be written."""
        self.path = path
        self._items = _load(path, key)
        self.resumed = len(self._items)
        """Items that an earlier calibration left."""
        try:
            lines = [_line("key", key), *(_line(n, v) for n, v in self._items.items())]
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.writelines(lines)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"what is measured cannot be kept in {path.parent}: {error.strerror}",
                hint="ADEC_HOME moves everything that adec keeps",
            ) from error

    def get(self, name: str) -> Any:
        """The item; None when it was not measured yet."""
        return self._items.get(name)

    def put(self, name: str, value: Any) -> None:
        """Keep an item: plain data."""
        self._items[name] = value
        self._file.write(_line(name, value))
        self._file.flush()

    def forget(self, name: str) -> None:
        """Drop an item that proved unreadable; it is measured again."""
        self._items.pop(name, None)

    def close(self) -> None:
        """Leave the journal for the next calibration."""
        self._file.close()

    def remove(self) -> None:
        """All is done: nothing to resume."""
        self.close()
        self.path.unlink(missing_ok=True)


def key_of(parts: Iterable[str]) -> str:
    """A key over everything that the items depend on."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def _line(name: str, value: Any) -> str:
    return json.dumps([name, value]) + "\n"


def _load(path: Path, key: str) -> dict[str, Any]:
    """The items of an earlier calibration with that key."""
    items: dict[str, Any] = {}
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}
        with path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    entry = loads(line)
                except TraceError:
                    entry = None
                whole = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
                if number == 0 and entry != ["key", key]:
                    return {}
                if number and whole:
                    items[entry[0]] = entry[1]
    except OSError:
        return {}
    return items
