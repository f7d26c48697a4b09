"""A trace folded step by step into what is worth saying of it, in memory that does not grow with its length."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args

from adec.display.marks import Mark, mark_of
from adec.events.codec import plain_data
from adec.events.records import End, Event, Failure, Pause, Purpose, Start, Step, TreeRecord
from adec.events.tally import Tally
from adec.inspection.drafts import CheckedTree, Doubts, check_tree, compact
from adec.inspection.pauses import Search

LISTED = 200
"""Hand-overs and rounds that are kept; further ones are counted."""
POSITIONS = 64
"""Positions of a draft that are told apart."""
_SURE_KEYS = [
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
]
_TIME_KEYS = [*(f"{purpose}_ms" for purpose in get_args(Purpose)), "own_ms"]


@dataclass(frozen=True)
class HandOver:
    """A step in which the models changed hands, or said why they did something else than before."""

    step: int
    place: int
    """Tokens of the answer before it."""
    kind: str
    reason: str | None


@dataclass(frozen=True)
class Round:
    """A step in which drafts were judged."""

    step: int
    drafted: int
    accepted: int
    words: str
    """The drafts in short."""


@dataclass
class Survey:
    """Everything at once; `add` every event in order."""

    start: Start | None = None
    closing: End | Failure | None = None
    steps: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    marks: Counter[Mark] = field(default_factory=Counter)
    handovers: list[HandOver] = field(default_factory=list)
    handover_count: int = 0
    rounds: list[Round] = field(default_factory=list)
    round_count: int = 0
    broken_trees: int = 0
    proposed: list[int] = field(default_factory=lambda: [0] * POSITIONS)
    stood: list[int] = field(default_factory=lambda: [0] * POSITIONS)
    tally: Tally = field(default_factory=lambda: Tally("", ""))
    search: Search = field(default_factory=Search)
    doubts: Doubts = field(default_factory=Doubts)
    measured: int = 0
    """Tokens with an entropy."""
    entropy_sum: float = 0.0

    def add(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, Start):
            self.start = event
            self.tally = Tally(event.strategy, event.guarantee, plain_ms=event.plain_ms_per_token)
        elif isinstance(event, Step):
            self.steps += 1
            self._step(event)
        else:
            self.closing = event

    def _step(self, step: Step) -> None:
        self.kinds[step.kind] += 1
        self.search.add(step, self.steps, self.tally.tokens)
        # a pause has a reason, but nobody changes hands
        if not isinstance(step.detail, Pause) and (
            step.reason is not None or (step.kind == "wake" and not step.drafted)
        ):
            self.handover_count += 1
            if len(self.handovers) < LISTED:
                place = self.tally.tokens
                reason = None if step.reason is None else step.reason[:400]
                self.handovers.append(HandOver(self.steps, place, step.kind, reason))
        if step.drafted or isinstance(step.detail, TreeRecord):
            self._round(step)
        for token in step.tokens:
            self.marks[mark_of(token)] += 1
            if token.entropy is not None and math.isfinite(token.entropy):
                self.measured += 1
                self.entropy_sum += token.entropy
        self.doubts.add(step, self.steps)
        self.tally.add(step, 0.0)

    def _round(self, step: Step) -> None:
        self.round_count += 1
        tree: CheckedTree | None = None
        if isinstance(step.detail, TreeRecord):
            try:
                tree = check_tree(step.detail)
            except ValueError:
                self.broken_trees += 1
        # a position is a depth: of a tree whose branches compete for it, one at most can stand
        drafted = step.drafted if tree is None else tree.depth
        stood = step.accepted if tree is None else len(tree.record.accepted)
        for position in range(min(drafted, POSITIONS)):
            self.proposed[position] += 1
            self.stood[position] += position < stood
        if len(self.rounds) < LISTED:
            words = "" if tree is None else compact(tree)
            self.rounds.append(Round(self.steps, step.drafted, step.accepted, words))

    @property
    def summary(self) -> dict[str, Any]:
        """The figures from the steps, in the words of the closing line; times of the clock are the closing line's."""
        claimed = self.closing.summary if isinstance(self.closing, End) else {}
        figures = self.tally.summary(0.0)
        for name in ("seconds", "first_token_seconds", "finish"):
            figures[name] = claimed.get(name)
        return figures

    @property
    def contradictions(self) -> list[str]:
        """Where the closing line says something else than the steps."""
        if not isinstance(self.closing, End):
            return []
        ours, claimed = self.tally.summary(0.0), self.closing.summary
        found = []
        for name in (*_SURE_KEYS, *_TIME_KEYS):
            if name == "small_tokens" and "tokens_by_source" not in claimed:
                continue  # it once counted everything that the large model had not written
            if name in claimed and not _same(ours[name], claimed[name]):
                found.append(
                    f"the closing line says {name} = {str(claimed[name])[:40]}, the steps give {ours[name]}"
                )
        return found

    @property
    def acceptance(self) -> list[tuple[int, int, int]]:
        """(position from 1, times proposed, times it stood), up to the last position that was proposed."""
        rows = zip(range(1, POSITIONS + 1), self.proposed, self.stood, strict=True)
        return [row for row in rows if row[1]]

    def data(self) -> dict[str, Any]:
        """As plain data."""
        closing = self.closing
        sources: Counter[str] = Counter()
        for mark, count in self.marks.items():
            sources[mark.name] += count
        start = None if self.start is None else dict(vars_of(self.start))
        return {
            "start": start,
            "steps": self.steps,
            "kinds": dict(self.kinds),
            "sources": dict(sources),
            "summary": self.summary,
            "closed_by": None
            if closing is None
            else "end"
            if isinstance(closing, End)
            else "error",
            "failure": closing.message if isinstance(closing, Failure) else None,
            "contradictions": self.contradictions,
            "mean_entropy": self.entropy_sum / self.measured if self.measured else None,
            "hand_overs": [
                {"step": h.step, "place": h.place, "kind": h.kind, "reason": h.reason}
                for h in self.handovers
            ],
            "hand_over_count": self.handover_count,
            "rounds": [
                {"step": r.step, "drafted": r.drafted, "accepted": r.accepted, "drafts": r.words}
                for r in self.rounds
            ],
            "round_count": self.round_count,
            "broken_trees": self.broken_trees,
            **self.search.data(),
            "acceptance": [
                {"position": position, "proposed": proposed, "accepted": stood}
                for position, proposed, stood in self.acceptance
            ],
            "doubtful": [doubt.data() for doubt in self.doubts.top],
        }


def vars_of(start: Start) -> dict[str, Any]:
    """A start as plain data."""
    names = Start.__dataclass_fields__
    data: dict[str, Any] = plain_data({name: getattr(start, name) for name in names})
    return data


def _same(ours: Any, claimed: Any) -> bool:
    if isinstance(ours, float) and isinstance(claimed, int | float):
        return math.isclose(ours, claimed, rel_tol=1e-6, abs_tol=1e-6) or ours != ours
    return bool(ours == claimed)
