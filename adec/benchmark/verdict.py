"""Is it worth it here? One sentence a row, and what would change it."""

from __future__ import annotations

from dataclasses import replace
from math import comb

from adec.benchmark.bench_report import BenchReport, RowReport
from adec.benchmark.columns import points
from adec.benchmark.samples import PLAIN
from adec.benchmark.statistics import FEWEST, NORMAL, Interval, Share
from adec.benchmark.totals import Totals
from adec.display.wording import count

SLIGHT = 1.05
"""A speedup below this is not worth a second model in memory."""
TOLERABLE = 0.05
"""An approximate strategy is worth it only when a greater loss of accuracy is ruled out."""


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
        return (
            "broken: it promises plain's tokens and gave others "
            f"in {row.unlike} of {row.answers} answers"
        )
    ratio = row.ratio
    if report.mixed:
        return _on_workers(row)
    if ratio is None:
        return "not comparable: no answer of plain stands beside it"
    if ratio.low is None or ratio.high is None:
        return f"too few prompts to tell: {FEWEST} at least give an interval"
    speed = _speed(ratio)
    if row.header.kind == "peer":
        return _peer(row, ratio.low, report, speed)
    if row.gain is not None and row.gain.interval[0] > 0:
        return f"more often right{_gained(row)}; {speed}"
    if row.header.searches and ratio.low < 1:
        return f"it gains nothing that can be told from chance{_gained(row)}; {speed}"
    if ratio.high < 1:
        return f"not worth it here: {speed}. {_what_would_change(row, totals)}".strip()
    if ratio.low <= 1:
        bounds = f"{ratio.low:.2f} to {ratio.high:.2f} times plain"
        return f"no clear difference in speed ({bounds}): more prompts would tell"
    if row.header.guarantee == "exact":
        worth = "hardly worth it here" if ratio.middle < SLIGHT else "worth it"
        return f"{worth}: {speed}, the same tokens"
    return _approximate(row, plain, speed) + _exact_rival(ratio, report)


def _on_workers(row: RowReport) -> str:
    """On how many of several machines it pays: there is no speed of all of them."""
    ratios = [times.ratio for times in row.by_worker.values() if times.ratio is not None]
    known = [(r.low, r.high) for r in ratios if r.low is not None and r.high is not None]
    faster = sum(low > 1 for low, _ in known)
    slower = sum(high < 1 for _, high in known)
    unclear = len(row.by_worker) - faster - slower
    parts = [
        f"{words} on {count(number, 'worker')}"
        for words, number in (
            ("faster than plain", faster), ("slower", slower), ("no clear difference", unclear),
        )
        if number
    ]  # fmt: skip
    quality = ""
    if row.same is not None:
        alike = row.same.part == row.same.count
        quality = ", the same tokens" if alike else f", {_unlike(row.same)}"
    return f"{', '.join(parts)}{quality}"


def _speed(ratio: Interval) -> str:
    bounds = f" ({ratio.low:.2f} to {ratio.high:.2f})"
    if ratio.middle >= 1:
        return f"{ratio.middle:.2f} times as fast as plain{bounds}"
    return f"{100 * (1 - ratio.middle):.0f} % slower than plain{bounds}"


def _gained(row: RowReport) -> str:
    """Its accuracy against plain's, where it is known, and the tokens fed for it."""
    if row.gain is None:
        return ""
    fed = "" if row.fed is None else f" for {row.fed:.2f}x the tokens fed"
    return f", {points(row.gain)} points against plain{fed}"


def _peer(row: RowReport, ratio_low: float, report: BenchReport, speed: str) -> str:
    """How fast a peer is, whether its tokens are plain's, and whether it beats adec."""
    words = speed
    alike = row.same is not None and row.same.part == row.same.count
    if row.same is not None:
        words += ", the same tokens" if alike else f", {_unlike(row.same)}"
    exact = _best_exact(report)
    if exact is None or exact.ratio is None:
        words += "; no exact strategy of adec gains anything here"
    elif ratio_low > (exact.ratio.high or 0.0):
        words += f"; faster than {exact.name}, adec's best exact one here"
    return words if alike else words + _gained(row)


