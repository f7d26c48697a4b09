"""A trace on the terminal: its text as it was written, and under it the figures of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

from adec.display.marks import LEGEND, legend_name
from adec.display.sanitise import one_line
from adec.display.summary_line import summary_lines
from adec.display.wording import count, many, milliseconds, number, promise, share
from adec.errors import TraceError
from adec.events.records import Event, Failure, Purpose, Start, Step
from adec.inspection.sheet import Block, Facts, Lines, Table
from adec.inspection.traces.drafts import described, shown
from adec.inspection.traces.pauses import attempt_table, pause_table
from adec.inspection.traces.rows import LETTERS, Rows
from adec.inspection.traces.survey import Survey

LISTED = 12
"""Rows of a list that are shown; --json has more, --step shows any."""
_PROMPT = 400
_KEY = "Text, its sources, and the entropy of each token (half a column is the threshold)"


def look_through(
    events: Iterable[Event], rows: Rows, write: Callable[[str], None], show: Callable[[Block], None]
) -> Survey:
    """Read a trace once. Its head and text are printed on the way, the figures after it.

    Raises TraceError for a broken trace, once everything that could be read was shown.
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
    """The run that the start line describes."""
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
    """Figures and lists, once the trace was read."""
    if isinstance(survey.closing, Failure):
        yield Lines("The run failed", [survey.closing.message[:1000]])
    if survey.start is None:
        return
    yield _writers(survey)
    data = survey.data()
    lines = summary_lines(data["summary"])
    if survey.measured:
        mean = number(data["mean_entropy"], 3)
        lines.append(f"mean entropy {mean} nats over {count(survey.measured, 'token')}")
    if survey.closing is None:
        lines.append("the trace has no closing line: the run was cut off, or is still going on")
    yield Lines("Summary", lines)
    yield _time(data["summary"])
    yield from _lists(data)
    yield from _doubts(survey)
    if data["contradictions"]:
        yield Lines("The trace contradicts itself", data["contradictions"])


def _writers(survey: Survey) -> Block:
    rows = [
        (
            legend_name(mark, survey.tally.tokens_by_source),
            mark.sign or "none",
            LETTERS[mark],
            many(survey.marks[mark]),
            share(survey.marks[mark] / max(1, survey.tally.tokens)),
        )
        for mark in LEGEND
        if survey.marks[mark]
    ]
    header = ("source", "sign", "letter", "tokens", "share")
    return Table("Who wrote it", header, rows, frozenset({3, 4}))


def _time(summary: dict[str, Any]) -> Block:
    names = {f"{name}_ms": name.replace("_", "-") for name in get_args(Purpose)}
    names["own_ms"] = "own overhead"
    whole = sum(summary[key] for key in names)
    rows = [
        (name, milliseconds(summary[key]), share(summary[key] / whole if whole else 0.0))
        for key, name in names.items()
    ]
    return Table("Time", ("for", "time", "share"), rows, frozenset({1, 2}))


def _lists(data: dict[str, Any]) -> Iterator[Block]:
    """What happened, in the order of the steps: the first rows of each list."""
    rows: list[tuple[str, ...]] = [
        (many(row["step"]), many(row["place"]), row["kind"], row["reason"] or "not recorded")
        for row in data["hand_overs"][:LISTED]
    ]
    title = "Where the models changed hands, and why"
    header: tuple[str, ...] = ("step", "after", "kind", "reason")
    yield from _list(Table(title, header, rows, frozenset({0, 1})), data["hand_over_count"])
    rows = [
        (
            many(row["position"]),
            many(row["proposed"]),
            many(row["accepted"]),
            share(row["accepted"] / row["proposed"]),
        )
        for row in data["acceptance"]
    ]
    header = ("position", "drafted", "stood", "share")
    yield from _list(Table("Acceptance by position", header, rows, frozenset({0, 1, 2, 3})))
    rows = [
        (
            many(row["step"]),
            many(row["drafted"]),
            many(row["accepted"]),
            row["drafts"] or "no tree recorded",
        )
        for row in data["rounds"][:LISTED]
    ]
    title = "Rounds (--step N draws one)"
    header = ("step", "drafts", "stood", "what stood, then what did not")
    yield from _list(Table(title, header, rows, frozenset({0, 1, 2})), data["round_count"])
    if data["broken_trees"]:
        yield Lines("", [f"{count(data['broken_trees'], 'tree')} in it cannot be read"])
    yield from _list(pause_table(data["pauses"][:LISTED]), data["pause_count"])
    yield from _list(attempt_table(data["attempts"][:LISTED]), data["attempt_count"])


def _list(table: Table, whole: int = 0) -> Iterator[Block]:
    """A table that has rows, and how many more there are."""
    if table.rows:
        yield table
    if whole > LISTED:
        yield Lines("", [f"… and {many(whole - LISTED)} more"])


def _doubts(survey: Survey) -> Iterator[Block]:
    rows = [
        (
            many(doubt.place),
            shown(doubt.token),
            number(doubt.token.entropy, 3),
            number(doubt.token.probability, 3),
            one_line(doubt.token.source[:20]),
            described(doubt),
            many(doubt.step),
            one_line(doubt.before[-24:]),
        )
        for doubt in survey.doubts.top
    ]
    header = ("token", "text", "nats", "prob.", "by", "alternatives", "step", "after the text")
    yield from _list(Table("The most doubtful tokens", header, rows, frozenset({0, 2, 3, 6})))


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
