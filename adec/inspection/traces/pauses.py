"""Pauses with their candidates, and whole answers that compete: as plain data and for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adec.display.wording import count, many, milliseconds, number, share
from adec.events.records import Attempt, Pause, Signal, Step
from adec.inspection.sheet import Block, Lines, Table
from adec.inspection.traces.drafts import quoted

CANDIDATES = 16
"""Candidates of a pause that are shown; adadec has at most eight."""
_IDS = 8


def pause_data(pause: Pause, signal: Signal | None = None) -> dict[str, Any]:
    """A pause, and the signal that caused it."""
    return {
        "entropy": None if signal is None else signal.value,
        "threshold": None if signal is None else signal.threshold,
        "winner": pause.winner,
        "kept": pause.kept,
        "candidates": [
            {
                "text": candidate.text,
                "ids": list(candidate.tokens[:_IDS]),
                "tokens": len(candidate.tokens),
                "probability": candidate.probability,
                "score": candidate.score,
            }
            for candidate in pause.candidates[:CANDIDATES]
        ],
    }


def attempt_data(attempt: Attempt, best: Attempt | None) -> dict[str, Any]:
    """A whole answer, and the best score so far."""
    return {
        "round": attempt.round,
        "score": attempt.score,
        "best": attempt.best,
        "best_score": None if best is None else best.score,
        "tokens": len(attempt.tokens),
        "text": attempt.text,
        "feedback": attempt.feedback,
    }


def pause_table(pauses: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each pause, from `pause_data`."""
    rows = []
    for pause in pauses:
        named = [
            f"{_named(candidate)} {number(candidate['score'], 2)}"
            for candidate in pause["candidates"]
        ]
        known = 0 <= pause["winner"] < len(named)
        winner = named.pop(pause["winner"]) if known else "none recorded"
        rows.append(
            (
                many(pause["step"]),
                many(pause["place"]),
                number(pause["entropy"], 2),
                winner,
                "; ".join(named) or "nothing else",
                many(pause["kept"]),
            )
        )
    title = "Pauses: candidates with their look-ahead and score (--step N shows one)"
    header = ("step", "after", "nats", "winner", "over", "kept")
    return Table(title, header, rows, frozenset({0, 1, 2, 5}))


def attempt_table(attempts: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each answer, from `attempt_data`."""
    rows = [
        (
            many(attempt["step"]),
            many(attempt["round"]),
            _score(attempt["score"]),
            "✓" if attempt["best"] else "",
            _score(attempt["best_score"]),
            many(attempt["tokens"]),
            quoted(attempt["text"]),
            quoted(attempt["feedback"]) if attempt["feedback"] else "",
        )
        for attempt in attempts
    ]
    header = ("step", "round", "score", "new best", "best so far", "tokens", "answer", "feedback")
    return Table("Answers, round by round", header, rows, frozenset({0, 1, 2, 4, 5}))


def step_blocks(step: Step) -> Iterator[Block]:
    """The pause or the answer of one step in full."""
    detail = step.detail
    if isinstance(detail, Pause):
        rows = [
            (
                "✓" if index == detail.winner else "",
                _named(candidate),
                many(candidate["tokens"]),
                number(candidate["probability"], 3),
                number(candidate["score"], 4),
            )
            for index, candidate in enumerate(pause_data(detail)["candidates"])
        ]
        header = ("won", "candidate and look-ahead", "tokens", "prob.", "score")
        yield Table("Candidates, likeliest first", header, rows, frozenset({2, 3, 4}))
        forwards = step.ms()
        part = f", {share(step.own_ms / forwards)} of them" if forwards > 0 else ""
        yield Lines(
            "",
            [
                f"{count(detail.kept, 'token')} of the winner's look-ahead were kept",
                f"forwards took {milliseconds(forwards)}; "
                f"adec's own work {milliseconds(step.own_ms)}{part}",
            ],
        )
    elif isinstance(detail, Attempt):
        so_far = ", the best so far" if detail.best else ""
        lines = [f"round {many(detail.round)}, score {_score(detail.score)}{so_far}"]
        if detail.verify_ms:
            lines.append(f"the verifier took {milliseconds(detail.verify_ms)}")
        if detail.feedback:
            lines.append(f"feedback: {detail.feedback[:1000]}")
        yield Lines("An answer", [*lines, detail.text[:4000]])


def _score(score: float | None) -> str:
    return "none" if score is None else number(score, 4)


def _named(candidate: Mapping[str, Any]) -> str:
    """A candidate with its look-ahead: the text, or the ids where no text is known."""
    if candidate["text"]:
        return quoted(candidate["text"])
    return " ".join(f"#{token}" for token in candidate["ids"])
