"""Where the figures of a bench go: the terminal, and files that are written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from adec.benchmark.bench_report import BenchReport
from adec.benchmark.samples import SamplesFile
from adec.display import ColourWish
from adec.errors import AdecError, UsageError
from adec.whole_file import whole_file

LEAST_COLUMNS = 20
"""Columns that the figures are fitted to on a terminal that is narrower still."""


@dataclass(frozen=True)
class Outputs:
    """The places that a person named."""

    json: str | None
    csv: str | None
    html: Path | None
    colour: ColourWish = "auto"

    def check(self) -> None:
        """Raise UsageError for what cannot be written, before anything runs."""
        if self.json == self.csv == "-":
            raise UsageError("--json and --csv cannot both go to standard output")
        for word in (self.json, self.csv, self.html):
            if word is None or str(word) == "-":
                continue
            path = Path(word)
            if path.is_dir() or not path.parent.is_dir():
                what = "is a folder" if path.is_dir() else "lies in no folder that exists"
                raise UsageError(f"{path} cannot be written: it {what}")

    def write(self, report: BenchReport, samples: SamplesFile) -> None:
        """All of them; the table goes to standard output unless JSON or CSV does."""
        from adec.benchmark.json_csv import write_csv, write_json

        if self.json is not None:
            _deliver(self.json, lambda stream: write_json(report, samples.results(), stream))
        if self.csv is not None:
            _deliver(self.csv, lambda stream: write_csv(report, stream))
        if self.html is not None:
            from adec.benchmark.html_report import write_page

            _deliver(str(self.html), lambda stream: write_page(report, samples.results(), stream))
        if "-" not in (self.json, self.csv):
            self._table(report)

    def _table(self, report: BenchReport) -> None:
        from adec.benchmark.text_report import show
        from adec.display.display_choice import colour_wanted, is_terminal
        from adec.display.screen.terminal import size_of
        from adec.display.streams import knows_unicode

        out = sys.stdout
        width = max(LEAST_COLUMNS, size_of(out)[0]) if is_terminal(out) else 100
        show(
            report, out, width=width, unicode=knows_unicode(out),
            colour=colour_wanted(self.colour, out, os.environ),
        )  # fmt: skip


def share_cores(jobs: int) -> int | None:
    """Threads a process, when several share the machine; None leaves it to the engine."""
    if jobs == 1:
        return None
    return max(1, (os.cpu_count() or 1) // jobs)


def _deliver(word: str, write: Callable[[TextIO], None]) -> None:
    """To standard output, or to a file by way of a new one beside it."""
    if word == "-":
        write(sys.stdout)
        sys.stdout.flush()
        return
    path = Path(word)
    try:
        with whole_file(path) as stream:
            write(stream)
    except OSError as error:
        raise AdecError(f"{path} cannot be written: {error.strerror}") from error
