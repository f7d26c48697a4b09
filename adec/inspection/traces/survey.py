"""A trace folded step by step into its figures, in memory that does not grow with its length."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args

from msgspec.structs import asdict

from adec.display.marks import Mark, mark_of
from adec.events.hostile_json import to_plain
from adec.events.records import (
    Attempt,
    End,
    Event,
    Failure,
    Pause,
    Purpose,
    Start,
    Step,
    TreeRecord,
)
from adec.events.tally import Tally, layers_named
from adec.inspection.traces.drafts import CheckedTree, Doubts, check_tree, compact
from adec.inspection.traces.pauses import attempt_data, pause_data

LISTED = 200
"""Rows of each kind that are kept; further ones are only counted."""
POSITIONS = 64
"""Positions of a draft that are counted apart."""
_REASON = 400
_SURE_KEYS = (
    "strategy",
    "tokens",
    "small_tokens",
    "large_tokens",
    "tokens_by_source",
    "small_fed",
    "large_fed",
    "small_forwards",
    "large_forwards",
    "wakes",
    "drafted",
    "accepted",
    *(f"{purpose}_ms" for purpose in get_args(Purpose)),
    "own_ms",
)


@dataclass
class FirstRows:
    """The first rows of a list as plain data, and how many there were."""

    first: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def add(self, **row: Any) -> None:
        """Keep a row if there is room."""
        self.count += 1
        if len(self.first) < LISTED:
            self.first.append(row)


@dataclass
class Survey:
    """All that is told of a trace; `add` every event in order."""

    start: Start | None = None
    closing: End | Failure | None = None
    steps: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    marks: Counter[Mark] = field(default_factory=Counter)
    hand_overs: FirstRows = field(default_factory=FirstRows)
    """Steps in which the models changed hands, or that say why they did not go on as before."""
    rounds: FirstRows = field(default_factory=FirstRows)
    """Steps in which drafts were judged."""
    broken_trees: int = 0
    pauses: FirstRows = field(default_factory=FirstRows)
    attempts: FirstRows = field(default_factory=FirstRows)
    best: Attempt | None = None
    proposed: list[int] = field(default_factory=lambda: [0] * POSITIONS)
    accepted: list[int] = field(default_factory=lambda: [0] * POSITIONS)
    tally: Tally = field(default_factory=lambda: Tally("", ""))
    doubts: Doubts = field(default_factory=Doubts)
    measured: int = 0
    """Tokens that have an entropy."""
    entropy_sum: float = 0.0

    def add(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Start):
            self.start = event
            self.tally = Tally(
                event.strategy,
                event.guarantee,
                plain_ms=event.plain_ms_per_token,
                layers=layers_named(event),
            )
        elif isinstance(event, Step):
            self.steps += 1
            self._step(event)
        else:
            self.closing = event

    def _step(self, step: Step) -> None:
        self.kinds[step.kind] += 1
        where = {"step": self.steps, "place": self.tally.tokens}
        detail = step.detail
        if isinstance(detail, Pause):
            self.pauses.add(**where, **pause_data(detail, step.signal))
        elif step.reason is not None or (step.kind == "wake" and not step.drafted):
            reason = None if step.reason is None else step.reason[:_REASON]
            self.hand_overs.add(**where, kind=step.kind, reason=reason)
        if isinstance(detail, Attempt):
            self.best = detail if detail.best else self.best
            self.attempts.add(step=self.steps, **attempt_data(detail, self.best))
        if step.drafted or isinstance(detail, TreeRecord):
            self._round(step)
        for token in step.tokens:
            self.marks[mark_of(token)] += 1
            if token.entropy is not None and math.isfinite(token.entropy):
                self.measured += 1
                self.entropy_sum += token.entropy
        self.doubts.add(step, self.steps)
        self.tally.add(step, 0.0)

    def _round(self, step: Step) -> None:
        tree: CheckedTree | None = None
        if isinstance(step.detail, TreeRecord):
            try:
                tree = check_tree(step.detail)
            except ValueError:
                self.broken_trees += 1
        # a position is a depth: branches of a tree compete for it, so at most one is accepted
        drafted = step.drafted if tree is None else tree.depth
        accepted = step.accepted if tree is None else len(tree.record.accepted)
        for position in range(min(drafted, POSITIONS)):
            self.proposed[position] += 1
            self.accepted[position] += position < accepted
        self.rounds.add(
            step=self.steps,
            drafted=step.drafted,
            accepted=step.accepted,
            drafts="" if tree is None else compact(tree),
        )

    @property
    def summary(self) -> dict[str, Any]:
        """The summary as the steps give it. Only the closing line knows wall times and finish."""
        claimed = self.closing.summary if isinstance(self.closing, End) else {}
        figures = self.tally.summary(0.0)
        for name in ("seconds", "first_token_seconds", "finish"):
            figures[name] = claimed.get(name)
        return figures

    @property
    def contradictions(self) -> list[str]:
        """Where the closing line contradicts the steps."""
        if not isinstance(self.closing, End):
            return []
        ours, claimed = self.tally.summary(0.0), self.closing.summary
        found = []
        for name in _SURE_KEYS:
            if name == "small_tokens" and "tokens_by_source" not in claimed:
                continue  # it once counted everything that the large model had not written
            if name in claimed and not _same(ours[name], claimed[name]):
                said = str(claimed[name])[:40]
                found.append(f"the closing line says {name} = {said}, the steps give {ours[name]}")
        return found

    def data(self) -> dict[str, Any]:
        """Everything as plain data."""
        closing = self.closing
        sources: Counter[str] = Counter()
        for mark, count in self.marks.items():
            sources[mark.name] += count
        ends = {End: "end", Failure: "error"}
        return {
            "start": None if self.start is None else to_plain(asdict(self.start)),
            "steps": self.steps,
            "kinds": dict(self.kinds),
            "sources": dict(sources),
            "summary": self.summary,
            "closed_by": None if closing is None else ends[type(closing)],
            "failure": closing.message if isinstance(closing, Failure) else None,
            "contradictions": self.contradictions,
            "mean_entropy": self.entropy_sum / self.measured if self.measured else None,
            "hand_overs": self.hand_overs.first,
            "hand_over_count": self.hand_overs.count,
            "rounds": self.rounds.first,
            "round_count": self.rounds.count,
            "broken_trees": self.broken_trees,
            "pauses": self.pauses.first,
            "pause_count": self.pauses.count,
            "attempts": self.attempts.first,
            "attempt_count": self.attempts.count,
            "acceptance": [
                {"position": position, "proposed": proposed, "accepted": accepted}
                for position, (proposed, accepted) in enumerate(
                    zip(self.proposed, self.accepted, strict=True), 1
                )
                if proposed
            ],
            "doubtful": [doubt.data() for doubt in self.doubts.top],
        }


def _same(ours: Any, claimed: Any) -> bool:
    if isinstance(ours, float) and isinstance(claimed, int | float):
        return math.isclose(ours, claimed, rel_tol=1e-6, abs_tol=1e-6) or ours != ours
    return bool(ours == claimed)
