"""Sums up prompts one at a time, in memory that does not grow with their number.

Counts and sums cover every prompt. Medians need the values themselves: of more than `KEPT` prompts
a random subset stands for all. It holds the same prompts for every row, chosen by a hash of their
index (bottom-k sampling), so that order, resumption and several processes do not change it.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import msgspec
import numpy as np

from adec.benchmark.samples import PLAIN, BenchAnswer, Difference, PromptResult, RowHeader
from adec.benchmark.statistics import Values

KEPT = 2000
"""Prompts whose values are kept for medians."""
GROUPS = 64
"""Groups and kinds of tasks that are counted apart; more are lumped together."""
SHOWN = 5
"""Differences that are kept, of each row."""


@dataclass
class Counted:
    """Right among judged, and likewise for the answers equal to plain's."""

    judged: int = 0
    right: int = 0
    compared: int = 0
    same: int = 0


@dataclass
class RowTotals:
    """Sums of one row."""

    header: RowHeader
    answers: int = 0
    cut: int = 0
    """Answers that ended at --max-tokens."""
    detailed: int = 0
    """Answers whose steps are known; the sums below are of these."""
    detailed_tokens: int = 0
    detailed_seconds: float = 0.0
    large_tokens: int = 0
    large_fed: int = 0
    large_forwards: int = 0
    written: int = 0
    """Tokens that these forwards wrote: all but one a prompt that a forward of its own read."""
    counted_forwards: int = 0
    """Answers whose forwards are known."""
    prompts_read: int = 0
    """Of them, those whose prompt took a forward: not on a canvas, which holds it."""
    work: int = 0
    forward_ms: float = 0.0
    draft_ms: float = 0.0
    pauses: int = 0
    pause_ms: float = 0.0
    pause_own_ms: float = 0.0
    counted: Counted = field(default_factory=Counted)
    groups: dict[str, Counted] = field(default_factory=dict)
    leading: int = 0
    leading_of: int = 0
    """Tokens of plain's answers, of which `leading` were matched from the start on."""
    won: int = 0
    lost: int = 0
    """Prompts that only this row, or only plain, got right."""
    both: int = 0
    """Prompts on which both were judged."""
    fed: int = 0
    fed_of: int = 0
    """Tokens fed while decoding, and plain's on the same prompts."""
    paired_seconds: float = 0.0
    paired_seconds_of: float = 0.0
    """Wall time, and plain's on the same prompts."""
    peak_bytes: int = 0
    errors: int = 0
    error: str = ""
    unlike: int = 0
    """Answers of an exact row that are not plain's."""
    differences: list[tuple[int, Difference]] = field(default_factory=list)
    ties: int = 0
    """Differences that the measured rounding noise or --tie-gap explains."""


@dataclass
class WorkerTotals:
    """What one worker did. Times are compared within a worker only."""

    name: str
    machine: str
    prompts: int = 0


@dataclass
class _Values:
    """Of one prompt, by row: (ms a token, speed against plain, seconds to the first token)."""

    worker: str
    index: int
    group: str
    rows: dict[str, tuple[float, float, float]]


