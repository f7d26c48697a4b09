"""Answers that a user agreed to keep (`adec run --remember`), for drafters to find repetitions in.

There is one file for each vocabulary, of token ids alone. A line is an answer: a checksum, and the
ids. A new answer is appended in one write that begins with a newline, so that a line which was cut
off (by `kill -9`, or a full disk) spoils itself alone. A file that has grown too long is written
anew, whole, with the latest answers. It belongs to the user (mode 600), and what it holds is read
as hostile.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adec.engines.base import Engine
from adec.places import kept_folder
from adec.whole_file import whole_file

KEPT_TOKENS = 60_000
"""How many of the latest tokens are read: feeding them to an automaton takes a quarter of a
second."""
FILE_BYTES = 1024 * 1024
"""Length at which a file is written anew; no more of it is ever read."""
ENDING = ".answers"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in a file."""

    answers: list[list[int]]
    """Oldest first, `KEPT_TOKENS` tokens together at most."""
    spoilt: int = 0
    """Lines that were ignored."""
    error: str | None = None
    """Why the file could not be read."""

    @property
    def tokens(self) -> int:
        """Tokens of all answers."""
        return sum(map(len, self.answers))


class Remembered:
    """The answers in one file. Nothing is written unless `add` is called."""

    def __init__(self, path: Path, vocabulary: int | None = None) -> None:
        """`vocabulary`: its size; a line with an id outside is ignored."""
        self.path = path
        self._vocabulary = vocabulary

    def read(self) -> Reading:
        """Earlier answers; none when there is no file."""
        try:
            if not self.path.exists():
                return Reading([])
            if not self.path.is_file():
                return Reading([], error=f"{self.path} is no file")
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - FILE_BYTES))
                lines = file.read(FILE_BYTES).split(b"\n")
        except OSError as error:
            return Reading([], error=f"{self.path} cannot be read: {error.strerror}")
        if size > FILE_BYTES:
            del lines[0]  # its beginning is out of reach
        written = [line for line in lines if line]
        answers = [ids for ids in map(self._ids, written) if ids is not None]
        return Reading(list(_latest(answers)), spoilt=len(written) - len(answers))

    def add(self, answer: Sequence[int]) -> str | None:
        """Append an answer. Returns why that failed, for a remark: it must not end a run."""
        if not answer:
            return None
        line = b"\n" + _line(answer[-KEPT_TOKENS:]).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.path.exists() and not self.path.is_file():
                return f"the answer is not remembered: {self.path} is no file"
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            handle = os.open(self.path, flags, 0o600)
            try:
                os.write(handle, line)
                size = os.fstat(handle).st_size
            finally:
                os.close(handle)
            if size > FILE_BYTES:
                latest = self.read().answers
                with whole_file(self.path, private=True) as file:
                    file.writelines(f"\n{_line(answer)}" for answer in latest)
        except OSError as error:
            return f"the answer is not remembered: {self.path} cannot be written: {error.strerror}"
        return None

    def _ids(self, line: bytes) -> list[int] | None:
        """The ids of a line; None if it is not as it was written."""
        sum_, _, ids = line.partition(b" ")
        try:
            if int(sum_, 16) != zlib.crc32(ids):
                return None
            found = [int(number) for number in ids.split()]
        except ValueError:
            return None
        most = self._vocabulary
        if not found or min(found) < 0 or (most is not None and max(found) >= most):
            return None
        return found


def remembered_for(engine: Engine) -> Remembered:
    """The file of a model's vocabulary."""
    path = kept_folder("remembered") / f"{engine.vocabulary.fingerprint[:16]}{ENDING}"
    return Remembered(path, engine.info.vocabulary)


def remembered_files() -> list[Path]:
    """All such files."""
    return sorted(kept_folder("remembered").glob(f"*{ENDING}"))


def forget() -> list[Path]:
    """Delete all such files; returns what was deleted. Raises OSError."""
    files = remembered_files()
    for path in files:
        path.unlink()
    return files


def _line(answer: Iterable[int]) -> str:
    ids = " ".join(map(str, answer))
    return f"{zlib.crc32(ids.encode()):08x} {ids}"


def _latest(answers: Sequence[list[int]]) -> Iterator[list[int]]:
    left = KEPT_TOKENS - sum(map(len, answers))
    for answer in answers:
        if left >= 0:
            yield answer
        else:
            left += len(answer)
