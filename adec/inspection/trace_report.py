"""A trace in the terminal: its text as it was written, and under it what there is to say of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from adec.display.marks import LEGEND, legend_name
from adec.display.summary_line import summary_lines
from adec.display.wording import count, many, milliseconds, number, promise, share
from adec.errors import TraceError
from adec.events.records import Event, Failure, Start, Step
from adec.inspection.drafts import described, shown
from adec.inspection.pauses import search_blocks
from adec.inspection.rows import LETTERS, Rows
from adec.inspection.sheet import Block, Facts, Lines, Table
from adec.inspection.survey import Survey

LISTED = 12
"""Hand-overs and rounds that are shown; --json lists more, --step shows any."""
_PROMPT = 400
_KEY = "Text, its sources, and the entropy of each token (half a column is the threshold)"


def look_through(
    events: Iterable[Event], rows: Rows, write: Callable[[str], None], show: Callable[[Block], None]
) -> Survey:
    """Read a trace once, printing its head and its text on the way and everything else after it.

    Raises TraceError for what is broken, after all that could be read was shown.
    """
    survey = Survey()
    trouble: TraceError | None = None
    try:
        for event in events:
            survey.add(event)
            if isinstance(event, Start):
                for block in head(event):
                    show(block)
                write(f"\n{_KEY}\n")
            elif isinstance(event, Step):
                for line in rows.take(event):
                    write(line + "\n")
    except TraceError as error:
        if survey.start is None:
            raise
        trouble = error
    for line in rows.finish():
        write(line + "\n")
    for block in foot(survey):
        write("\n")
        show(block)
    if trouble is not None:
        raise trouble
    return survey


def report_trace(events: Iterable[Event]) -> dict[str, Any]:
    """A trace as plain data; a broken one up to where it breaks, with "error" saying how.

    Raises TraceError when not even its first line can be read.
    """
    survey = Survey()
    trouble: str | None = None
    try:
        for event in events:
            survey.add(event)
    except TraceError as error:
        if survey.start is None and survey.closing is None:
            raise
        trouble = str(error)
    data = {"type": "trace", "schema": 1, **survey.data()}
    return data if trouble is None else {**data, "error": trouble}


def head(start: Start) -> Iterator[Block]:
    """What was asked, and with what."""
    prompt = start.prompt[: _PROMPT + 1]
    if len(prompt) > _PROMPT:
        prompt = f"{prompt[:_PROMPT]} … ({many(len(start.prompt))} characters)"
    rows = [
        ("strategy", f"{start.strategy} ({promise(start.guarantee)})"),
        ("paper", start.paper or "none"),
    ]
    rows += [(f"{role} model"[:40], _model(model)) for role, model in start.models.items()][:8]
    rows += [
        ("profile", start.profile or "none"),
        ("settings", _pairs(start.settings)),
        ("sampling", _pairs(start.sampling)),
        ("prompt", f"{prompt} ({many(start.prompt_tokens)} tokens)"),
        ("limit", f"{many(start.max_tokens)} tokens"),
        ("adec", start.adec),
    ]
    yield Facts("A trace", rows)


def foot(survey: Survey) -> Iterator[Block]:
    """What there is to say of a run that was read."""
    if isinstance(survey.closing, Failure):
        yield Lines("The run failed", [survey.closing.message[:1000]])
    if survey.start is None:
        return
    yield Table(
        "Who wrote it",
        ("source", "sign", "letter", "tokens", "share"),
        [
            (
                legend_name(mark, survey.tally.tokens_by_source),
                mark.sign or "none",
                LETTERS[mark],
                many(survey.marks[mark]),
                share(survey.marks[mark] / max(1, survey.tally.tokens)),
            )
            for mark in LEGEND
            if survey.marks[mark]
        ],
        frozenset({3, 4}),
    )
    summary = survey.summary
    lines = summary_lines(summary)
    if survey.measured:
        mean = survey.entropy_sum / survey.measured
        lines.append(f"mean entropy {number(mean, 3)} nats over {count(survey.measured, 'token')}")
    if survey.closing is None:
        lines.append("the trace has no closing line: the run was cut off, or is still going on")
    yield Lines("Summary", lines)
    yield _time(summary)
    yield from _handovers(survey)
    yield from _acceptance(survey)
    yield from _rounds(survey)
    yield from search_blocks(survey.search, LISTED)
    yield from _doubts(survey)
    if survey.contradictions:
        yield Lines("The trace contradicts itself", survey.contradictions)


def _time(summary: dict[str, Any]) -> Block:
    names = {
        "prompt_ms": "prompt",
        "draft_ms": "draft",
        "verify_ms": "verify",
        "catch_up_ms": "catch-up",
        "write_ms": "write",
        "look_ahead_ms": "look-ahead",
        "rewind_ms": "rewinding",
        "own_ms": "own overhead",
    }
    whole = sum(summary[key] for key in names)
    rows = [
        (name, milliseconds(summary[key]), share(summary[key] / whole if whole else 0.0))
        for key, name in names.items()
    ]
    return Table("Time", ("for", "time", "share"), rows, frozenset({1, 2}))


def _handovers(survey: Survey) -> Iterator[Block]:
    if not survey.handover_count:
        return
    rows = [
        (many(h.step), many(h.place), h.kind, h.reason or "not said")
        for h in survey.handovers[:LISTED]
    ]
    title = "Where the models changed hands, and why"
    yield Table(title, ("step", "after", "kind", "reason"), rows, frozenset({0, 1}))
    yield from _more(survey.handover_count)


def _acceptance(survey: Survey) -> Iterator[Block]:
    rows = [
        (many(position), many(proposed), many(stood), share(stood / proposed))
        for position, proposed, stood in survey.acceptance
    ]
    if rows:
        header = ("position", "drafted", "stood", "share")
        yield Table("Acceptance by position", header, rows, frozenset({0, 1, 2, 3}))


def _rounds(survey: Survey) -> Iterator[Block]:
    if not survey.round_count:
        return
    rows = [
        (many(r.step), many(r.drafted), many(r.accepted), r.words or "no tree recorded")
        for r in survey.rounds[:LISTED]
    ]
    header = ("step", "drafts", "stood", "what stood, then what did not")
    yield Table("Rounds (--step N draws one)", header, rows, frozenset({0, 1, 2}))
    yield from _more(survey.round_count)
    if survey.broken_trees:
        yield Lines("", [f"{count(survey.broken_trees, 'tree')} in it cannot be read"])


def _more(whole: int) -> Iterator[Block]:
    if whole > LISTED:
        yield Lines("", [f"… and {many(whole - LISTED)} more"])


def _doubts(survey: Survey) -> Iterator[Block]:
    rows = [
        (
            many(doubt.place),
            shown(doubt.token),
            number(doubt.token.entropy, 3),
            number(doubt.token.probability, 3),
            doubt.token.source[:20],
            described(doubt),
            many(doubt.step),
            doubt.before[-24:],
        )
        for doubt in survey.doubts.top
    ]
    if rows:
        header = ("token", "text", "nats", "prob.", "by", "alternatives", "step", "after the text")
        yield Table("The most doubtful tokens", header, rows, frozenset({0, 2, 3, 6}))


def _model(model: dict[str, Any]) -> str:
    name = str(model.get("name", "?"))[:120]
    details = [str(model[key])[:80] for key in ("format", "quantisation") if model.get(key)]
    parameters = model.get("parameters")
    if isinstance(parameters, int):
        details.append(f"{many(parameters)} parameters")
    return f"{name} ({', '.join(details)})" if details else name


def _pairs(table: dict[str, Any]) -> str:
    words = [f"{str(key)[:40]}={str(value)[:40]}" for key, value in list(table.items())[:40]]
    return ", ".join(words) or "none"
