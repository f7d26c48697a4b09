"""What displays say in the same words: guarantees, shares, time saved or lost."""

from __future__ import annotations

from adec.events.records import Guarantee

SEPARATOR = " · "


def promise(guarantee: str) -> str:
    """A guarantee's name with its promise."""
    try:
        return f"{guarantee}: {Guarantee(guarantee).promise}"
    except ValueError:
        return guarantee


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def saved(seconds: float, *, roughly: bool = False) -> str:
    """Time saved, or lost where negative."""
    about = "about " if roughly else ""
    return f"{'saved' if seconds >= 0 else 'lost'} {about}{abs(seconds):.1f} s"


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def times_plain(ratio: float) -> str:
    """A speed as a multiple of the large model's alone."""
    return f"{ratio:.2f} times plain"
