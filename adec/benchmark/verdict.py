"""Is it worth it here? One sentence a row, and what would change it."""

from __future__ import annotations

from dataclasses import replace
from math import comb

from adec.benchmark.bench_report import BenchReport, RowReport
from adec.benchmark.formats import multiple, points
from adec.benchmark.samples import PLAIN
from adec.benchmark.statistics import FEWEST, NORMAL, Interval, Share
from adec.benchmark.totals import Totals

SLIGHT = 1.05
"""A gain below this is not worth a second model in memory."""
TOLERABLE = 0.05
"""A loss of accuracy up to this may go unseen before an approximate strategy is called worth it."""


def with_verdicts(report: BenchReport, totals: Totals) -> BenchReport:
    """The same report, with a verdict in every row."""
    rows = tuple(
        replace(row, verdict=f"{_verdict(row, report, totals).removesuffix('.')}.")
        for row in report.rows
    )
    return replace(report, rows=rows)


def _verdict(row: RowReport, report: BenchReport, totals: Totals) -> str:
    plain = report.plain
    if row.answers == 0:
        return f"no answer: {row.error}" if row.error else "not run"
    if row.name == PLAIN or plain is None:
        return "the yardstick: the large model alone"
    if row.unlike:
        return f"broken: it promises plain's tokens and gave others in {row.unlike} of {row.answers} answers"
    if row.ratio is None:
        return "not comparable: no answer of plain stands beside it"
    if row.ratio.low is None or row.ratio.high is None:
        return f"too few prompts to tell: {FEWEST} at least give an interval"
    speed = _speed(row.ratio)
    if row.header.kind == "peer":
        alike = row.same is not None and row.same.part == row.same.count
        return _peer(row, report, speed) + ("" if alike else _gained(row))
    if row.gain is not None and row.gain.interval[0] > 0:
        return f"more often right{_gained(row)}; {speed}"
    if row.header.searches and row.ratio.low < 1:
        return f"it gains nothing that can be told from chance{_gained(row)}; {speed}"
    if row.ratio.high < 1:
        return f"not worth it here: {speed}. {_what_would_change(row, totals)}".strip()
    if row.ratio.low <= 1:
        return f"no clear difference in speed ({row.ratio.low:.2f} to {row.ratio.high:.2f} times plain): more prompts would tell"
    if row.header.guarantee == "exact":
        if row.ratio.middle < SLIGHT:
            return f"hardly worth it here: {speed}, the same tokens"
        return f"worth it: {speed}, the same tokens"
    return _approximate(row, plain, report, speed)


def _gained(row: RowReport) -> str:
    """What its accuracy is against plain's, where the answers can be right or wrong, and what was fed for it."""
    if row.gain is None:
        return ""
    fed = "" if row.fed is None else f" for {multiple(row.fed)} the tokens fed"
    return f", {points(row.gain)} points against plain{fed}"


def _speed(ratio: Interval) -> str:
    bounds = f" ({ratio.low:.2f} to {ratio.high:.2f})"
    if ratio.middle >= 1:
        return f"{ratio.middle:.2f} times as fast as plain{bounds}"
    return f"{100 * (1 - ratio.middle):.0f} % slower than plain{bounds}"


def _peer(row: RowReport, report: BenchReport, speed: str) -> str:
    """A peer is no advice of ours: how fast it is, whether its tokens are plain's, and whether it beats us."""
    words = speed
    if row.same is not None:
        words += (
            ", the same tokens"
            if row.same.part == row.same.count
            else f", with other tokens than plain in {row.same.count - row.same.part} of {row.same.count} answers"
        )
    exact = _best_exact(report)
    if row.ratio is not None and row.ratio.low is not None:
        if exact is None:
            words += "; no exact strategy of adec gains anything here"
        elif exact.ratio is not None and row.ratio.low > (exact.ratio.high or 0.0):
            words += f"; faster than {exact.name}, adec's best exact one here"
    return words


