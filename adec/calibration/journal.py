"""What a calibration has measured so far, one JSON line an item, so that an interrupted one goes on where it stopped.

The first line is the key: what the items depend on. Another key, and the journal begins anew. A line that was cut off in
the middle, or that is not what it should be, is measured again.

Answers and runs that are measured once: what is in the journal is not measured again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from adec.calibration.prompts import Prompt
from adec.calibration.recording import Answer, Record, answer_from, record, record_from, to_data
from adec.calibration.trial import Interrupted, Metric, Point, Run, Runner, loss_of, run_from
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


T = TypeVar("T")

PLAIN = Point("plain")


class Measurements:
    """A runner with a memory on the disk. Every method raises KeyboardInterrupt after Ctrl-C, and EngineError."""

    def __init__(self, runner: Runner, journal: Journal, metric: Metric) -> None:
        self.runner = runner
        self.engines = runner.engines
        self._journal = journal
        self._metric = metric

    def answer(self, name: str, prompt: Prompt) -> Answer:
        """The large model's own answer."""
        kept = self.kept(f"answer {name}", answer_from)
        if kept is None:
            run = self._run(PLAIN, prompt)
            kept = Answer(run.tokens, run.text, run.ms, run.right)
            self.keep(f"answer {name}", to_data(kept))
        return kept

    def record(self, name: str, prompt: Prompt, answer: Answer) -> Record:
        """Both models' opinion of an answer."""
        kept = self.kept(f"record {name}", self._record_from)
        if kept is None:
            kept = record(self.engines, self.runner.encode(prompt), answer.tokens)
            self.keep(f"record {name}", to_data(kept))
        return kept

    def trial(self, point: Point, index: int, prompt: Prompt, *, stage: str = "run") -> Run:
        """A point on a prompt."""
        name = f"{stage} {index} {point.label}"
        kept = self.kept(name, run_from)
        if kept is None:
            kept = self._run(point, prompt)
            self.keep(name, dataclasses.asdict(kept))
        return kept

    def loss(self, own: Answer, run: Run, prompt: Prompt) -> float | None:
        """What the run falls short of the large model's own answer; None where the metric says nothing of the prompt."""
        engine = self.engines["large"]
        return loss_of(self._metric, own, run, engine, self.runner.encode(prompt))

    def keep(self, name: str, data: Any) -> None:
        """Put plain data into the journal."""
        self._journal.put(name, data)

    def kept(self, name: str, read: Callable[[Any], T]) -> T | None:
        """An item of the journal; None when there is none, or it cannot be read."""
        data = self._journal.get(name)
        if data is None:
            return None
        try:
            return read(data)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, UsageError):
            self._journal.forget(name)
            return None

    def _record_from(self, data: Any) -> Record:
        found = record_from(data)
        if max(found.large_ids.max(), found.small_ids.max()) >= len(
            self.engines["large"].vocabulary
        ):
            raise ValueError("a token that the vocabulary does not have")
        return found

    def _run(self, point: Point, prompt: Prompt) -> Run:
        try:
            return self.runner.run(point, prompt)
        except Interrupted:
            raise KeyboardInterrupt from None
