"""Traces for tests: written to files, looked at through the command."""

from __future__ import annotations

import contextlib
import io
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from adec.cli.app import app
from adec.cli.failures import exit_code_of
from adec.events.codec import encode_line
from adec.events.records import Event
from tests.cli.command import Outcome


def write_trace(path: Path, events: Iterable[Event]) -> Path:
    """A file with these events; they need not make sense."""
    path.write_text("".join(encode_line(event) + "\n" for event in events))
    return path


def look(*arguments: object) -> Outcome:
    """`adec inspect ...` within this process, as often as hypothesis wants."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        words = ["inspect", *(str(a) for a in arguments)]
        code = exit_code_of(lambda: app(words, standalone_mode=False))
    return Outcome(code, out.getvalue(), err.getvalue())


def visible(text: str) -> bool:
    """Whether nothing in a text acts on a terminal but newlines."""
    unseen = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return not any(c != "\n" and unicodedata.category(c) in unseen for c in text)
