"""One step of a trace in full: the decision, its cost, its tokens, its tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adec.display.marks import mark_of
from adec.display.wording import count, many, milliseconds, number
from adec.errors import UsageError
from adec.events.codec import to_json
from adec.events.records import CanvasRecord, DepthRecord, Event, Step, TreeRecord
from adec.inspection.sheet import Block, Facts, Lines, Report, Table
from adec.inspection.traces.drafts import CheckedTree, check_tree, runner_up, shown
from adec.inspection.traces.pauses import step_blocks
from adec.tree import ROOT

_BEFORE = 120
NODES_DRAWN = 400
DEPTH_DRAWN = 24
"""Branches below this depth are not drawn."""
_SHOWN = 1000
"""Rows of a table; a step of a real run has far fewer."""


def inspect_step(events: Iterable[Event], wanted: int) -> Report:
    """Step `wanted` of a trace, counted from 1 (line `wanted` + 1 of the file). Reads no further.

    Raises UsageError when there are fewer steps, TraceError when the trace breaks before it.
    """
    seen, place, before = 0, 0, ""
    for event in events:
        if not isinstance(event, Step):
            continue
        seen += 1
        if seen == wanted:
            data = {"type": "trace step", "schema": 1, "step": wanted, "place": place}
            data |= {"before": before, "event": to_json(event)}
            return Report(data, list(_blocks(event, wanted, place, before)))
        place += len(event.tokens)
        before = (before + "".join(t.text[-_BEFORE:] for t in event.tokens[-_BEFORE:]))[-_BEFORE:]
    raise UsageError(f"the trace has {count(seen, 'step')}, no step {wanted}")


def _blocks(step: Step, number_: int, place: int, before: str) -> Iterator[Block]:
    rows = [
        ("kind", step.kind),
        ("reason", step.reason or "not recorded"),
        ("after", f"{count(place, 'token')}: … {before}" if before else count(place, "token")),
    ]
    if step.signal is not None:
        held = f"{number(step.signal.value, 3)} nats, threshold {number(step.signal.threshold, 3)}"
        rows.append(("signal", held))
    if step.drafted or step.accepted:
        rows.append(("drafts", f"{many(step.drafted)}, of which {many(step.accepted)} stand"))
    if isinstance(step.detail, DepthRecord):
        left = step.detail
        sure = "" if left.sure is None else f", {number(left.sure, 3)} sure"
        rows.append(("depth", f"layer {many(left.depth)} of {many(left.of)}{sure}"))
    rows.append(("own time", milliseconds(step.own_ms)))
    yield Facts(f"Step {many(number_)}", rows)
    if step.forwards:
        yield _forwards(step)
    if step.tokens:
        yield _tokens(step, place)
    yield from step_blocks(step)
    if isinstance(step.detail, TreeRecord):
        yield Lines("Tree of drafts", list(_tree(step.detail)))
    if isinstance(step.detail, CanvasRecord):
        yield _filled(step.detail)


def _forwards(step: Step) -> Block:
    rows = [
        (f.model, f.purpose.replace("_", "-"), many(f.tokens), milliseconds(f.ms))
        for f in step.forwards[:_SHOWN]
    ]
    return Table("Forwards", ("model", "for", "tokens", "time"), rows, frozenset({2, 3}))


def _tokens(step: Step, place: int) -> Block:
    rows = []
    for offset, token in enumerate(step.tokens[:_SHOWN], 1):
        rows.append(
            (
                many(place + offset),
                many(token.id),
                shown(token),
                token.source[:20],
                mark_of(token).name,
                number(token.entropy, 3),
                number(token.margin, 3),
                number(token.probability, 3),
                number(runner_up(token), 3),
            )
        )
    header = ("token", "id", "text", "by", "mark", "nats", "margin", "prob.", "next prob.")
    return Table("Tokens", header, rows, frozenset({0, 1, 5, 6, 7, 8}))


def _filled(record: CanvasRecord) -> Block:
    rows = [
        (
            "?" if token.position is None else many(token.position + 1),
            many(token.id),
            shown(token),
            number(token.entropy, 3),
            number(token.probability, 3),
        )
        for token in record.filled[:_SHOWN]
    ]
    title = f"Filled: {many(record.masked)} of {many(record.length)} positions are still masked"
    return Table(title, ("position", "id", "text", "nats", "prob."), rows, frozenset({0, 1, 3, 4}))


def _tree(record: TreeRecord) -> Iterator[str]:
    try:
        tree = check_tree(record)
    except ValueError as error:
        yield f"it cannot be read: {error}"
        return
    yield f"{count(len(tree), 'node')}, {count(tree.depth, 'level')}; ✓ stood, ✗ did not"
    yield from draw(tree)


def draw(tree: CheckedTree) -> Iterator[str]:
    """The tree with a line for each stretch without branches: `✓` accepted, `✗` rejected."""
    drawn = 0
    # (node, what stands before its line, is it the last of its siblings)
    waiting = [(node, "", last) for node, last in _lasts(tree.children.get(ROOT, []))]
    waiting.reverse()
    while waiting:
        node, before, last = waiting.pop()
        stretch = [node]
        while (
            len(below := tree.children.get(stretch[-1], [])) == 1
            and (below[0] in tree.accepted) == (node in tree.accepted)
            and len(stretch) < NODES_DRAWN
        ):
            stretch.append(below[0])
        mark = "✓" if node in tree.accepted else "✗"
        names = " → ".join(f"{tree.name(n)}{_chance(tree.probability(n))}" for n in stretch)
        yield f"{before}{'└' if last else '├'}─ {mark} {names}"
        drawn += len(stretch)
        if drawn >= NODES_DRAWN:
            left = len(tree) - drawn
            if left > 0:
                yield f"… {left} more nodes"
            return
        inner = before + ("   " if last else "│  ")
        if below and len(inner) > 3 * DEPTH_DRAWN:
            yield f"{inner}└─ … deeper"
            continue
        waiting += [(child, inner, end) for child, end in _lasts(below)][::-1]


def _lasts(nodes: list[int]) -> list[tuple[int, bool]]:
    return [(node, node == nodes[-1]) for node in nodes]


def _chance(probability: float | None) -> str:
    return "" if probability is None else f" {number(probability)}"