class Totals:
    """`add` every prompt once, in any order."""

    def __init__(
        self,
        rows: Sequence[RowHeader],
        seed: int,
        tie_gap: float = 0.0,
        *,
        strict: bool = False,
    ) -> None:
        """`tie_gap`: logits this close are ties. `strict`: nothing is a tie."""
        self.rows = {row.name: RowTotals(row) for row in rows}
        self.workers: dict[str, WorkerTotals] = {}
        """Who answered; the empty name stands for this machine."""
        self.prompts = 0
        self.remarked = 0
        """Prompts that went without a model, or a part of the canvas."""
        self.remark = ""
        """What was said of the first of them."""
        self._seed = seed
        self._tie_gap = tie_gap
        self._strict = strict
        # a heap of (-priority, index, values): the largest priority is the first to go
        self._kept: list[tuple[int, int, _Values]] = []

    def add(self, result: PromptResult) -> None:
        """Take in one prompt with the answers of all rows."""
        self.prompts += 1
        worker = self._worker(result)
        worker.prompts += 1
        said = [answer.remark for answer in result.answers if answer.remark]
        if said:
            self.remarked += 1
            self.remark = self.remark or said[0]
        plain = {a.run: a for a in result.answers if a.row == PLAIN and a.error is None}
        by_row: dict[str, list[BenchAnswer]] = {}
        for answer in result.answers:
            row = self.rows.get(answer.row)
            if row is None:
                continue
            if answer.error is not None:
                row.errors += 1
                row.error = row.error or answer.error
                continue
            by_row.setdefault(answer.row, []).append(answer)
            self._sum(row, answer, result)
            if answer.run == 0:
                self._quality(row, answer, plain.get(0), result)
        self._keep(result, by_row, plain, worker.name)

    @property
    def mixed(self) -> bool:
        """Whether several machines answered, so that no figure of time can stand for all."""
        return len(self.workers) > 1

    def values(self, name: str, worker: str | None = None) -> tuple[Values, Values, Values]:
        """(ms a token, speed against plain, seconds to the first token) of the kept prompts.

        Each is in the order of the prompts, without those where it is unknown. `worker`: of the
        prompts that it answered; None: of all, which are then one machine's.
        """
        kept = sorted(
            (e[2] for e in self._kept if worker is None or e[2].worker == worker),
            key=lambda values: values.index,
        )
        table = np.array([v.rows[name] for v in kept if name in v.rows], dtype=np.float64).reshape(
            -1, 3
        )
        return tuple(column[~np.isnan(column)] for column in table.T)  # type: ignore[return-value]

    def ratios_by_group(self, name: str) -> dict[str, Values]:
        """Speed against plain of the kept prompts, by group and kind, where it is known."""
        found: dict[str, list[tuple[int, float]]] = {}
        for _, index, values in self._kept:
            ratio = values.rows[name][1] if name in values.rows else float("nan")
            if not np.isnan(ratio):
                found.setdefault(values.group, []).append((index, ratio))
        return {g: np.array([r for _, r in sorted(pairs)]) for g, pairs in sorted(found.items())}

    def _worker(self, result: PromptResult) -> WorkerTotals:
        name = result.worker
        known = self.workers.get(name)
        if known is not None and known.machine != result.machine:
            name = f"{name} ({result.machine})"  # a resumed bench may find another one of that name
        return self.workers.setdefault(name, WorkerTotals(name, result.machine))

    @property
    def kept(self) -> int:
        """Prompts that medians are taken of."""
        return len(self._kept)

    def _sum(self, row: RowTotals, answer: BenchAnswer, result: PromptResult) -> None:
        if answer.guarantee and not row.header.guarantee:
            row.header = msgspec.structs.replace(row.header, guarantee=answer.guarantee)
        row.answers += 1
        row.cut += answer.finish == "length"
        row.peak_bytes = max(row.peak_bytes, answer.peak_bytes or 0)
        if answer.large_forwards is not None:
            first = bool(answer.prompt_fed_work)
            row.large_forwards += answer.large_forwards
            row.written += answer.tokens - first
            row.counted_forwards += 1
            row.prompts_read += first
        if answer.forward_ms is not None:
            row.detailed += 1
            row.detailed_tokens += answer.tokens
            row.detailed_seconds += answer.seconds
            row.large_tokens += answer.large_tokens or 0
            row.large_fed += answer.large_fed or 0
            row.work += (answer.fed_work or 0) + (answer.prompt_fed_work or 0)
            row.forward_ms += answer.forward_ms
            row.draft_ms += answer.draft_ms or 0.0
            row.pauses += answer.pauses or 0
            row.pause_ms += answer.pause_ms or 0.0
            row.pause_own_ms += answer.pause_own_ms or 0.0
        difference = answer.difference
        if difference is None:
            return
        near = difference.gap is not None and abs(difference.gap) <= self._tie_gap
        if not self._strict and (near or difference.is_rounding):
            row.ties += 1
            return
        row.unlike += 1
        if len(row.differences) < SHOWN:
            row.differences.append((result.index, difference))

    def _quality(
        self, row: RowTotals, answer: BenchAnswer, plain: BenchAnswer | None, result: PromptResult
    ) -> None:
        # repetitions of a prompt are no further evidence on quality, so the first run alone counts
        name = _group_name(result)
        if name not in row.groups and len(row.groups) >= GROUPS:
            name = "others"
        for counted in (row.counted, row.groups.setdefault(name, Counted())):
            if answer.right is not None:
                counted.judged += 1
                counted.right += answer.right
            if answer.same is not None:
                counted.compared += 1
                counted.same += answer.same
        if plain is None:
            return
        if answer.leading is not None:
            row.leading += answer.leading
            row.leading_of += plain.tokens
        if answer.fed is not None and plain.fed is not None:
            row.fed += answer.fed
            row.fed_of += plain.fed
        row.paired_seconds += answer.seconds
        row.paired_seconds_of += plain.seconds
        if answer.right is not None and plain.right is not None:
            row.both += 1
            row.won += answer.right and not plain.right
            row.lost += plain.right and not answer.right

    def _keep(
        self,
        result: PromptResult,
        by_row: dict[str, list[BenchAnswer]],
        plain: dict[int, BenchAnswer],
        worker: str,
    ) -> None:
        index = result.index
        digest = hashlib.blake2s(f"{self._seed} {index}".encode(), digest_size=8).digest()
        priority = -int.from_bytes(digest, "big")
        if len(self._kept) >= KEPT and priority <= self._kept[0][0]:
            return
        values = {name: _medians(answers, plain) for name, answers in by_row.items()}
        entry = priority, index, _Values(worker, index, _group_name(result), values)
        if len(self._kept) < KEPT:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heapreplace(self._kept, entry)


def _group_name(result: PromptResult) -> str:
    return f"{result.group}: {result.kind}" if result.kind else result.group


def _medians(
    answers: list[BenchAnswer], plain: dict[int, BenchAnswer]
) -> tuple[float, float, float]:
    """Over the runs of one prompt; not a number where nothing is known."""
    times = [ms for a in answers if (ms := a.ms_per_token) is not None]
    pairs = [
        yardstick / ms
        for a in answers
        if a.run in plain
        and (ms := a.ms_per_token) is not None
        and (yardstick := plain[a.run].ms_per_token) is not None
    ]
    firsts = [a.first_seconds for a in answers if a.first_seconds is not None]
    return tuple(median(part) if part else float("nan") for part in (times, pairs, firsts))  # type: ignore[return-value]
