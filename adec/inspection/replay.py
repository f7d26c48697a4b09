"""A trace played back through the displays of `adec run`, each step after the time that it took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from adec.display import Display
from adec.events.records import Event, Step

LONGEST_SECONDS = 60.0
"""A step takes no longer than that in a replay, whatever a trace says."""


def replay(
    events: Iterable[Event],
    display: Display,
    speed: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show every event, `speed` times as fast as it happened. Raises what the reader and the display raise."""
    with display:
        for event in events:
            if isinstance(event, Step):
                wait = seconds(event) / speed
                if wait > 0:
                    sleep(wait)
            display.show(event)


def seconds(step: Step) -> float:
    """How long a step took: its forwards and its own time, within reason."""
    took = (step.ms() + step.own_ms) / 1000
    return min(max(0.0, took), LONGEST_SECONDS) if not math.isnan(took) else 0.0
