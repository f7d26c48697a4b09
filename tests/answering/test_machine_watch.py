"""Changes of threads reach the step after which they happened, and the summary."""

from __future__ import annotations

import io

from adec.answering.machine_watch import MachineWatch
from adec.engines.pair import Engines
from adec.events.codec import encode_line, read_lines
from adec.events.records import Step, ThreadChange
from tests.display.fakes import START
from tests.laws import pair


def test_a_change_is_marked_once_and_told_in_the_summary_of_its_answer() -> None:
    small, large = pair()
    watch = MachineWatch(Engines(small=small, large=large))
    step = Step("write")
    large.threads = 2
    assert watch.mark(step) is step
    large.thread_changes = [ThreadChange(4, 2, "machine in use")]
    large.dtype = "bfloat16"
    (change,) = watch.mark(step).threads
    assert change == ThreadChange(4, 2, "machine in use", "large")
    assert watch.mark(step) is step
    assert watch.summary() == {
        "threads_by_model": {"small": None, "large": 2},
        "thread_changes": [{"before": 4, "after": 2, "reason": "machine in use", "model": "large"}],
        "dtype_by_model": {"large": "bfloat16"},
    }
    assert "thread_changes" not in watch.summary()


def test_a_trace_keeps_the_change() -> None:
    step = Step("write", threads=(ThreadChange(2, 1, "machine in use", "large"),))
    lines = "".join(encode_line(event) + "\n" for event in (START, step))
    assert list(read_lines(io.BytesIO(lines.encode())))[1] == step
