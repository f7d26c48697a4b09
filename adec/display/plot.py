"""Quality against speed or time: one plot, drawn with characters or as SVG.

`bench`, its page, `calibrate` and `inspect` all draw their chart with `Plot`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from adec.display.sanitise import one_line

ROWS = 12
"""Height of the plot in characters, without its axis."""
WIDTH, HEIGHT = 760, 400
"""Size of the SVG in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 24, 20, 52
"""Margins of the SVG in pixels."""
_GUTTER = 9
"""Columns of the vertical axis with its labels."""
_NARROWEST = 20
_LEAST_SPAN = 0.02
_FRONT, _BEHIND, _LINE = "#07a", "#999", "#999"


@dataclass(frozen=True)
class PlotPoint:
    """One measured point. Points on the front, which no other one beats, stand out."""

    x: float
    """Speed or time, in the unit that the plot's `x_title` names; 0 or more."""
    y: float
    """Quality as a share, 0 to 1."""
    label: str
    """Its name beside the point."""
    mark: str
    """The one character that stands for it."""
    front: bool = False
    spread: float = 0.0
    """Half the width of the error bar, in units of x. The SVG alone draws it."""
    about: str = ""
    """What a browser shows under the mouse; the label if empty."""


@dataclass(frozen=True)
class Plot:
    """Points in the plane of x (from 0) and quality (a share, up is good)."""

    x_title: str
    y_title: str
    points: Sequence[PlotPoint]
    line: float | None = None
    """A quality to mark with a horizontal line, such as a budget."""
    line_label: str = ""

    def text(self, width: int, *, unicode: bool = True) -> list[str]:
        """The plot in lines of at most `width` characters; none without points or room."""
        columns = width - _GUTTER
        if not self.points or columns < _NARROWEST:
            return []
        low, high = self._span()
        end = self._end()
        rows = [[" "] * columns for _ in range(ROWS)]
        if self.line is not None:
            rows[_cell(high - self.line, high - low, ROWS)] = ["·" if unicode else "."] * columns
        taken: set[tuple[int, int]] = set()
        for point in sorted(self.points, key=lambda p: not p.front):
            y = _cell(high - point.y, high - low, ROWS)
            x = _free(taken, y, _cell(point.x, end, columns), columns)
            taken.add((y, x))
            rows[y][x] = point.mark
        side, corner, floor = ("┤", "└", "─") if unicode else ("|", "+", "-")
        lines = [one_line(self.y_title)[:width]]
        for number, row in enumerate(rows):
            value = high - (high - low) * number / (ROWS - 1)
            shown = number % 4 == 0 or number == ROWS - 1
            label = f"{100 * value:.1f} %" if shown else ""
            lines.append(f"{label:>{_GUTTER - 1}}{side}{''.join(row)}".rstrip())
        lines.append(" " * (_GUTTER - 1) + corner + floor * columns)
        half = columns // 2
        scale = f"0{f'{end / 2:.3g}':>{half - 1}}{f'{end:.3g}':>{columns - half}}"
        lines.append(" " * _GUTTER + scale)
        title = one_line(self.x_title)[:columns]
        lines.append((" " * _GUTTER + title.center(columns)).rstrip())
        return lines

    def legend(self) -> str:
        """Every mark with its label, once: `p plain  e ead`."""
        names = dict.fromkeys((point.mark.lower(), one_line(point.label)) for point in self.points)
        return "  ".join(f"{mark} {label}" for mark, label in names)

    def svg(self, background: str | None = None) -> str:
        """The plot as an SVG element that loads nothing.

        Text and axes take the page's colour; a file of its own wants a `background`.
        """
        low, high = self._span()
        end = self._end()
        right, floor = WIDTH - _RIGHT, HEIGHT - _BOTTOM

        def across(x: float) -> float:
            return round(_LEFT + (right - _LEFT) * max(0.0, x) / end, 1)

        def up(y: float) -> float:
            return round(floor - (floor - _TOP) * (y - low) / (high - low), 1)

        def words(x: float, y: float, text: str, more: str = 'text-anchor="middle"') -> str:
            return f'<text x="{x:g}" y="{y:g}" {more}>{_escaped(text)}</text>'

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" role="img" font-family="sans-serif" font-size="12" '
            f'fill="currentColor">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{background or "none"}"/>',
            f'<path d="M{_LEFT} {_TOP}V{floor}H{right}" fill="none" stroke="currentColor"/>',
            words((_LEFT + right) / 2, HEIGHT - 12, self.x_title),
            words(
                14, HEIGHT / 2, self.y_title,
                f'text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2:g})"',
            ),
        ]  # fmt: skip
        for quarter in range(5):
            x, y = end * quarter / 4, low + (high - low) * quarter / 4
            parts.append(words(across(x), floor + 18, f"{x:.3g}"))
            parts.append(words(_LEFT - 6, up(y) + 4, f"{100 * y:.1f} %", 'text-anchor="end"'))
        if self.line is not None:
            y = up(self.line)
            parts.append(
                f'<path d="M{_LEFT} {y:g}H{right}" stroke="{_LINE}" stroke-dasharray="3 3"/>'
            )
            parts.append(words(right, y - 4, self.line_label, 'text-anchor="end"'))
        front = sorted((p for p in self.points if p.front), key=lambda p: p.x)
        path = " ".join(f"{across(p.x):g},{up(p.y):g}" for p in front)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{_FRONT}"/>')
        for point in self.points:
            x, y = across(point.x), up(point.y)
            colour = _FRONT if point.front else _BEHIND
            if point.spread:
                bar = (
                    f"M{across(point.x - point.spread):g} {y:g}H{across(point.x + point.spread):g}"
                )
                parts.append(f'<path d="{bar}" stroke="{colour}"/>')
            about = _escaped(point.about or point.label)
            parts.append(
                f'<circle cx="{x:g}" cy="{y:g}" r="5" fill="{colour}">'
                f"<title>{about}</title></circle>"
            )
            # a label near the right edge goes to the left of its point
            left = x > _LEFT + 0.75 * (right - _LEFT)
            place = x - 8 if left else x + 8
            parts.append(
                words(place, y - 6, point.label, f'text-anchor="{"end" if left else "start"}"')
            )
        return "\n".join([*parts, "</svg>", ""])

    def _span(self) -> tuple[float, float]:
        """Ends of the vertical axis: what the points and the line need, with some air."""
        values = [point.y for point in self.points]
        if self.line is not None:
            values.append(self.line)
        low, high = min(values, default=0.0), max(values, default=1.0)
        air = max(0.05 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
        low, high = max(0.0, low - air), min(1.0, high + air)
        return (low, high) if high > low else (low, low + 1.0)

    def _end(self) -> float:
        """The right end of the horizontal axis, which begins at 0."""
        return 1.05 * max((point.x for point in self.points), default=0.0) or 1.0


def letters(names: Iterable[str]) -> dict[str, str]:
    """A small letter for each name: the first of its own that is still free, else any, else "?"."""
    given: dict[str, str] = {}
    for name in names:
        if name not in given:
            wanted = [*name.lower(), *"abcdefghijklmnopqrstuvwxyz"]
            free = (c for c in wanted if c.isascii() and c.isalpha() and c not in given.values())
            given[name] = next(free, "?")
    return given


def _escaped(text: str) -> str:
    """Text for XML, which two characters may not be part of in any spelling."""
    return escape(one_line(text).replace("\ufffe", "?").replace("\uffff", "?"))


def _cell(value: float, whole: float, cells: int) -> int:
    return max(0, min(cells - 1, round(value / whole * (cells - 1))))


def _free(taken: set[tuple[int, int]], y: int, x: int, columns: int) -> int:
    """The free column nearest to x in row y: points in one place stand side by side."""
    nearest = sorted(range(columns), key=lambda column: (abs(column - x), column))
    return next((column for column in nearest if (y, column) not in taken), x)
