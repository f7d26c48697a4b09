"""What a calibration has measured so far, so that an interrupted one goes on where it stopped.

A file of JSON lines, `[name, item]`. The first line is the key, over everything that the items
depend on: with another key the journal begins anew. A line that was cut off, or an item that is
not what it should be, is measured again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import msgspec

from adec.calibration.prompts import KnownPrompt
from adec.calibration.replay.recording import Answer, Record, record
from adec.calibration.trials.trial import Metric, Point, Runner, Trial, loss_of
from adec.errors import UsageError
from adec.events.hostile_json import JsonReader
from adec.whole_file import whole_file

MOST_BYTES = 256 * 1024 * 1024
"""Largest journal that is read; a larger one is not ours."""

T = TypeVar("T")
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

_LINE: JsonReader[tuple[str, msgspec.Raw]] = JsonReader(tuple[str, msgspec.Raw])
_ANSWER: JsonReader[Answer] = JsonReader(Answer)
_RECORD: JsonReader[Record] = JsonReader(Record)
_RUN: JsonReader[Trial] = JsonReader(Trial)
_LOSS: JsonReader[Share] = JsonReader(Share)


class Journal:
    """Items by name. Every `put` is on the disk when it returns."""

    def __init__(self, path: Path, key: str) -> None:
        """Raises UsageError when the folder cannot be written."""
        self.path = path
        self._items = _load(path, key)
        self.resumed = len(self._items)
        """Items that an earlier calibration left."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(_line("key", msgspec.json.encode(key)))
                file.writelines(_line(name, item) for name, item in self._items.items())
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"what is measured cannot be kept in {path.parent}: {error.strerror}",
                hint="ADEC_HOME moves everything that adec keeps",
            ) from error

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def get(self, name: str, reader: JsonReader[T]) -> T | None:
        """The item; None where it is missing, or is not what the reader reads and is dropped."""
        item = self._items.get(name)
        if item is None:
            return None
        try:
            return reader.read(item)
        except ValueError:
            self.drop(name)
            return None

    def drop(self, name: str) -> None:
        """Forget an item that proved useless; it is measured again."""
        self._items.pop(name, None)

    def put(self, name: str, item: Any) -> None:
        """Keep an item: whatever msgspec encodes."""
        self._items[name] = msgspec.json.encode(item)
        self._file.write(_line(name, self._items[name]))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Whatever ended the work, what was measured stays; `remove` says that all is done."""
        self.close()

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


class Measurements:
    """A runner with a journal: what is in it is not measured again.

    Every method raises KeyboardInterrupt after Ctrl-C, and EngineError.
    """

    def __init__(self, runner: Runner, journal: Journal, metric: Metric) -> None:
        self.runner = runner
        self.engines = runner.engines
        self._journal = journal
        self._metric = metric

    def answer(self, name: str, prompt: KnownPrompt) -> Answer:
        """The large model's own answer."""
        kept = self._journal.get(f"answer {name}", _ANSWER)
        if kept is None:
            run = self.runner.run(self.runner.yardstick, prompt)
            kept = Answer(run.tokens, run.text, run.ms, run.right, first_ms=run.first_ms)
            self._journal.put(f"answer {name}", kept)
        return kept

    def record(self, name: str, prompt: KnownPrompt, answer: Answer) -> Record:
        """What both models say of an answer."""
        kept = self._journal.get(f"record {name}", _RECORD)
        if kept is None or kept.highest_id >= len(self.engines["large"].vocabulary):
            kept = record(self.engines, self.runner.encode(prompt), answer.tokens)
            self._journal.put(f"record {name}", kept)
        return kept

    def trial(self, point: Point, index: int, prompt: KnownPrompt, *, stage: str = "run") -> Trial:
        """A point on a prompt."""
        name = f"{stage} {index} {point.label}"
        kept = self._journal.get(name, _RUN)
        if kept is None:
            kept = self.runner.run(point, prompt)
            self._journal.put(name, kept)
        return kept

    def has(self, point: Point, index: int) -> bool:
        """Whether the trial of a point on a prompt to fit on is measured."""
        return f"run {index} {point.label}" in self._journal

    def knows(self, index: int, points: Iterable[Point], metric: Metric) -> bool:
        """Whether all is measured that the proof asks of a held-out prompt."""
        own = self._journal.get(f"answer held out {index}", _ANSWER)
        if own is None:
            return False
        if metric == "answer" and not own.right:
            return True
        return all(f"held out {index} {point.label}" in self._journal for point in points)

    def held_out_loss(
        self, own: Answer, run: Trial, prompt: KnownPrompt, index: int, point: Point
    ) -> float | None:
        """As `loss`, which the worker that ran it may have measured."""
        name = f"loss held out {index} {point.label}"
        if run.worker and name in self._journal:
            kept = self._journal.get(name, _LOSS)
            if kept is not None:
                return kept
        return self.loss(own, run, prompt)

    def loss(self, own: Answer, run: Trial, prompt: KnownPrompt) -> float | None:
        """By how much the run is worse than the large model's own answer; see `loss_of`."""
        large = self.engines["large"]
        return loss_of(self._metric, own, run, large, self.runner.encode(prompt))


def _line(name: str, item: bytes) -> str:
    return f"[{msgspec.json.encode(name).decode()}, {item.decode()}]\n"


def _load(path: Path, key: str) -> dict[str, bytes]:
    """The items of an earlier calibration with that key."""
    items: dict[str, bytes] = {}
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}
        with path.open("rb") as file:
            if file.readline().rstrip() != _line("key", msgspec.json.encode(key)).rstrip().encode():
                return {}
            for line in file:
                try:
                    name, item = _LINE.read(line)
                except ValueError:
                    continue
                items[name] = bytes(item)
    except OSError:
        return {}
    return items
