"""The samples file: a header line, then a line a prompt, appended as they come. A stopped bench goes on from it.

{"type": "bench", "schema": 1, "key": "…", "rows": [{"name": "plain", …}, …], "prompts": 50, …}
{"type": "prompt", "index": 0, "group": "lists", "answers": [{"row": "plain", "seconds": 0.41, "tokens": 23, …}, …]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from adec.benchmark.answer import PromptResult, from_json, to_json
from adec.errors import AdecError, UsageError

SCHEMA = 1
LINE_BYTES = 64 * 1024 * 1024


class SamplesFile:
    """Opened for one bench, and locked: no other may write to it. `done` has a flag a prompt."""

    def __init__(self, path: Path, header: dict[str, Any], *, fresh: bool = False) -> None:
        self.path = path
        self._header = {"type": "bench", "schema": SCHEMA, **header}
        self._fresh = fresh
        self._descriptor: int | None = None
        self.done = bytearray(header["prompts"])
        self.found = 0
        """Prompts that an earlier, stopped bench has left."""

    def __enter__(self) -> Self:
        """Raises UsageError when the file belongs to something else, AdecError when it cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(self.path, flags, 0o600)
            _lock(self._descriptor, self.path)
            try:
                self._take_over()
            except BaseException:
                self.close()
                raise
        except OSError as error:
            self.close()
            raise AdecError(
                f"the samples file {self.path} cannot be written: {error.strerror}"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, result: PromptResult) -> None:
        """Write one prompt. Raises AdecError when the disk is full."""
        self._write(to_json(result))
        self.done[result.index] = 1

    def results(self) -> Iterator[PromptResult]:
        """The prompts written so far, from the disk, one at a time."""
        with self.path.open("rb") as file:
            file.readline(LINE_BYTES)
            for line in iter(lambda: file.readline(LINE_BYTES), b""):
                yield from_json(_object(line))

    def remove(self) -> None:
        """Close and delete it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Calling it twice is harmless."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _take_over(self) -> None:
        assert self._descriptor is not None
        with self.path.open("rb") as file:
            first = file.readline(LINE_BYTES)
            header = _object(first) if first.endswith(b"\n") else {}
            if first and header.get("type") != "bench":
                raise UsageError(
                    f"{self.path} exists and is no samples file", hint="name another file"
                )
            same = header.get("key") == self._header["key"] and header.get("schema") == SCHEMA
            if first and not same and not self._fresh:
                raise UsageError(
                    f"{self.path} holds the samples of another bench",
                    hint="name another file, or start over with --fresh",
                )
            end = 0
            if same and not self._fresh:
                end = self._count(file, len(first))
        os.ftruncate(self._descriptor, end)
        os.lseek(self._descriptor, end, os.SEEK_SET)
        if end == 0:
            self._write(self._header)

    def _count(self, file: Any, end: int) -> int:
        """Mark what is done; the offset behind the last whole line. A torn last line is done again."""
        for line in iter(lambda: file.readline(LINE_BYTES), b""):
            if not line.endswith(b"\n"):
                break
            try:
                result = from_json(_object(line))
            except UsageError:
                break
            if result.index >= len(self.done) or self.done[result.index]:
                break
            self.done[result.index] = 1
            self.found += 1
            end += len(line)
        return end

    def _write(self, data: dict[str, Any]) -> None:
        assert self._descriptor is not None
        line = json.dumps(data, ensure_ascii=True).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            raise AdecError(
                f"the samples file {self.path} cannot be written: {error.strerror}"
            ) from error


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(
            f"another bench is writing {path}",
            hint="wait for it, or name another file with --samples",
        ) from error
