"""What a person reads at the end: the front as a chart, one table, one sentence.

The front as files: SVG as it is, PNG by resvg, which an extra installs.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from adec.calibration.result import Result
from adec.calibration.trial import Measured, front
from adec.errors import AdecError, UsageError
from adec.whole_file import whole_file

HEIGHT = 12
LEFT = 9
"""Columns of the chart's axis."""
NARROW = (9, 8, 7, 2, 4, 3, 5)
"""Columns of the table that a narrow window does without, first come first."""
MARKS = {"plain": "p", "speculate": "s", "smartspec": "m", "dyspec": "d", "adaedl": "a", "ead": "e"}
OTHERS = {"cascade": "c", "lookup": "l", "recycling": "r", "bild": "b", "fly": "f"}


def mark_of(measured: Measured) -> str:
    """A letter for a strategy; capital on the front."""
    name = measured.point.strategy
    return {**MARKS, **OTHERS}.get(name, name[0])


def chart(result: Result, columns: int) -> str:
    """Quality over tokens per second as text: a letter a point, capitals on the front, a dotted line at the budget."""
    points = result.measured
    width = max(20, min(columns, 100) - LEFT - 1)
    xs = [m.tokens_per_second for m in points]
    lowest = min([*(m.quality for m in points), result.keep])
    low, high = max(0.0, lowest - 0.005), 1.0
    left, right = 0.0, 1.05 * max(xs)
    edge = front(points)
    rows = [[" "] * width for _ in range(HEIGHT)]
    budget = _place(result.keep, low, high, HEIGHT)
    rows[HEIGHT - 1 - budget] = ["·"] * width
    for measured in sorted(points, key=lambda m: m in edge):
        x = _place(measured.tokens_per_second, left, right, width)
        y = _place(measured.quality, low, high, HEIGHT)
        letter = mark_of(measured)
        rows[HEIGHT - 1 - y][x] = letter.upper() if measured in edge else letter
    lines = [f"{result.metric} kept".rjust(LEFT)]
    for number, row in enumerate(rows):
        value = high - (high - low) * number / (HEIGHT - 1)
        shown = f"{100 * value:6.1f} %" if number % 3 == 0 or number == HEIGHT - 1 else ""
        lines.append(f"{shown:>{LEFT - 1}}┤{''.join(row).rstrip()}")
    lines.append(" " * (LEFT - 1) + "└" + "─" * width)
    scale = f"0{right / 2:>{width // 2}.3g}{right:>{width - width // 2 - 1}.3g}"
    lines.append(" " * LEFT + scale)
    lines.append(" " * LEFT + "tokens per second".center(width).rstrip())
    names = dict.fromkeys((mark_of(m), m.point.strategy) for m in points)
    legend = "  ".join(f"{letter} {name}" for letter, name in names)
    lines.append(f"{legend}  (capital: on the front; ···: the budget)")
    return "\n".join(lines)


def table(result: Result, columns: int | None = None) -> str:
    """One row a point: speed as forecast and as measured, what is kept, what the large model did.

    Where rows are wider than `columns`, each point's name has a line of its own, and what still does not fit is left out.
    """
    head = (
        "strategy and settings",
        "tok/s",
        "±",
        "forecast",
        "off",
        "of plain",
        "kept",
        "±",
        "written",
        "read",
        "",
    )
    rows = [head]
    for m in sorted(result.measured, key=lambda m: -m.tokens_per_second):
        forecast = "" if not m.forecast_ms else f"{1000 / m.forecast_ms:.1f}"
        beside = result.plain_beside(m)
        rows.append(
            (
                m.point.label,
                f"{m.tokens_per_second:.1f}",
                f"{m.spread:.1f}",
                forecast,
                "" if m.off is None else f"{100 * m.off:+.0f} %",
                f"{m.tokens_per_second / beside:.2f}" if beside else "",
                "exact" if m.exact else f"{100 * m.quality:.1f} %",
                "" if m.exact else f"{100 * m.quality_spread:.1f}",
                f"{100 * m.large_share:.0f} %",
                f"{100 * m.large_fed:.0f} %",
                _note(result, m),
            )
        )
    lines = _lines(rows)
    if columns is not None and max(map(len, lines)) > columns:
        # names above their figures; the columns that matter least go first
        shown = [i for i in range(1, len(head) - 1)]
        while len(shown) > 2 and max(map(len, _lines(_pick(rows, shown)))) > columns:
            shown.remove(next(i for i in NARROW if i in shown))
        figures = _lines(_pick(rows, shown))
        lines = figures[:1]
        for row, line in zip(rows[1:], figures[1:], strict=True):
            lines += [f"{row[0]}  {row[-1]}".rstrip(), line]
    width = max(map(len, lines)) if columns is None else min(columns, max(map(len, lines)))
    lines.insert(1, "─" * width)
    return "\n".join(lines)


