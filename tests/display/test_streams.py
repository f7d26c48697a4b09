"""Plain text, JSON, the trace, the status line and the closing lines."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.display import Several
from adec.display.sanitise import sanitise
from adec.display.status import StatusLine
from adec.display.streams import JsonDisplay, JsonLinesDisplay, PlainDisplay
from adec.display.summary_line import CutNotice, SummaryDisplay, folded, summary_lines
from adec.display.trace_file import TraceWriter
from adec.errors import TraceError
from adec.events.codec import read_lines, read_trace
from adec.events.records import End, Event, Failure
from tests.display.fakes import START, events_of

ROOT = Path(__file__).parents[2]
TEXT = "Two words\x1b[1m and é\n漢字 [bold]\n\n"


def run(display: PlainDisplay | JsonDisplay | JsonLinesDisplay, text: str = TEXT) -> None:
    with display:
        for event in events_of(text):
            display.show(event)


@given(st.text(), st.booleans(), st.sampled_from(["end", "error", "ctrl-c", "leave"]))
def test_text_ends_in_a_newline_however_the_run_ends(text: str, terminal: bool, how: str) -> None:
    """In a pipe the text is the model's, with a newline only where it has none; on a terminal it
    ends in exactly one."""
    out = io.StringIO()
    *steps, end = events_of(text)
    with suppress(KeyboardInterrupt), PlainDisplay(out, terminal=terminal) as display:
        for event in steps:
            display.show(event)
        if how in ("end", "error"):
            # a closing line on stderr comes next: the text's own line has ended by then
            display.show(end if how == "end" else Failure("out of memory", 1))
            assert out.getvalue()[-1:] in ("", "\n")
        elif how == "ctrl-c":
            raise KeyboardInterrupt
    if terminal:
        body = sanitise(text).rstrip("\n")
        assert out.getvalue() == (body + "\n" if body else "")
    else:
        assert out.getvalue() == text + ("\n" if text and not text.endswith("\n") else "")


def test_plain_sanitized_in_a_pipe() -> None:
    run(PlainDisplay(out := io.StringIO(), terminal=False, sanitized=True))
    assert out.getvalue() == TEXT.replace("\x1b", "␛")


def test_an_encoding_that_lacks_characters() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    run(PlainDisplay(out, terminal=False), "né")
    assert out.buffer.getvalue() == b"n?\n"


def test_json_lines() -> None:
    run(JsonLinesDisplay(out := io.StringIO()))
    lines = out.getvalue()
    assert list(read_lines(io.BytesIO(lines.encode()))) == list(events_of(TEXT))
    kinds = [json.loads(line)["type"] for line in lines.splitlines()]
    assert (kinds[0], kinds[-1]) == ("start", "end")


def test_json_is_one_object() -> None:
    run(JsonDisplay(out := io.StringIO()))
    result = json.loads(out.getvalue())
    assert result["text"] == TEXT
    assert list(result)[:2] == ["text", "summary"]
    assert result["strategy"] == "ead" and result["schema"] == 1
    assert out.getvalue().count("\n") == 1 and out.getvalue().isascii()


def test_json_of_a_failure() -> None:
    display = JsonDisplay(out := io.StringIO())
    for event in [*list(events_of("ab"))[:-1], Failure("no memory", 1)]:
        display.show(event)
    result = json.loads(out.getvalue())
    assert result["text"] == "ab"
    assert result["error"] == {"message": "no memory", "exit_code": 1}


def test_trace(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for text in ("a longer text first", TEXT):  # the second run replaces the first
        with TraceWriter(path) as trace:
            for event in events_of(text):
                trace.show(event)
    assert list(read_trace(path)) == list(events_of(TEXT))


def test_an_old_trace_stays_until_the_new_run_begins(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with TraceWriter(path) as trace:
        trace.show(START)
    with TraceWriter(path) as trace:
        trace.show(Failure("no such model", 1))
    assert list(read_trace(path)) == [START]


def test_a_run_that_fails_before_its_start_is_a_trace(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t.jsonl") as trace:
        trace.show(Failure("no such model", 1))
    assert list(read_trace(tmp_path / "t.jsonl")) == [Failure("no such model", 1)]


def test_an_empty_file_becomes_a_trace(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").touch()
    with TraceWriter(tmp_path / "t.jsonl") as trace:
        trace.show(START)
    assert list(read_trace(tmp_path / "t.jsonl")) == [START]


def test_a_trace_overwrites_only_traces(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    with (
        pytest.raises(TraceError, match=r"exists and is not a trace. Name another"),
        TraceWriter(path),
    ):
        pass
    assert path.read_bytes() == b"GGUF"
    for bad in (tmp_path, tmp_path / "no" / "such"):
        with pytest.raises(TraceError, match="cannot write the trace"), TraceWriter(bad):
            pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_error_and_the_text_goes_on() -> None:
    out, errors = io.StringIO(), 0
    with Several(TraceWriter(Path("/dev/full")), PlainDisplay(out, terminal=False)) as display:
        for event in events_of(TEXT):
            try:
                display.show(event)
            except TraceError as error:
                errors += 1
                assert str(error) == "cannot write the trace /dev/full: No space left on device"
    assert (errors, out.getvalue()) == (1, TEXT)


def test_a_full_disk_keeps_the_lines_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = list(events_of("some text"))
    path, left, real = tmp_path / "t.jsonl", [700], os.write

    def write(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(TraceError, match="No space left"), TraceWriter(path) as trace:
        for event in events:
            trace.show(event)
    found: list[Event] = []
    with pytest.raises(TraceError, match="cut off"):
        found.extend(read_trace(path))
    assert len(found) > 2 and found == events[: len(found)]


def test_status_line() -> None:
    now = [0.0]
    out = io.StringIO()
    with StatusLine(out, clock=lambda: now[0]) as status:
        for event in events_of("words " * 5):
            now[0] += 0.25
            status.show(event)
    drawn = out.getvalue().split("\r\x1b[K")
    assert drawn[1] == "ead · reading the prompt: 2 of 2"
    assert drawn[2].startswith("ead · 1 token · ")
    assert drawn[-1] == ""


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_what_stands_beside_an_answer_ends_it_not_where_it_cannot_be_written() -> None:
    *steps, end = events_of("words " * 5)
    cut = End({**end.summary, "finish": "length"})
    now, full = iter(range(100)), Full()
    for beside in (StatusLine(full, lambda: next(now)), SummaryDisplay(full), CutNotice(full)):
        with Several(PlainDisplay(out := io.StringIO(), terminal=False), beside) as display:
            for event in (*steps, cut):
                display.show(event)
        assert out.getvalue() == "words " * 5 + "\n"


def test_summary() -> None:
    events = list(events_of("words " * 20))
    SummaryDisplay(out := io.StringIO()).show(events[-1])
    first, second = out.getvalue().splitlines()
    assert first.startswith("ead (approximate: no promise; compare with an exact strategy) · ")
    assert "the large model wrote" in second and "wake-ups" in second
    assert "lost" in second or "saved" in second


def test_summary_when_the_large_model_ran_too_seldom() -> None:
    summary = {
        "strategy": "s",
        "guarantee": "exact",
        "tokens": 1,
        "small_forwards": 1,
        "large_fed": 1,
    }
    first, second = summary_lines(summary)
    assert first == "s (exact: what the large model alone would write) · 1 token"
    assert "read 1 in 0 wake-ups" in second
    assert "ran too seldom to tell" in second


@pytest.mark.parametrize("junk", [None, "x", [], {}, True, float("nan"), 1e300, -1])
def test_summary_of_nonsense(junk: object) -> None:
    summary = dict.fromkeys(
        End({}).summary | {"tokens": 0, "seconds": 0, "strategy": 0, "finish": 0}, junk
    )
    assert all("\n" not in line for line in summary_lines(summary))
    assert summary_lines({"strategy": "\x1b[2J"})[0].startswith("␛[2J")


PROGRAM = """
import sys
from adec.display.display_choice import DisplayFlags, choose_display
from tests.display.fakes import events_of
try:
    with choose_display(DisplayFlags()) as display:
        for event in events_of("word\\n" * 20000):
            display.show(event)
    print("rich" in sys.modules, file=sys.stderr)
