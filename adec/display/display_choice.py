"""Chooses the displays of a run, once, from flags, streams and environment."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from adec.display import ColourWish, Display, Several
from adec.display.status import StatusLine
from adec.display.streams import JsonDisplay, JsonLinesDisplay, PlainDisplay, knows_unicode
from adec.display.summary_line import CutNotice, SummaryDisplay
from adec.display.trace_file import TraceWriter
from adec.errors import UsageError


@dataclass(frozen=True, slots=True)
class DisplayFlags:
    """The flags that decide what is shown."""

    plain: bool = False
    json: bool = False
    jsonl: bool = False
    sanitize: bool = False
    quiet: bool = False
    colour: ColourWish = "auto"
    trace: Path | None = None


def choose_display(
    flags: DisplayFlags,
    *,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
) -> Display:
    """The displays of one run, as one. Raises UsageError for flags that exclude each other.

    - stdout: JSON if asked for, else live on a terminal that can show it, else plain text;
    - stderr: a status line if only stdout goes to a file, closing lines unless both are
      redirected, and then a line for an answer that was cut off; nothing with `--quiet`. What reads
      a pipe may write to the same terminal (`tee`, `cat`), and a status line would erase its text;
    - the trace comes first, so that it has an event even if the reader of stdout has gone.
    """
    stdout, stderr = stdout or sys.stdout, stderr or sys.stderr
    environment = os.environ if environment is None else environment
    if flags.json + flags.jsonl + flags.plain > 1:
        raise UsageError("--plain, --json and --jsonl exclude each other")
    displays: list[Display] = []
    if flags.trace is not None:
        displays.append(TraceWriter(flags.trace))
    out, err = is_terminal(stdout), is_terminal(stderr)
    smart = environment.get("TERM", "") not in ("dumb", "unknown", "")
    machine = flags.json or flags.jsonl
    if flags.jsonl:
        displays.append(JsonLinesDisplay(stdout))
    elif flags.json:
        displays.append(JsonDisplay(stdout))
    elif out and smart and not flags.plain and knows_unicode(stdout):
        # rich is imported only where something is drawn
        from adec.display.screen.live import LiveDisplay

        colour = colour_wanted(flags.colour, stdout, environment)
        displays.append(LiveDisplay(stdout, colour=colour))
    else:
        displays.append(PlainDisplay(stdout, terminal=out, sanitized=flags.sanitize))
    if not flags.quiet:
        if err and smart and not out and not _is_pipe(stdout):
            displays.append(StatusLine(stderr))
        if (out or err) and not machine:
            displays.append(SummaryDisplay(stderr))
        elif not machine:
            displays.append(CutNotice(stderr))
    return Several(*displays)


def colour_wanted(wish: ColourWish, stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether `stream` gets colours, by the flag, NO_COLOR, FORCE_COLOR, or else a terminal."""
    if wish != "auto":
        return wish == "always"
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and environment.get("TERM", "") not in ("dumb", "unknown")


def _is_pipe(stream: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # closed, or no file at all
        return False


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal; a closed one is not."""
    try:
        return stream.isatty()
    except ValueError:
        return False
