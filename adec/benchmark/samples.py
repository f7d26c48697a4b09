"""What came of each prompt, as records, and the file that keeps them while a bench runs.

A samples file is a header line, then one line a prompt, appended as they come. A stopped bench goes
on from it. Fields at their default are left out of a line; keys are only ever added.

{"type": "bench", "schema": 1, "key": "…", "rows": ["plain", …], "prompts": 50, …}
{"type": "prompt", "index": 0, "group": "lists", "answers": [{"row": "plain", "seconds": 0.41, …}]}
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Literal, Self

import msgspec

from adec.errors import AdecError, UsageError
from adec.events.hostile_json import Count, JsonReader, dumps, encode, to_plain

SCHEMA = 1
LINE_BYTES = 64 * 1024 * 1024

PLAIN = "plain"
"""The row that all others are compared with: the large model alone."""

Finite = Annotated[float, msgspec.Meta(ge=-(2.0**63), le=2.0**63)]


class RowHeader(msgspec.Struct, frozen=True):
    """One line of the table: a strategy with its settings, or a peer."""

    name: str
    kind: Literal["strategy", "peer"]
    about: str = ""
    guarantee: str = ""
    """exact, bounded or approximate; empty for a peer, and until the first answer."""
    follows: str = ""
    """The row that is answered first: on each prompt this one may be fed as many tokens as that."""
    searches: bool = False
    """Whether it spends computation to be right rather than fast."""


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first place where an exact row's tokens are not those of the large model alone."""

    position: Count
    """Tokens of the answer that are equal before it."""
    plain_token: str
    row_token: str
    gap: Finite | None
    """The large model's logit of its own token minus the row's; None where one answer ends."""
    best_gap: Finite | None = None
    """The large model's highest logit minus its second highest, at that place."""
    noise: Finite | None = None
    """How far rounding moves such gaps on this model, as measured; see `engines/invariance.py`."""

    @property
    def is_rounding(self) -> bool:
        """Whether rounding alone explains it."""
        return None not in (self.gap, self.noise) and abs(self.gap or 0) <= (self.noise or 0)


class BenchAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer of one row to one prompt. None stands for what a peer does not tell."""

    row: str
    run: Count
    seconds: Finite
    """Wall time from the question to the last token, prompt included, loading excluded."""
    tokens: Count
    text: str
    guarantee: str = ""
    """exact, bounded or approximate, as strategy and settings promise; empty for a peer."""
    finish: str = ""
    first_seconds: Finite | None = None
    """Wall time to the first token."""
    large_tokens: Count | None = None
    """Tokens that the large model wrote."""
    large_fed: Count | None = None
    """Tokens that the large model read while decoding, catch-up and rejected drafts included."""
    small_fed: Count | None = None
    total_fed: Count | None = None
    """Tokens that all models read while decoding. Files of older versions lack it."""
    large_forwards: Count | None = None
    """Forwards of the large model while decoding."""
    prompt_fed_work: Count | None = None
    """Parameters times prompt tokens read, summed over the models."""
    fed_work: Count | None = None
    """Parameters times tokens read while decoding, summed over the models."""
    forward_ms: Finite | None = None
    """Time inside forwards; the rest of `seconds` is overhead."""
    draft_ms: Finite | None = None
    pauses: Count | None = None
    """Steps that compared candidates; the next two are their time in forwards and outside."""
    pause_ms: Finite | None = None
    pause_own_ms: Finite | None = None
    plain_ms: Finite | None = None
    """Milliseconds a token of the large model alone, as this run measured it."""
    peak_bytes: Count | None = None
    """Highest resident memory while it was answered."""
    remark: str = ""
    """What it went without: a model, or a part of its canvas."""
    right: bool | None = None
    same: bool | None = None
    """Whether all tokens are those of the large model alone in the same run."""
    leading: Count | None = None
    """Tokens that are equal before the first difference."""
    difference: Difference | None = None
    error: str | None = None

    @property
    def fed(self) -> int | None:
        """Tokens that all models read while decoding; None where a peer does not tell."""
        if self.total_fed is not None or (self.large_fed is None and self.small_fed is None):
            return self.total_fed
        return (self.large_fed or 0) + (self.small_fed or 0)

    @property
    def ms_per_token(self) -> float | None:
        """Wall milliseconds a token, prompt included."""
        return 1000 * self.seconds / self.tokens if self.tokens > 0 and self.seconds > 0 else None


class PromptResult(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="prompt"):
    """All answers to one prompt: the unit that is written, resumed and summed up."""

    index: Count
    group: str
    kind: str
    answers: tuple[BenchAnswer, ...]
    dependence_nats: Finite | None = None
    load: Finite | None = None
    """Load of the machine, per core, when the prompt began."""
    worker: str = ""
    """Who answered, where several machines share the work; times compare within a worker only."""
    machine: str = ""
    """The worker's processor and cores."""


_RESULT: JsonReader[PromptResult] = JsonReader(PromptResult)
_OBJECT: JsonReader[dict[str, Any]] = JsonReader(dict[str, Any])


def read_result(data: bytes, index: int) -> PromptResult:
    """What a worker sent of a prompt. Raises ValueError on garbage, and on another prompt's."""
    if len(data) > LINE_BYTES:
        raise ValueError("it is too long")
    result = _RESULT.read(data)
    if result.index != index:
        raise ValueError(f"it is of prompt {result.index}, not of {index}")
    return result


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
        """Raises UsageError for a file of something else, AdecError for one it cannot write."""
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
            raise self._unwritable(error) from error
        return self

    def _unwritable(self, error: OSError) -> AdecError:
        return AdecError(
            f"the samples file {self.path} cannot be written: {error.strerror}",
            hint="--samples FILE puts it elsewhere",
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, result: PromptResult) -> None:
        """Write one prompt. Raises AdecError when the disk is full."""
        self._write(encode(result))
        self.done[result.index] = 1

    def results(self) -> Iterator[PromptResult]:
        """The prompts written so far, from the disk, one at a time."""
        with self.path.open("rb") as file:
            file.readline(LINE_BYTES)
            for line in iter(lambda: file.readline(LINE_BYTES), b""):
                try:
                    yield _RESULT.read(line)
                except ValueError as error:
                    raise UsageError(f"{self.path}: {error}") from None

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
            header = _header(first)
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
            self._write(dumps(to_plain(self._header)))

    def _count(self, file: BinaryIO, end: int) -> int:
        """Mark what is done, and return the offset behind the last whole line.

        What a crash tore is done again.
        """
        for line in iter(lambda: file.readline(LINE_BYTES), b""):
            if not line.endswith(b"\n"):
                break
            try:
                result = _RESULT.read(line)
            except ValueError:
                break
            if result.index >= len(self.done) or self.done[result.index]:
                break
            self.done[result.index] = 1
            self.found += 1
            end += len(line)
        return end

    def _write(self, text: str) -> None:
        assert self._descriptor is not None
        line = text.encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            raise self._unwritable(error) from error


def _header(line: bytes) -> dict[str, Any]:
    """The first line as an object; an empty one where it is none, or was cut off."""
    try:
        return _OBJECT.read(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}


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