except BrokenPipeError:
    import os
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
"""


def test_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, cwd=ROOT, check=True
    )
    assert done.stdout == b"word\n" * 20000
    assert done.stderr == b"False\n"


def test_head() -> None:
    command = f"{sys.executable} -c '{PROGRAM}' | head -1"
    done = subprocess.run(
        ["bash", "-c", command.replace('\\n"', '\\n"')], capture_output=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"word\n", b"")


def test_a_change_of_threads_and_a_chosen_format_are_said() -> None:
    change = {"model": "large", "before": 2, "after": 1, "reason": "machine in use"}
    back = {"model": "large", "before": 1, "after": 2, "reason": "machine free\x1b again"}
    summary = {"threads_by_model": {"large": 1}, "dtype_by_model": {"large": "bfloat16"}}
    assert summary_lines(summary)[1:] == ["bfloat16 on 1 thread"]
    summary["thread_changes"] = [back, change]
    assert summary_lines(summary)[1:] == ["bfloat16 on 1 thread · threads 2 -> 1: machine in use"]
    pair = {"threads_by_model": {"large": 2, "small": 1}, "thread_changes": [change, back]}
    assert summary_lines(pair)[1:] == ["large: threads 1 -> 2: machine free␛ again"]
    for hostile in ({"thread_changes": [1, {}, {"before": "x"}]}, {"dtype_by_model": [1]}):
        assert all("\n" not in line for line in summary_lines(hostile))


LONG = {
    "strategy": "speculate", "guarantee": "exact", "exactness": "rounding", "exactness_noise": 0.25,
    "tokens": 200, "seconds": 3.1, "tokens_per_second": 64.2, "finish": "length", "drafted": 80,
    "accepted": 50, "large_tokens": 150, "large_fed": 300, "wakes": 90, "saved_seconds": 1.0,
    "tokens_by_source": {"large": 150, "ngram": 50}, "tokens_per_large_forward": 1.3,
    "dtype_by_model": {"large": "bfloat16"}, "threads_by_model": {"large": 1},
}  # fmt: skip


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 120, 1000])
def test_closing_lines_are_broken_between_words_on_a_narrow_terminal(columns: int) -> None:
    lines = summary_lines(LONG)
    parts = [part for line in lines for part in folded(line, columns)]
    assert " ".join(parts).split() == " ".join(lines).split()
    assert all(len(part) <= columns for part in parts)
    assert not any(part.lstrip().startswith("·") for part in parts if columns >= 60)
    assert columns < 1000 or parts == lines


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_closing_lines_fit_the_terminal_and_are_whole_in_a_pipe() -> None:
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        SummaryDisplay(terminal).show(End(LONG))
        shown = os.read(master, 65536).decode().replace("\r\n", "\n")
    os.close(master)
    whole = io.StringIO()
    SummaryDisplay(whole).show(End(LONG))
    assert whole.getvalue() == "\n".join(summary_lines(LONG)) + "\n"
    assert shown.split() == whole.getvalue().split()
    assert all(len(line) <= 60 for line in shown.splitlines())
    assert len(shown.splitlines()) > len(whole.getvalue().splitlines())
