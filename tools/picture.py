"""The picture of the README: draws a trace as the live display shows it.

    python -m tools.picture run.jsonl adec/display/live.svg

Measures nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adec.cli.failures import exit_code_of, leave
from adec.display.screen.svg import svg_of
from adec.errors import UsageError
from adec.events.codec import read_trace


def main(arguments: list[str]) -> None:
    """Write the picture of a trace."""
    if len(arguments) != 2:
        raise UsageError("two files are needed", hint="python -m tools.picture run.jsonl live.svg")
    Path(arguments[1]).write_text(svg_of(read_trace(Path(arguments[0]))), encoding="utf-8")


if __name__ == "__main__":
    leave(exit_code_of(lambda: main(sys.argv[1:])))
