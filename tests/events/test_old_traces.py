"""Traces that an earlier adec wrote on the practice pair, before records were `msgspec` structs.

They load, and nothing of them is lost: written again, every line is the same JSON object.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from adec.events.codec import encode_line, read_trace, to_json
from adec.events.records import Attempt, End, Failure, Pause, Start, Step, TreeRecord
from adec.events.tally import Tally

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.jsonl"))
DETAILS = {
    "adadec": {Pause},
    "bild": {TreeRecord},
    "dyspec": {TreeRecord},
    "iad": {Attempt},
    "infinite": set(),
    "lookup": {TreeRecord},
}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_an_old_trace_is_read_and_written_again_as_the_same_objects(path: Path) -> None:
    events = list(read_trace(path))
    lines = path.read_bytes().splitlines()
    assert len(events) == len(lines)
    for event, line in zip(events, lines, strict=True):
        assert json.loads(encode_line(event)) == json.loads(line) == to_json(event)
    steps = [event for event in events if isinstance(event, Step)]
    details = {type(step.detail) for step in steps} - {type(None)}
    assert details == DETAILS.get(path.stem, details)


def test_the_fixtures_hold_every_kind_of_event() -> None:
    events = [event for path in FIXTURES for event in read_trace(path)]
    assert {type(event) for event in events} == {Start, Step, End, Failure}
    steps = [event for event in events if isinstance(event, Step)]
    kinds = Counter(step.kind for step in steps)
    assert set(kinds) == {"prompt", "draft", "wake", "write", "pause", "attempt"}
    hows = {token.how for step in steps for token in step.tokens}
    assert hows == {"written", "accepted", "corrected", "bonus", "chosen"}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_the_steps_of_an_old_trace_give_its_summary(path: Path) -> None:
    """All figures but one: what no model wrote was counted as the small model's."""
    events = list(read_trace(path))
    start, end = events[0], events[-1]
    if not isinstance(start, Start) or not isinstance(end, End):
        return
    tally = Tally(start.strategy, start.guarantee, plain_ms=start.plain_ms_per_token)
    steps = [event for event in events if isinstance(event, Step)]
    for step in steps:
        tally.add(step, 0.0)
    ours, claimed = tally.summary(1.0), end.summary
    assert claimed.pop("small_tokens") == claimed["tokens"] - claimed["large_tokens"]
    by_source = Counter(token.source for step in steps for token in step.tokens)
    assert ours["small_tokens"] == by_source["small"]
    for name in ("seconds", "first_token_seconds", "load_seconds", "finish"):
        del claimed[name]
    assert {name: ours[name] for name in claimed} == {
        name: pytest.approx(figure) if isinstance(figure, float) else figure
        for name, figure in claimed.items()
    }