def _pick(rows: Sequence[Sequence[str]], shown: Sequence[int]) -> list[tuple[str, ...]]:
    return [("", *(row[i] for i in shown), "") for row in rows]


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns aligned, the first and last to the left."""
    last = len(rows[0]) - 1
    widths = [max(len(row[i]) for row in rows) for i in range(last + 1)]
    return [
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def sentence(result: Result, name: str) -> str:
    """The advice."""
    exact, plain, within = result.exact, result.plain, result.within_budget
    kept = f"{100 * result.keep:g} %"
    if within is not None:
        start = f"Take {within.point.strategy}: {_times(within, plain)} as fast as plain, and {_proof(result)}."
        return f"{start} `adec run --pair {name}` does; `--keep 1` runs {_name(exact)} instead, which is exact."
    if result.scattered:
        start = f"Times are too scattered to choose by; take {_name(exact)}, which is exact, and calibrate again on a quiet machine"
    elif exact is plain:
        start = "Take plain: nothing that is exact pays here"
        draft = result.tables.get("small")
        if draft is not None:
            ms = draft.curve(result.signals.context).ms(1)
            limit = max(0.0, result.signals.break_even_ms)
            start += (
                f" (a draft takes {ms:.3g} ms and would have to take less than {limit:.3g} ms)"
                if limit < ms
                else f" (drafts at {ms:.3g} ms would, but for the time that drafting itself takes)"
            )
    else:
        start = f"Take {_name(exact)}: exact, and {_times(exact, plain)} as fast as plain"
    return f"{start}. {_budget_state(result, kept)}`adec run --pair {name}` obeys this profile."


def svg(result: Result) -> str:
    """The same front as a picture."""
    width, height, left, bottom = 640, 400, 70, 50
    points = result.measured
    edge = front(points)
    most = 1.05 * max(m.tokens_per_second for m in points)
    low = max(0.0, min([*(m.quality for m in points), result.keep]) - 0.01)

    def x(speed: float) -> float:
        return left + (width - left - 20) * speed / most

    def y(quality: float) -> float:
        return height - bottom - (height - bottom - 20) * (quality - low) / (1.0 - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{left} 20V{height - bottom}H{width - 20}" fill="none" stroke="black"/>',
        f'<path d="M{left} {y(result.keep):.1f}H{width - 20}" stroke="#999" stroke-dasharray="3 3"/>',
        f'<text x="{width - 20}" y="{y(result.keep) - 4:.1f}" text-anchor="end" fill="#666">keep {result.keep:g}</text>',
        f'<text x="{(left + width) / 2:.0f}" y="{height - 10}" text-anchor="middle">tokens per second</text>',
        f'<text x="14" y="{height / 2:.0f}" transform="rotate(-90 14 {height / 2:.0f})" text-anchor="middle">{escape(result.metric)} kept, percent</text>',
    ]
    for i in range(5):
        speed, quality = most * i / 4, low + (1 - low) * i / 4
        parts.append(
            f'<text x="{x(speed):.1f}" y="{height - bottom + 16}" text-anchor="middle">{speed:.3g}</text>'
        )
        parts.append(
            f'<text x="{left - 6}" y="{y(quality) + 4:.1f}" text-anchor="end">{100 * quality:.1f}</text>'
        )
    line = " ".join(f"{x(m.tokens_per_second):.1f},{y(m.quality):.1f}" for m in edge)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#07a" stroke-width="1.5"/>')
    for m in points:
        here, there = x(m.tokens_per_second), y(m.quality)
        colour = "#07a" if m in edge else "#bbb"
        parts.append(
            f'<path d="M{x(max(0.0, m.tokens_per_second - m.spread)):.1f} {there:.1f}H{x(m.tokens_per_second + m.spread):.1f}" stroke="{colour}"/>'
            f'<circle cx="{here:.1f}" cy="{there:.1f}" r="4" fill="{colour}"><title>{escape(m.point.label)}</title></circle>'
            f'<text x="{here + 6:.1f}" y="{there - 5:.1f}">{escape(m.point.strategy)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _place(value: float, low: float, high: float, cells: int) -> int:
    share = (value - low) / (high - low) if high > low else 0.0
    return max(0, min(cells - 1, round(share * (cells - 1))))


def _times(measured: Measured, plain: Measured) -> str:
    return f"{measured.tokens_per_second / max(1e-9, plain.tokens_per_second):.2f} times"


def _name(exact: Measured) -> str:
    """A method that is exact by its settings only is named with them."""
    point = exact.point
    return point.label if "accept" in point.table() else point.strategy


def _proof(result: Result) -> str:
    test = result.proved
    assert test is not None
    return (
        f"{100 * result.keep:g} % of the {result.metric} is proved to be kept with {100 * result.confidence:g} % "
        f"confidence on {len(test.losses)} held-out prompts"
    )


def _budget_state(result: Result, kept: str) -> str:
    """What became of the budget, where no approximate strategy is recommended."""
    test = result.budget
    if test is None:
        return ""
    name = test.point.point.strategy
    if test.proved:
        return f"{name} is proved to keep {kept} but is not faster. "
    if test.more_prompts is None:
        return f"Not proved: {name} keeps only {100 * (1 - test.mean):.1f} % of the {kept} that you ask for. "
    seen = f"it kept {100 * (1 - test.mean):.1f} % on {len(test.losses)}"
    return f"Not proved: that {name} keeps {kept} would take some {test.more_prompts:,} prompts more ({seen}). "


def _note(result: Result, measured: Measured) -> str:
    notes = []
    if measured is result.recommended:
        notes.append("recommended")
    for tests in result.tests.values():
        for test in tests:
            if test.point is measured:
                notes.append("proved" if test.proved else "not proved")
    if measured.exact and measured.unlike:
        notes.append(f"{measured.unlike} answers differ by near ties")
    return ", ".join(notes)


ZOOM = 2
"""Pixels of a PNG for each unit of the SVG."""


def check_pictures(svg: Path | None, png: Path | None) -> None:
    """Raise UsageError when a picture could not be written: better before minutes of measuring than after."""
    if png is not None:
        _renderer()
    for path in (svg, png):
        if path is None:
            continue
        try:
            if path.is_dir():
                raise IsADirectoryError(21, "is a folder")
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"the picture {path} cannot be written: {reason}") from error


def write_pictures(text: str, svg: Path | None, png: Path | None) -> None:
    """Write an SVG's text to either or both, whole or not at all. Raises AdecError."""
    try:
        if svg is not None:
            with whole_file(svg) as file:
                file.write(text)
        if png is not None:
            data = bytes(_renderer().svg_to_bytes(svg_string=text, zoom=ZOOM))
            with whole_file(png) as file:
                file.buffer.write(data)
    except (OSError, ValueError) as error:
        raise AdecError(f"the picture cannot be written: {error}") from error


def _renderer() -> Any:
    try:
        return importlib.import_module("resvg_py")
    except ImportError:
        raise UsageError(
            "a PNG needs a renderer that is not installed",
            hint="install it with pip install 'adec[png]', or take --svg",
        ) from None