def _approximate(row: RowReport, plain: RowReport, speed: str) -> str:
    """A row that is faster than plain and promises nothing: what it costs in quality."""
    if row.accuracy is None or plain.accuracy is None:
        if row.same is None:
            return f"{speed}; its quality is not known"
        only = "whether these are worse only tasks with answers tell"
        return f"{speed}, {_unlike(row.same)}; {only}"
    count = row.accuracy.count
    changed = f"{row.lost} of {count} lost and {row.won} won against plain"
    if _worse(row.lost, row.won):
        return (
            f"{speed}, but {changed}: not worth it here unless such errors are cheap. "
            "A lower threshold, or accept=exact, would change that"
        )
    # nothing lost is no proof: the upper bound says what may have gone unseen
    unseen = 100 * _loss_bound(row.lost, row.won, count)
    if unseen > 100 * TOLERABLE:
        open_loss = f"a loss of {unseen:.0f} % is not ruled out, more prompts would tell"
        return f"fast but unproven: {speed}, {changed}; {open_loss}"
    return f"worth it: {speed}, {changed}; a loss above {unseen:.1f} % is ruled out"


def _unlike(same: Share) -> str:
    return f"with other tokens than plain in {same.count - same.part} of {same.count} answers"


def _exact_rival(ratio: Interval, report: BenchReport) -> str:
    """The exact strategy that is no slower, if there is one."""
    exact = _best_exact(report)
    if exact is None or exact.ratio is None:
        return ""
    if exact.ratio.middle >= ratio.middle or exact.ratio.overlaps(ratio):
        return f"; {exact.name} is as fast and exact: take that"
    return ""


def _best_exact(report: BenchReport) -> RowReport | None:
    """The fastest exact row that is surely faster than plain."""
    rows = [
        row
        for row in report.rows
        if row.header.guarantee == "exact" and row.ratio is not None and not row.unlike
        and row.name != PLAIN and row.ratio.low is not None and row.ratio.low > 1
    ]  # fmt: skip
    return max(rows, key=lambda row: row.ratio.middle if row.ratio else 0.0, default=None)


def _worse(lost: int, won: int) -> bool:
    """One-sided sign test at 5 % on the prompts that only one of the two got right."""
    differing = lost + won
    tail = sum(comb(differing, k) for k in range(lost, differing + 1))
    return bool(lost > won and 20 * tail < 2**differing)


def _loss_bound(lost: int, won: int, count: int) -> float:
    """Upper 95 % bound of the accuracy lost on paired answers.

    The greater one of Wald's bound, and Wilson's bound for the losses minus the wins seen.
    """
    net = (lost - won) / count
    spread = max(0.0, (lost + won - (lost - won) ** 2 / count)) ** 0.5 / count
    wilson = Share(lost, count).interval[1] - won / count
    return float(max(net + NORMAL * spread, wilson))


def _what_would_change(row: RowReport, totals: Totals) -> str:
    """Where the time went that plain does not spend, and how far off the break-even is."""
    sums, plain = totals.rows[row.name], totals.rows[PLAIN]
    if not sums.detailed_tokens or not plain.detailed_tokens:
        return ""
    spent = sums.detailed_seconds
    allowed = sums.detailed_tokens * plain.detailed_seconds / plain.detailed_tokens
    overhead = max(0.0, spent - sums.forward_ms / 1000)
    draft = sums.draft_ms / 1000
    reasons = []
    if row.per_forward is not None and spent > allowed > 0 and row.per_forward > 1.001:
        reasons.append(
            f"it would pay at {row.per_forward * spent / allowed:.1f} tokens per forward of the "
            f"large model instead of {row.per_forward:.1f}"
        )
    if draft > 0 and spent - draft >= allowed:
        reasons.append("even a draft that costs nothing would not make it pay")
    elif draft > 0:
        share = 100 * (allowed - spent + draft) / draft
        reasons.append(
            f"{'or if' if reasons else 'it would pay if'} "
            f"a draft cost {share:.0f} % of what it does"
        )
    if overhead > 0.3 * spent:
        reasons.append(
            f"{100 * overhead / spent:.0f} % of its time is not spent in a model, "
            "which a larger model would make small"
        )
    text = "; ".join(reasons)
    return f"{text[0].upper()}{text[1:]}." if text else ""
