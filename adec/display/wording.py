"""Guarantees, shares, times and sizes in the words that every output uses."""

from __future__ import annotations

import math

from adec.events.records import Guarantee

SEPARATOR = " · "


def promise(guarantee: str) -> str:
    """A guarantee's name and promise."""
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


def threads_changed(model: str, before: int, after: int, reason: str) -> str:
    """A change of the number of threads; `model` is said where there are several."""
    whose = f"{model}: " if model else ""
    return f"{whose}threads {before} -> {after}: {reason}"


def times_plain(ratio: float) -> str:
    """A speed as a multiple of the large model's alone."""
    return f"{ratio:.2f} times plain"


def size(count: int) -> str:
    """Bytes with a unit: 999 B, 1.5 KB, 12 MB (powers of 1000, as disks and model pages count)."""
    return _scaled(count, ("B", "KB", "MB", "GB", "TB", "PB"), " ")


def short(count: int) -> str:
    """A count with a letter: 400 K, 4.3 M, 7.1 B."""
    return _scaled(count, ("", "K", "M", "B", "T", "Q"), " ").rstrip()


def many(count: int) -> str:
    """A count with its thousands apart."""
    return f"{count:,}"


def number(value: float | None, digits: int = 2) -> str:
    """A measured number; a dash where there is none. Odd ones stay short."""
    if value is None:
        return "-"
    if not math.isfinite(value) or abs(value) >= 1e9:
        return f"{value:.3g}"
    return f"{value:,.{digits}f}"


def share(part: float) -> str:
    """A share, 0 to 1, in percent with as many digits as it needs."""
    if not math.isfinite(part):
        return "?"
    return f"{100 * part:.0f} %" if part >= 0.1 or part == 0 else f"{100 * part:.1f} %"


def milliseconds(ms: float) -> str:
    """A time with the unit that suits it."""
    if not math.isfinite(ms):
        return f"{ms} ms"
    if abs(ms) < 1000:
        return f"{ms:.1f} ms"
    return f"{number(ms / 1000)} s"


def _scaled(count: int, units: tuple[str, ...], gap: str) -> str:
    value, unit = float(min(abs(count), 10**18)), 0
    while value >= 999.5 and unit < len(units) - 1:
        value, unit = value / 1000, unit + 1
    sign = "-" if count < 0 else ""
    digits = 0 if unit == 0 or value >= 99.95 else 1
    return f"{sign}{value:.{digits}f}{gap}{units[unit]}"


def value_text(value: object, longest: int = 200) -> str:
    """The value of a setting or a TOML key as one would write it, cut short if long."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        shown = ", ".join(value_text(item) for item in value[:16])
        return f"{shown}, … ({many(len(value))} in all)" if len(value) > 16 else shown
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest]} …"
