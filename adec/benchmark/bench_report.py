"""The figures of a bench, which all its outputs read: terminal, JSON, CSV and HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adec.benchmark.samples import PLAIN, Difference, RowHeader
from adec.benchmark.statistics import Gain, Interval, Share, median_interval
from adec.benchmark.totals import Counted, RowTotals, Totals, WorkerTotals


@dataclass(frozen=True)
class WorkerTimes:
    """The times of one row on one worker, medians over the prompts that it answered."""

    speed: Interval | None
    ratio: Interval | None
    first_ms: Interval | None


@dataclass(frozen=True)
class RowReport:
    """One line of the table. None stands for what is unknown, since a peer does not tell all.

    Where several machines answered, times are in `by_worker` alone: no figure mixes them.
    """

    header: RowHeader
    answers: int
    speed: Interval | None
    """Committed tokens per second of wall time, from the question to the last token; median over
    prompts."""
    ratio: Interval | None
    """Speed as a multiple of plain's on the same prompt; median over prompts."""
    first_ms: Interval | None
    """Wall time to the first token."""
    per_forward: float | None
    """Tokens per forward of the large model while decoding, without those that a prompt gave."""
    forwards: float | None
    """Forwards for an answer in the mean, where a model has no others: a diffusion model's."""
    wrote: float | None
    """Share of the tokens that the large model wrote."""
    read: float | None
    """Tokens fed to the large model while decoding, per token after the first."""
    work: float | None
    """Parameters times tokens fed, prompts included, per token, as a multiple of plain's."""
    overhead: float | None
    """Share of the wall time outside forwards."""
    accuracy: Share | None
    same: Share | None
    """Answers whose tokens are all plain's."""
    leading: float | None
    """Tokens before the first difference, as a share of plain's tokens over all prompts."""
    peak_bytes: int | None
    gain: Gain | None
    """Accuracy minus plain's on the same prompts."""
    fed: float | None
    """Tokens fed while decoding, as a multiple of plain's on the same prompts."""
    time: float | None
    """Wall time as a multiple of plain's on the same prompts."""
    won: int
    lost: int
    unlike: int
    """Answers of an exact row that are not plain's, and not by rounding either."""
    ties: int
    """Answers that differ, but by no more than rounding moves the logits."""
    errors: int
    error: str
    differences: tuple[tuple[int, Difference], ...]
    groups: dict[str, Counted] = field(default_factory=dict)
    ratios: dict[str, Interval] = field(default_factory=dict)
    """Speed as a multiple of plain's, by group and kind of tasks; medians over prompts."""
    by_worker: dict[str, WorkerTimes] = field(default_factory=dict)
    """Empty unless workers elsewhere answered."""
    verdict: str = ""

    @property
    def name(self) -> str:
        return self.header.name


@dataclass(frozen=True)
class BenchReport:
    """All of it, as far as it was run."""

    about: dict[str, Any]
    """The samples file's header: models, task, settings, machine."""
    rows: tuple[RowReport, ...]
    done: int
    planned: int
    kept: int
    remarks: tuple[str, ...] = ()
    workers: tuple[WorkerTotals, ...] = ()
    """Those on other machines, and this one where it had a part; empty where all was done here."""

    @property
    def mixed(self) -> bool:
        """Whether several machines answered."""
        return len(self.workers) > 1

    @property
    def plain(self) -> RowReport | None:
        """The yardstick."""
        return next((row for row in self.rows if row.name == PLAIN), None)

    @property
    def unlike(self) -> int:
        """Answers of exact rows that are not plain's; `--check` fails where there are any."""
        return sum(row.unlike for row in self.rows)

    @property
    def ties(self) -> int:
        """Answers of exact rows that differ from plain's within the measured noise."""
        return sum(row.ties for row in self.rows)


def make_rows(totals: Totals, seed: int) -> tuple[RowReport, ...]:
    """The rows, verdicts still empty."""
    plain = totals.rows.get(PLAIN)
    return tuple(_row(row, plain, totals, seed) for row in totals.rows.values())


def workers_of(totals: Totals) -> tuple[WorkerTotals, ...]:
    """By name; none where this machine did all."""
    found = sorted(totals.workers.values(), key=lambda worker: worker.name)
    return tuple(found) if any(worker.name for worker in found) else ()


def _row(row: RowTotals, plain: RowTotals | None, totals: Totals, seed: int) -> RowReport:
    by_worker = {
        worker.name: _times(totals, row.header.name, seed, worker.name)
        for worker in workers_of(totals)
    }
    alone = not totals.mixed
    all_of_it = _times(totals, row.header.name, seed) if alone else WorkerTimes(None, None, None)
    later = row.detailed_tokens - row.detailed
    return RowReport(
        header=row.header,
        answers=row.answers,
        speed=all_of_it.speed,
        ratio=all_of_it.ratio,
        first_ms=all_of_it.first_ms,
        per_forward=row.written / row.large_forwards if row.large_forwards else None,
        forwards=row.large_forwards / row.counted_forwards
        if row.counted_forwards and not row.prompts_read
        else None,
        wrote=row.large_tokens / row.detailed_tokens if row.detailed_tokens else None,
        read=row.large_fed / later if later > 0 else None,
        work=_work(row, plain),
        overhead=max(0.0, 1 - row.forward_ms / (1000 * row.detailed_seconds))
        if row.detailed_seconds and alone
        else None,
        accuracy=_share(row.counted.right, row.counted.judged),
        same=_share(row.counted.same, row.counted.compared),
        leading=row.leading / row.leading_of if row.leading_of else None,
        peak_bytes=row.peak_bytes or None,
        gain=Gain(row.won, row.lost, row.both) if row.both else None,
        fed=row.fed / row.fed_of if row.fed_of else None,
        time=row.paired_seconds / row.paired_seconds_of
        if row.paired_seconds_of and alone
        else None,
        won=row.won,
        lost=row.lost,
        unlike=row.unlike,
        ties=row.ties,
        errors=row.errors,
        error=row.error,
        differences=tuple(row.differences),
        groups=row.groups,
        ratios=_by_group(totals, row.header.name, seed) if alone else {},
        by_worker=by_worker,
    )


def _times(totals: Totals, name: str, seed: int, worker: str | None = None) -> WorkerTimes:
    times, ratios, firsts = totals.values(name, worker)
    return WorkerTimes(
        median_interval(1000 / times, seed),
        median_interval(ratios, seed),
        median_interval(1000 * firsts, seed),
    )


def _by_group(totals: Totals, name: str, seed: int) -> dict[str, Interval]:
    found = {g: median_interval(v, seed) for g, v in totals.ratios_by_group(name).items()}
    return {group: interval for group, interval in found.items() if interval is not None}


def _work(row: RowTotals, plain: RowTotals | None) -> float | None:
    if plain is None or not plain.work or not row.detailed_tokens:
        return None
    return (row.work / row.detailed_tokens) / (plain.work / plain.detailed_tokens)


def _share(part: int, count: int) -> Share | None:
    return Share(part, count) if count else None
