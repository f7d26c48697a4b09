"""What a trace says of thinking longer: pauses with their candidates, and whole answers with the best so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from adec.display.wording import count, many, milliseconds, number, share
from adec.events.records import Attempt, Candidate, Pause, Signal, Step
from adec.inspection.drafts import quoted
from adec.inspection.sheet import Block, Lines, Table

KEPT = 200
"""Pauses and answers that are kept; further ones are counted."""
CANDIDATES = 16
"""Candidates of a pause that are shown; adadec has eight at most."""


@dataclass(frozen=True)
class PauseSeen:
    """A pause at its place."""

    step: int
    place: int
    """Tokens of the answer before it."""
    signal: Signal | None
    pause: Pause


@dataclass(frozen=True)
class AttemptSeen:
    """A whole answer, with the best score so far and the answer that has it."""

    step: int
    attempt: Attempt
    best: Attempt | None


@dataclass
class Search:
    """Both, folded step by step."""

    pauses: list[PauseSeen] = field(default_factory=list)
    pause_count: int = 0
    attempts: list[AttemptSeen] = field(default_factory=list)
    attempt_count: int = 0
    best: Attempt | None = None

    def add(self, step: Step, number_: int, place: int) -> None:
        """Take step `number_` in, which comes after `place` tokens."""
        detail = step.detail
        if isinstance(detail, Pause):
            self.pause_count += 1
            if len(self.pauses) < KEPT:
                self.pauses.append(PauseSeen(number_, place, step.signal, detail))
        elif isinstance(detail, Attempt):
            self.attempt_count += 1
            self.best = detail if detail.best else self.best
            if len(self.attempts) < KEPT:
                self.attempts.append(AttemptSeen(number_, detail, self.best))

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "pauses": [
                {
                    "step": seen.step,
                    "place": seen.place,
                    "entropy": None if seen.signal is None else seen.signal.value,
                    "threshold": None if seen.signal is None else seen.signal.threshold,
                    **pause_data(seen.pause),
                }
                for seen in self.pauses
            ],
            "pause_count": self.pause_count,
            "attempts": [
                {
                    "step": seen.step,
                    "round": seen.attempt.round,
                    "score": seen.attempt.score,
                    "best": seen.attempt.best,
                    "best_score": None if seen.best is None else seen.best.score,
                    "text": seen.attempt.text,
                    "feedback": seen.attempt.feedback,
                }
                for seen in self.attempts
            ],
            "attempt_count": self.attempt_count,
        }


def pause_data(pause: Pause) -> dict[str, Any]:
    """As plain data."""
    return {
        "winner": pause.winner,
        "kept": pause.kept,
        "candidates": [
            {
                "text": c.text,
                "tokens": len(c.tokens),
                "probability": c.probability,
                "score": c.score,
            }
            for c in pause.candidates[:CANDIDATES]
        ],
    }


def search_blocks(search: Search, listed: int) -> Iterator[Block]:
    """Tables of the first `listed` pauses and answers; nothing where there are none."""
    if search.pause_count:
        rows = [
            (
                many(seen.step),
                many(seen.place),
                "-" if seen.signal is None else number(seen.signal.value, 2),
                _named(seen.pause, seen.pause.winner),
                "; ".join(_named(seen.pause, i) for i in _losers(seen.pause)) or "nothing else",
                many(seen.pause.kept),
            )
            for seen in search.pauses[:listed]
        ]
        header = ("step", "after", "nats", "winner", "over", "kept")
        title = "Pauses: candidates with their look-ahead and score (--step N shows one)"
        yield Table(title, header, rows, frozenset({0, 1, 2, 5}))
        yield from _more(search.pause_count, listed)
    if search.attempt_count:
        answers = [
            (
                many(seen.step),
                many(seen.attempt.round),
                "none" if seen.attempt.score is None else number(seen.attempt.score, 4),
                "✓" if seen.attempt.best else "",
                "none"
                if seen.best is None or seen.best.score is None
                else number(seen.best.score, 4),
                many(len(seen.attempt.tokens)),
                quoted(seen.attempt.text),
                quoted(seen.attempt.feedback) if seen.attempt.feedback else "",
            )
            for seen in search.attempts[:listed]
        ]
        columns = (
            "step",
            "round",
            "score",
            "new best",
            "best so far",
            "tokens",
            "answer",
            "feedback",
        )
        yield Table("Answers, round by round", columns, answers, frozenset({0, 1, 2, 4, 5}))
        yield from _more(search.attempt_count, listed)


def step_blocks(step: Step) -> Iterator[Block]:
    """A pause or an answer of one step in full."""
    if isinstance(step.detail, Pause):
        pause = step.detail
        rows = [
            (
                "✓" if index == pause.winner else "",
                quoted(candidate.text) if candidate.text else _ids(candidate),
                many(len(candidate.tokens)),
                number(candidate.probability, 3),
                number(candidate.score, 4),
            )
            for index, candidate in enumerate(pause.candidates[:CANDIDATES])
        ]
        header = ("won", "candidate and look-ahead", "tokens", "prob.", "score")
        yield Table("Candidates, likeliest first", header, rows, frozenset({2, 3, 4}))
        kept = f"{count(pause.kept, 'token')} of the winner's look-ahead stood with it"
        yield Lines("", [kept, _cost(step)])
    elif isinstance(step.detail, Attempt):
        attempt = step.detail
        score = "none" if attempt.score is None else number(attempt.score, 4)
        so_far = ", the best so far" if attempt.best else ""
        lines = [f"round {many(attempt.round)}, score {score}{so_far}"]
        if attempt.verify_ms:
            lines.append(f"the verifier took {milliseconds(attempt.verify_ms)}")
        if attempt.feedback:
            lines.append(f"feedback: {attempt.feedback[:1000]}")
        yield Lines("An answer", [*lines, attempt.text[:4000]])


def _cost(step: Step) -> str:
    forwards = step.ms()
    part = f", {share(step.own_ms / forwards)} of them" if forwards > 0 else ""
    return (
        f"forwards took {milliseconds(forwards)}; adec's own work {milliseconds(step.own_ms)}{part}"
    )


def _losers(pause: Pause) -> list[int]:
    return [i for i in range(len(pause.candidates[:CANDIDATES])) if i != pause.winner]


def _named(pause: Pause, index: int) -> str:
    if not 0 <= index < len(pause.candidates):
        return "none recorded"
    candidate = pause.candidates[index]
    text = quoted(candidate.text) if candidate.text else _ids(candidate)
    return f"{text} {number(candidate.score, 2)}"


def _ids(candidate: Candidate) -> str:
    return " ".join(f"#{token}" for token in candidate.tokens[:8])


def _more(whole: int, listed: int) -> Iterator[Block]:
    if whole > listed:
        yield Lines("", [f"… and {many(whole - listed)} more"])
