"""What a person reads at the end: the front as a chart, one table, one sentence."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from adec.calibration.result import PAYS, Result
from adec.calibration.trials.measured import Measured, front
from adec.display.plot import Plot, PlotPoint, letters

HEAD = (
    "strategy and settings", "tok/s", "±", "forecast", "off", "of plain",
    "kept", "±", "written", "read", "",
)  # fmt: skip
LEGEND = (
    "tok/s: with its standard error. forecast: as records and forward times predict it; off: by "
    "how much that was wrong. of plain: speed over plain's on the same prompts. kept: quality, "
    "with its standard error. written, read: tokens that the large model wrote, and was fed, per "
    "token of the answers."
)
NARROW = (9, 8, 7, 2, 4, 3, 5)
"""Columns of the table that a narrow window does without, the first of these first."""
WIDEST = 100
"""Columns of the chart at most."""


def plot(result: Result) -> Plot:
    """Quality over tokens per second: a letter a strategy, capitals on the front, a line at the
    budget."""
    edge = front(result.measured)
    marks = letters(m.point.strategy for m in result.measured)
    points = [
        PlotPoint(
            m.tokens_per_second,
            m.quality,
            m.point.strategy,
            marks[m.point.strategy].upper() if m in edge else marks[m.point.strategy],
            front=m in edge,
            spread=m.spread,
            about=m.point.label,
        )
        for m in result.measured
    ]
    title = f"{result.metric} kept"
    return Plot("tokens per second", title, points, result.keep, f"keep {result.keep:g}")


def chart(result: Result, columns: int) -> str:
    """The plot as text, with its legend."""
    drawn = plot(result)
    explained = f"{drawn.legend()}  (capital: on the front; ···: the budget)"
    return "\n".join([*drawn.text(max(40, min(columns, WIDEST))), explained])


def table(result: Result, columns: int | None = None) -> str:
    """One row a point: speed as forecast and as measured, what is kept, what the large model did.

    Where rows are wider than `columns`, each point's name has a line of its own, and what still
    does not fit is left out.
    """
    rows = [HEAD, *(_row(result, m) for m in sorted(result.measured, key=_by_speed))]
    lines = _lines(rows)
    if columns is not None and max(map(len, lines)) > columns:
        shown = list(range(1, len(HEAD) - 1))
        while len(shown) > 2 and max(map(len, _lines(_pick(rows, shown)))) > columns:
            shown.remove(next(i for i in NARROW if i in shown))
        figures = _lines(_pick(rows, shown))
        lines = figures[:1]
        for row, line in zip(rows[1:], figures[1:], strict=True):
            lines += [f"{row[0]}  {row[-1]}".rstrip(), line]
    width = max(map(len, lines)) if columns is None else min(columns, max(map(len, lines)))
    lines.insert(1, "─" * width)
    return "\n".join(lines)


def price_table(result: Result) -> str:
    """What an answer of each point bought of the server."""
    server = result.server
    assert server is not None
    head = (
        "bought for an answer",
        "requests",
        "read",
        "written",
        *(["cost"] if server.prices else []),
        "",
    )
    rows: list[tuple[str, ...]] = [head]
    for m in sorted(result.measured, key=_by_speed):
        if m.bought is None:
            continue
        requests, read, written = m.bought
        cost = server.cost(m)
        money = () if server.prices is None else (f"{cost or 0:.2g} {server.prices.currency}",)
        rows.append((m.point.label, f"{requests:.1f}", f"{read:.0f}", f"{written:.1f}", *money, ""))
    return "\n".join(_lines(rows))


def legend(columns: int) -> str:
    """What the columns of the table mean."""
    return textwrap.fill(LEGEND, max(40, min(columns, WIDEST)))


def _by_speed(measured: Measured) -> float:
    return measured.ms_per_token


def _row(result: Result, m: Measured) -> tuple[str, ...]:
    beside = result.plain_beside(m)
    return (
        m.point.label,
        f"{m.tokens_per_second:.1f}",
        f"{m.spread:.1f}",
        f"{1000 / m.forecast_ms:.1f}" if m.forecast_ms else "",
        "" if m.off is None else f"{100 * m.off:+.0f} %",
        f"{m.tokens_per_second / beside:.2f}" if beside else "",
        "exact" if m.exact else f"{100 * m.quality:.1f} %",
        "" if m.exact else f"{100 * m.quality_spread:.1f}",
        f"{100 * m.large_share:.0f} %",
        f"{100 * m.large_fed:.0f} %",
        _note(result, m),
    )


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
        return (
            f"Take {within.point.strategy}: {_times(within, plain)} as fast as plain, and "
            f"{_proof(result)}. `adec run --pair {name}` does; "
            f"`--keep 1` runs {_name(exact)} instead, which is exact."
        )
    if result.scattered:
        start = (
            f"Times are too scattered to choose by; take {_name(exact)}, which is exact, "
            "and calibrate again on a quiet machine"
        )
    elif exact is plain:
        start = "Take plain: nothing that is exact pays here"
        draft, unsure = result.tables.get("small"), _unsure(result)
        if unsure is not None:
            start = f"Take plain: {unsure}"
        elif draft is not None:
            ms = draft.curve(result.agreement.context).ms(1)
            limit = max(0.0, result.agreement.break_even_ms)
            start += (
                " (even drafts that cost nothing would not)"
                if limit == 0
                else f" (a draft takes {ms:.3g} ms and would have to take less than {limit:.3g} ms)"
                if limit < ms
                else f" (drafts at {ms:.3g} ms would, but for the time that drafting itself takes)"
            )
    else:
        start = f"Take {_name(exact)}: exact, and {_times(exact, plain)} as fast as plain"
    return f"{start}. {_budget_state(result, kept)}`adec run --pair {name}` obeys this profile."


def _unsure(result: Result) -> str | None:
    """Why an exact strategy that looks faster than plain is not taken; None if none does."""
    plain = result.plain
    exact = [m for m in result.measured if m.exact and m is not plain and m.tokens_per_second > 0]
    ratios = [(m.tokens_per_second / (result.plain_beside(m) or math.inf), m) for m in exact]
    ratio, best = max(ratios, key=lambda pair: pair[0], default=(0.0, plain))
    if ratio <= PAYS:
        return None
    looks = f"{_name(best)} ran {ratio:.2f} times as fast"
    longest = max(len(m.runs) for m in exact)
    if len(best.runs) < longest:
        return f"{looks}, but on {len(best.runs)} prompts only, and was given up as no winner"
    return (
        f"{looks}, but these speeds are uncertain by {best.spread:.1f} and {plain.spread:.1f} "
        "tok/s, so that it may be chance; a longer --time-limit tells more"
    )


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
        f"{100 * result.keep:g} % of the {result.metric} is proved to be kept with "
        f"{100 * result.confidence:g} % confidence on {len(test.losses)} held-out prompts"
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
        return (
            f"Not proved: {name} keeps only {100 * (1 - test.mean):.1f} % "
            f"of the {kept} that you ask for. "
        )
    return (
        f"Not proved: that {name} keeps {kept} would take some {test.more_prompts:,} prompts more "
        f"(it kept {100 * (1 - test.mean):.1f} % on {len(test.losses)}). "
    )


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
