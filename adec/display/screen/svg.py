"""A trace as an SVG picture of the live display."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from adec.display.marks import mark_of
from adec.display.sanitise import sanitise
from adec.display.screen.panel import PanelState
from adec.errors import TraceError
from adec.events.records import Event, Start, Step

WIDTH = 92
"""Columns of the picture."""
MOST_CHARACTERS = 200_000
"""Longest text that is drawn."""


def svg_of(events: Iterable[Event], *, title: str = "adec run") -> str:
    """The answer with its sources marked, and the last panel, as SVG.

    Raises TraceError if the events do not begin with a start or the text is too long.
    """
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    state: PanelState | None = None
    text = Text()
    for event in events:
        if isinstance(event, Start):
            state = PanelState(event)
        elif isinstance(event, Step) and state is not None:
            state.add(event, 0.0)
            for token in event.tokens:
                text.append(sanitise(token.text), style=mark_of(token).style())
            if len(text) > MOST_CHARACTERS:
                raise TraceError(
                    f"a text of more than {MOST_CHARACTERS:,} characters is too long for a picture",
                    hint="adec inspect TRACE --html FILE takes more",
                )
    if state is None:
        raise TraceError("the trace does not begin with a start line")
    console.print(text)
    for row in state.rows(Console(force_terminal=True, color_system="truecolor"), WIDTH, 24):
        console.print(Text.from_ansi(row))
    # rich's picture fetches a font from the network; the reader's own monospace will do
    return re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title=title), flags=re.DOTALL)