def _approximate(row: RowReport, plain: RowReport, report: BenchReport, speed: str) -> str:
    exact = _best_exact(report)
    rival = ""
    if (
        exact is not None
        and exact.ratio is not None
        and row.ratio is not None
        and (exact.ratio.middle >= row.ratio.middle or exact.ratio.overlaps(row.ratio))
    ):
        rival = f"; {exact.name} is as fast and exact: take that"
    if row.accuracy is None or plain.accuracy is None:
        if row.same is None:
            return f"{speed}; its quality is not known"
        return (
            f"{speed}, with other tokens than plain in {row.same.count - row.same.part} of {row.same.count} answers; "
            f"whether these are worse only tasks with answers tell{rival}"
        )
    both = row.accuracy.count
    changed = f"{row.lost} of {both} lost and {row.won} won against plain"
    if _worse(row.lost, row.won):
        return (
            f"{speed}, but {changed}: not worth it here unless such errors are cheap. A lower threshold, or "
            f"accept=exact, would change that{rival}"
        )
    # nothing lost is no proof: the upper bound says what may have gone unseen
    unseen = _loss_bound(row.lost, row.won, both)
    if unseen > TOLERABLE:
        return f"fast but unproven: {speed}, {changed}; a loss of {100 * unseen:.0f} % is not ruled out, more prompts would tell{rival}"
    return f"worth it: {speed}, {changed}; a loss above {100 * unseen:.1f} % is ruled out{rival}"


def _worse(lost: int, won: int) -> bool:
    """Sign test: this many losses among the prompts that differ would come by chance in less than 1 of 20 cases."""
    differing = lost + won
    tail = sum(comb(differing, k) for k in range(lost, differing + 1))
    return bool(lost > won and 20 * tail < 2**differing)


def _loss_bound(lost: int, won: int, count: int) -> float:
    """Upper 95 % bound of the accuracy lost, of paired answers; never below Wilson's for the losses less the wins seen."""
    net = (lost - won) / count
    spread = max(0.0, (lost + won - (lost - won) ** 2 / count)) ** 0.5 / count
    wilson = Share(lost, count).interval[1] - won / count
    return float(max(net + NORMAL * spread, wilson))


def _best_exact(report: BenchReport) -> RowReport | None:
    rows = [
        row
        for row in report.rows
        if row.header.guarantee == "exact" and row.ratio is not None and not row.unlike
        and row.name != PLAIN and row.ratio.low is not None and row.ratio.low > 1
    ]  # fmt: skip
    return max(rows, key=lambda row: row.ratio.middle if row.ratio else 0.0, default=None)


def _what_would_change(row: RowReport, totals: Totals) -> str:
    """Where the time went that plain does not spend, and how far off the break-even is."""
    sums, plain = totals.rows[row.name], totals.rows[PLAIN]
    if not sums.detailed_tokens or not plain.detailed_tokens:
        return ""
    allowed = sums.detailed_tokens * plain.detailed_seconds / plain.detailed_tokens
    spent = sums.detailed_seconds
    overhead = max(0.0, spent - sums.forward_ms / 1000)
    draft = sums.draft_ms / 1000
    reasons = []
    if row.per_forward is not None and spent > allowed > 0 and row.per_forward > 1.001:
        needed = row.per_forward * spent / allowed
        reasons.append(
            f"it would pay at {needed:.1f} tokens per forward of the large model instead of {row.per_forward:.1f}"
        )
    if draft > 0:
        reasons.append(_cheaper(draft, spent, allowed))
    if overhead > 0.3 * spent:
        reasons.append(
            f"{100 * overhead / spent:.0f} % of its time is not spent in a model, which a larger model would make small"
        )
    return "; ".join(_capital(reasons)) + "." if reasons else ""


def _cheaper(draft: float, spent: float, allowed: float) -> str:
    rest = spent - draft
    if rest >= allowed:
        return "even a draft that costs nothing would not make it pay"
    return f"or if a draft cost {100 * (allowed - rest) / draft:.0f} % of what it does"


def _capital(reasons: list[str]) -> list[str]:
    first = reasons[0].removeprefix("or ")
    return [first[0].upper() + first[1:], *reasons[1:]]
