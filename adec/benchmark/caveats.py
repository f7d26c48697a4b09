"""What a reader must know before believing the table: outliers, a busy machine, drift, failures."""

from __future__ import annotations

import numpy as np

from adec.benchmark.bench_report import RowReport
from adec.benchmark.columns import worker_name
from adec.benchmark.samples import PLAIN
from adec.benchmark.statistics import FEWEST, outliers
from adec.benchmark.totals import KEPT, Totals
from adec.display.wording import count

BUSY = 0.5
"""Load per core, of other programs, from which the machine counts as busy."""
SLOW_FIRST = 2.0
"""Time a token of the first prompt, in medians of the others, from which it counts as slow."""
CUT = 0.05
"""Share of answers cut off at --max-tokens that is worth a word."""
TOLD = 0.002
"""By how much figures must lie on both sides of plain to be worth a word."""
DRIFT = 0.15
"""Change of plain's speed from the first third to the last that is worth a word."""


def caveats(
    totals: Totals,
    rows: tuple[RowReport, ...],
    *,
    load_before: float | None = None,
    resumed: int = 0,
    jobs: int = 1,
    unjudged: int = 0,
) -> list[str]:
    """Sentences without their full stop, most important first."""
    found: list[str] = []
    if load_before is not None and load_before > BUSY:
        found.append(
            f"the machine was busy before the bench began (load {load_before:.1f} per core): "
            "close other programs for better figures"
        )
    if jobs > 1:
        found.append(
            f"{jobs} processes shared the machine: speeds are lower than alone; "
            "ratios compare like with like"
        )
    found += [
        f"{row.name} failed on {count(row.errors, 'answer')}, the first time so: {row.error}"
        for row in rows
        if row.errors
    ]
    if totals.remarked:
        found.append(
            f"{count(totals.remarked, 'prompt')} had less than was asked for, the first one so: "
            f"{totals.remark}"
        )
    found += _crossings(rows)
    for worker in totals.workers:
        where = f" on {worker_name(worker)}" if totals.mixed else ""
        found += [line for name in totals.rows for line in _outliers(name, totals, worker, where)]
        found += _drift(totals, worker, where)
    plain = totals.rows.get(PLAIN)
    if plain is not None and plain.cut > CUT * plain.answers:
        found.append(
            f"plain was cut off at --max-tokens in {plain.cut} of {plain.answers} answers: "
            "with more, accuracy may differ"
        )
    for name, sums in totals.rows.items():
        if sums.ties:
            found.append(
                f"{name}: {count(sums.ties, 'difference')} from plain where the best logits were "
                "closer than rounding moves them (as measured, or --tie-gap): taken as ties"
            )
        if sums.pauses and sums.pause_ms > 0:
            each = (sums.pause_ms + sums.pause_own_ms) / sums.pauses
            part = 100 * sums.pause_own_ms / sums.pause_ms
            found.append(
                f"{name}: {count(sums.pauses, 'pause')} of {each:.1f} ms on average; "
                f"adec's own work in them is {part:.1f} % of their forwards"
            )
    if totals.kept < totals.prompts:
        found.append(
            f"medians and intervals are of {KEPT:,} of the {totals.prompts:,} prompts, "
            "drawn at random; counts and shares are of all"
        )
    if resumed:
        found.append(
            f"{count(resumed, 'prompt')} were run by an earlier, stopped bench, "
            "perhaps under another load"
        )
    if unjudged:
        found.append(
            f"{count(unjudged, 'prompt')} ask for code or are judged by a command, "
            "which only --allow-exec runs"
        )
    return found


def _crossings(rows: tuple[RowReport, ...]) -> list[str]:
    """Rows that are faster than plain by one figure and slower by the other."""
    plain = next((row.speed for row in rows if row.name == PLAIN), None)
    names = [
        row.name
        for row in rows
        if plain is not None and row.speed is not None and row.ratio is not None
        if min(row.speed.middle / plain.middle, row.ratio.middle) < 1 - TOLD
        if max(row.speed.middle / plain.middle, row.ratio.middle) > 1 + TOLD
    ]
    if not names:
        return []
    return [
        f"{', '.join(names)}: tok/s and speedup lie on different sides of plain. tok/s compares "
        "the middle prompts of two rows, which may be different ones; the speedup compares each "
        "prompt with itself, so go by that"
    ]


def _outliers(name: str, totals: Totals, worker: str, where: str) -> list[str]:
    times, _, _ = totals.values(name, worker)
    if times.shape[0] < 2 * FEWEST:
        return []
    found = []
    middle = float(np.median(times))
    strange = outliers(np.log(times))
    if totals.kept == totals.prompts and times[0] > SLOW_FIRST * middle:
        found.append(
            f"the first answer of {name}{where} took {times[0] / middle:.1f} times as long a token "
            "as the others, in spite of the warm-up"
        )
        strange = strange[strange != 0]
    slow = [i for i in strange if times[i] > middle]
    if slow:
        worst = max(times[i] for i in slow) / middle
        found.append(
            f"{name}{where}: {count(len(slow), 'prompt')} took up to {worst:.1f} times as long a "
            "token as the others; was another program at work?"
        )
    return found


def _drift(totals: Totals, worker: str, where: str) -> list[str]:
    if PLAIN not in totals.rows:
        return []
    times, _, _ = totals.values(PLAIN, worker)
    third = times.shape[0] // 3
    if third < FEWEST:
        return []
    change = float(np.median(times[-third:]) / np.median(times[:third])) - 1
    if abs(change) < DRIFT:
        return []
    how = f"{100 * change:.0f} % slower" if change > 0 else f"{-100 * change:.0f} % faster"
    return [
        f"plain was {how} a token{where} in the last third of the prompts than in the first: "
        "other prompts, heat, or other programs; the ratios are pair by pair"
    ]
