"""The view of a trace: the text is whole, the figures are right, and a hostile one does nothing."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from adec.events.codec import encode_line
from adec.events.records import End, Event, Failure, Start, Step, Token, TreeRecord
from adec.events.tally import Tally
from adec.inspection.traces.drafts import CheckedTree, check_tree, runner_up
from adec.inspection.traces.rows import LETTERS, Rows
from adec.inspection.traces.step_report import draw
from adec.inspection.traces.survey import Survey
from adec.inspection.traces.trace_report import look_through
from tests.display.fakes import START, events_of
from tests.events.test_codec import event, pieces, step
from tests.inspection.traces import look, visible, write_trace

TEXT = "many words\nin two lines, and one that is rather longer than the others\n" * 3
COLUMNS = set("▁▂▃▄▅▆▇█ ")


def text_rows(lines: list[str]) -> list[str]:
    """The rows of text among rows of letters and columns."""
    letters = {*LETTERS.values(), "·"}
    return [line for line in lines if not ((line and set(line) <= letters) or set(line) <= COLUMNS)]


def test_the_text_is_whole_and_its_sources_stand_under_it(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", events_of(TEXT))
    outcome = look(path)
    assert (outcome.code, outcome.err) == (0, "")
    assert visible(outcome.out)
    for line in TEXT.splitlines():
        assert f"\n{line}\n" in outcome.out
    for title in ("Who wrote it", "Summary", "Time", "Where the models changed hands", "Rounds"):
        assert f"\n{title}" in outcome.out
    assert "contradicts" not in outcome.out


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.text(max_size=6), st.none() | st.floats()), max_size=20),
    st.integers(1, 40),
)
def test_rows_lose_nothing(tokens: list[tuple[str, float | None]], width: int) -> None:
    """The rows together are the text without its newlines, and no row is too wide."""
    from rich.cells import cell_len

    from adec.display.sanitise import sanitise

    rows = Rows(width, escapes=False, colour=False)
    tried = Step("write", tuple(Token(1, "small", entropy=e, text=t) for t, e in tokens))
    lines = [*rows.take(tried), *rows.finish()]
    text = "".join(sanitise(t) for t, _ in tokens)
    for line in lines:
        assert cell_len(line) <= max(8, width)
    joined = "".join(lines)
    at = 0
    for character in text.replace("\n", "").replace("\t", " " * 4):
        at = joined.find(character, at) + 1
        assert at > 0


def test_the_figures_are_those_of_the_steps(tmp_path: Path) -> None:
    events = list(events_of(TEXT, 3))
    path = write_trace(tmp_path / "t.jsonl", events)
    data = json.loads(look(path, "--json").out)
    steps = [e for e in events if isinstance(e, Step)]
    end = events[-1]
    assert isinstance(end, End)
    assert (list(data)[:2], data["type"], data["steps"]) == (
        ["type", "schema"],
        "trace",
        len(steps),
    )
    for key in ("tokens", "large_tokens", "wakes", "drafted", "accepted", "verify_ms", "seconds"):
        assert data["summary"][key] == end.summary[key]
    assert sum(data["sources"].values()) == end.summary["tokens"]
    assert data["hand_over_count"] == sum(s.reason is not None for s in steps)
    rounds = [s for s in steps if s.drafted]
    assert data["acceptance"] == [
        {"position": 1, "proposed": len(rounds), "accepted": sum(s.accepted for s in rounds)}
    ]
    entropies = sorted((t.entropy or 0 for s in steps for t in s.tokens), reverse=True)
    assert [d["entropy"] for d in data["doubtful"]] == entropies[:10]


def test_a_trace_that_lies_is_told_so(tmp_path: Path) -> None:
    *events, end = events_of(TEXT)
    assert isinstance(end, End)
    lie = End({**end.summary, "tokens": 9_999, "own_ms": "much"})
    out = look(write_trace(tmp_path / "t.jsonl", [*events, lie])).out
    assert "the closing line says tokens = 9999, the steps give" in out
    assert "own_ms = much" in out


def test_older_traces_counted_what_no_model_wrote_for_the_small_one(tmp_path: Path) -> None:
    """That was a fault of the closing line; it is not held against the trace."""
    steps = [Step("wake", (Token(1, "lookup"), Token(2, "large")))]
    tally = Tally(START.strategy, START.guarantee)
    tally.add(steps[0], 0.0)
    claimed = tally.summary(1.0) | {"small_tokens": 1}
    path = write_trace(tmp_path / "new.jsonl", [START, *steps, End(claimed)])
    assert "the closing line says small_tokens = 1, the steps give 0" in look(path).out
    del claimed["tokens_by_source"]
    path = write_trace(tmp_path / "old.jsonl", [START, *steps, End(claimed)])
    assert "the closing line says" not in look(path).out


def test_a_trace_that_is_cut_off_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", events_of("all of this\nis there"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 40])
    outcome = look(path)
    assert outcome.code == 1 and "all of this" in outcome.out and "no closing line" in outcome.out
    assert "the trace is cut off here" in outcome.err and outcome.err.count("\n") == 1
    outcome = look(path, "--json")
    assert outcome.code == 1 and "cut off" in json.loads(outcome.out)["error"]


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    failure = Failure("no \x1b[2Jmemory", 1)
    assert "The run failed\nno ␛[2Jmemory" in look(write_trace(tmp_path / "a", [failure])).out
    out = look(write_trace(tmp_path / "b", [START, Step("draft"), failure])).out
    assert "The run failed" in out and "Summary" in out


def test_one_step_in_full(tmp_path: Path) -> None:
    record = TreeRecord(
        (5, 6, 7, 8), (-1, 0, 0, 1), (0.9, 0.6, 0.3, None), (0, 2), ("a", " b", " c", "\x1b[m")
    )
    tokens = (
        Token(5, "small", "accepted", 0.1, 0.8, 0.9, "a"),
        Token(7, "small", "accepted", 1.9, 0.1, 0.3, " c"),
        Token(9, "large", "corrected", 0.5, 0.2, 0.6, "!"),
    )
    wake = Step("wake", tokens, drafted=4, accepted=2, reason="unsure", detail=record)
    path = write_trace(tmp_path / "t.jsonl", [START, Step("prompt"), wake, End({})])
    outcome = look(path, "--step", 2)
    assert outcome.code == 0 and visible(outcome.out)
    tree = outcome.out[outcome.out.index("Tree of drafts") :].splitlines()
    assert tree[1:] == [
        "4 nodes, 3 levels; ✓ stood, ✗ did not",
        "└─ ✓ 'a' 0.90",
        "   ├─ ✗ ' b' 0.60 → '\\x1b[m'",
        "   └─ ✓ ' c' 0.30",
    ]
    data = json.loads(look(path, "--step", 2, "--json").out)
    assert data["event"]["tree"]["accepted"] == [0, 2] and data["place"] == 0
    outcome = look(path, "--step", 3)
    assert (outcome.code, outcome.out) == (2, "") and "the trace has 2 steps" in outcome.err
    doubtful = json.loads(look(path, "--json").out)["doubtful"]
    assert doubtful[0]["alternatives"] == [{"text": "' b'", "probability": 0.6}]
    assert doubtful[1]["runner_up"] == pytest.approx(0.4)


def test_the_second_likeliest_is_named_only_where_it_is_certain() -> None:
    assert runner_up(Token(1, "large", margin=0.5, probability=0.7)) == pytest.approx(0.2)
    for margin, p in ((0.1, 0.5), (None, 0.9), (0.1, None), (0.9, 0.8), (-1, 0.9), (0, 2.0)):
        assert runner_up(Token(1, "large", margin=margin, probability=p)) is None


@st.composite
def trees(draw_: Any) -> CheckedTree:
    size = draw_(st.integers(1, 40))
    parents = [draw_(st.integers(-1, node - 1)) for node in range(size)]
    path, node = [], draw_(st.integers(-1, size - 1))
    while node != -1:
        path.append(node)
        node = parents[node]
    texts = tuple(f"n{node}" for node in range(size))
    return check_tree(
        TreeRecord(tuple(range(size)), tuple(parents), (None,) * size, tuple(path[::-1]), texts)
    )


@given(trees())
def test_every_node_is_drawn_once_and_marked_right(tree: CheckedTree) -> None:
    marks = {}
    for line in draw(tree):
        mark, _, names = line.lstrip("│ └├─").partition(" ")
        marks.update(dict.fromkeys(names.split(" → "), mark))
    expected = {f"'n{n}'": "✓" if n in tree.accepted else "✗" for n in range(len(tree))}
    assert marks == expected


@pytest.mark.parametrize(
    ("parents", "accepted", "said"),
    [
        ((0,), (), "node 0 has the parent 0"),
        ((-1, 5), (), "node 1 has the parent 5"),
        ((-2,), (), "node 0 has the parent -2"),
        ((-1,), (1,), "not a path in it"),
        ((-1, -1), (0, 1), "not a path in it"),
        ((-1,), (-1,), "not a path in it"),
    ],
)
def test_broken_trees_are_named_and_nothing_more(
    parents: tuple[int, ...], accepted: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    record = TreeRecord(tuple(range(len(parents))), parents, (), accepted)
    path = write_trace(tmp_path / "t.jsonl", [START, Step("wake", detail=record)])
    assert "it cannot be read: " in (out := look(path, "--step", 1).out) and said in out
    assert "1 tree in it cannot be read" in look(path).out


def test_deep_and_wide_trees_are_cut(tmp_path: Path) -> None:
    many = 30_000
    for parents in (
        tuple(range(-1, many - 1)),
        (-1,) * many,
        (-1, *(n // 2 for n in range(many - 1))),
    ):
        record = TreeRecord(tuple(range(many)), parents, (), ())
        path = write_trace(tmp_path / "t.jsonl", [START, Step("wake", drafted=many, detail=record)])
        assert len(look(path, "--step", 1).out) < 50_000 and look(path).code == 0


def test_a_long_trace_is_read_in_little_memory() -> None:
    def long() -> Iterator[Event]:
        yield START
        record = TreeRecord((1, 2), (-1, 0), (0.5, 0.5), (0,), ("a", "b"))
        for number in range(8_000):
            token = Token(number, "small", "accepted", number % 7 / 3, 0.5, 0.6, "word ")
            yield Step("wake", (token,), drafted=2, accepted=1, reason=f"r{number}", detail=record)

    shown = []
    tracemalloc.start()
    try:
        look_through(long(), Rows(100, escapes=True, colour=True), lambda _: None, shown.append)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000 and len(shown) > 5


def test_standard_input_is_a_trace_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_trace(tmp_path / "t.jsonl", events_of("some text"))
    stream = io.TextIOWrapper(io.BytesIO(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert "some text" in look("-").out


def test_flags_of_traces_are_refused_elsewhere() -> None:
    outcome = look("practice:small", "--step", 1)
    assert (outcome.code, outcome.out) == (2, "") and "--step is for traces" in outcome.err


# no shrinking: an example is a whole run of the command, and a failure says enough as it is
slow = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
FILE = {"path": Path()}


@pytest.fixture(autouse=True)
def file(tmp_path: Path) -> None:
    FILE["path"] = tmp_path / "fuzzed.jsonl"


def check(content: bytes) -> None:
    """Whatever is in a trace: output without control characters, at most one line of error."""
    FILE["path"].write_bytes(content)
    for more in ((), ("--json",), ("--step", 1)):
        outcome = look(FILE["path"], *more)
        assert outcome.code in (0, 1, 2), outcome.err
        assert visible(outcome.out) and outcome.err.count("\n") == (outcome.code != 0)
        assert "unexpected" not in outcome.err


@slow
@given(st.lists(step | event, max_size=6))
def test_any_events(events: list[Event]) -> None:
    check("".join(encode_line(e) + "\n" for e in [START, *events]).encode())


@slow
@given(st.binary(max_size=80) | st.lists(pieces, max_size=30).map(lambda p: "".join(p).encode()))
def test_any_bytes(content: bytes) -> None:
    check(content)
    check(b"{" + content)
    check(encode_line(START).encode() + b"\n" + content)


@slow
@given(st.lists(step, min_size=1, max_size=3), st.data())
def test_any_damage_to_the_bytes(steps: list[Step], data: st.DataObject) -> None:
    content = bytearray("".join(encode_line(e) + "\n" for e in [START, *steps]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(content))


def test_a_survey_of_nothing_has_no_figures() -> None:
    survey = Survey()
    survey.add(Start("", "", "", None, {}, {}, {}, "", 0, 0))
    assert survey.data()["acceptance"] == [] and survey.data()["mean_entropy"] is None
