"""Time against quality, as a chart of characters: left is fast, up is good."""

from __future__ import annotations

from dataclasses import dataclass

from adec.benchmark.bench_report import BenchReport, RowReport
from adec.benchmark.formats import percent, short
from adec.display.sanitise import one_line

HEIGHT = 10
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Point:
    """A row in the plane of time and quality."""

    letter: str
    row: RowReport
    ms: float
    """Median wall milliseconds a token, prompt included."""
    quality: float
    """Share of right answers, or of answers equal to plain's where none can be judged."""
    front: bool
    """No other row is both faster and better."""


def points(report: BenchReport) -> list[Point]:
    """The rows of which both are known, in the table's order."""
    judged = any(row.accuracy is not None for row in report.rows)
    known = []
    for row in report.rows:
        quality = row.accuracy if judged else row.same
        if row.speed is not None and quality is not None and row.speed.middle > 0:
            known.append((row, 1000 / row.speed.middle, quality.value))
    return [
        Point(
            letter, row, ms, quality,
            not any(
                (m <= ms and q >= quality and (m < ms or q > quality)) for _, m, q in known
            ),
        )
        for letter, (row, ms, quality) in zip(LETTERS, known, strict=False)
    ]  # fmt: skip


def quality_name(report: BenchReport) -> str:
    """What the vertical axis is."""
    judged = any(row.accuracy is not None for row in report.rows)
    return "right answers" if judged else "answers equal to plain's"


def chart(report: BenchReport, width: int, *, unicode: bool) -> list[str]:
    """Lines of at most `width` characters; none when fewer than two rows have a place."""
    found = points(report)
    columns = width - 10
    if len(found) < 2 or columns < 20:
        return []
    low, high = min(p.quality for p in found), max(p.quality for p in found)
    if high - low < 0.1:
        low, high = max(0.0, low - 0.05), min(1.0, high + 0.05)
    slowest = max(p.ms for p in found)
    grid = [[" "] * columns for _ in range(HEIGHT)]
    for point in found:
        x = min(columns - 1, round(point.ms / slowest * (columns - 1)))
        y = round((high - point.quality) / (high - low) * (HEIGHT - 1))
        while grid[y][x] != " " and x < columns - 1:
            x += 1  # two in one place stand side by side
        grid[y][x] = point.letter
    side, floor, corner = ("│", "─", "└") if unicode else ("|", "-", "+")
    lines = [
        f"{quality_name(report)} against time a token (left is fast); * none is faster and better"
    ]
    for y, cells in enumerate(grid):
        label = percent(high) if y == 0 else percent(low) if y == HEIGHT - 1 else ""
        lines.append(f"{label:>7} {side}{''.join(cells)}".rstrip())
    lines.append(f"{'':>7} {corner}{floor * columns}")
    end = f"{short(slowest)} ms"
    lines.append(f"{'':>9}0 ms{end:>{columns - 4}}")
    lines += [
        f"{p.letter}{'*' if p.front else ' '} {one_line(p.row.name)}: {short(p.ms)} ms a token, {percent(p.quality)}"
        for p in found
    ]
    return lines
