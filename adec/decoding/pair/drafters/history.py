"""Answers of earlier runs, kept with consent: a question repeated is drafted from the first answer.

There is one file a vocabulary, of token ids alone: little-endian int32, each answer closed by -1.
It is the user's own (mode 600) and is read as hostile: reading is bounded, and ends at an id
outside the vocabulary.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

KEPT = 60_000
"""How many of the latest tokens are read: indexing them takes a quarter of a second."""
FILE_TOKENS = 4 * KEPT
"""Length in tokens at which the file is cut to the latest KEPT."""

_SEPARATOR = -1


class History:
    """The answers in one file. Nothing is written unless `add` is called."""

    def __init__(self, path: Path, vocabulary: int) -> None:
        self._path = path
        self._vocabulary = vocabulary

    def texts(self) -> list[list[int]]:
        """Earlier answers, oldest first; none when there is no file or it cannot be read."""
        texts: list[list[int]] = [[]]
        for token in self._read():
            if token == _SEPARATOR:
                texts.append([])
            else:
                texts[-1].append(token)
        return [text for text in texts if text]

    def add(self, text: Sequence[int]) -> None:
        """Append an answer, unless the file cannot be written: history is a convenience."""
        if not text:
            return
        record = np.array([*text, _SEPARATOR], dtype="<i4").tobytes()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab") as file:
                file.write(record)
                size = file.tell()
            if size > 4 * FILE_TOKENS:
                latest = np.array([*self._read()], dtype="<i4").tobytes()
                fresh = self._path.with_suffix(".new")
                handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(latest)
                fresh.replace(self._path)
        except OSError:
            return

    def _read(self) -> list[int]:
        """The latest KEPT entries, as far as they are valid."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = max(0, size // 4 - KEPT)
                file.seek(4 * start)
                data = file.read(4 * KEPT)
        except OSError:
            return []
        tokens = np.frombuffer(data[: len(data) // 4 * 4], dtype="<i4")
        wrong = np.flatnonzero((tokens < _SEPARATOR) | (tokens >= self._vocabulary))
        if wrong.shape[0]:
            tokens = tokens[: wrong[0]]
        return list(map(int, tokens))
