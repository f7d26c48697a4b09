"""Adapted threads against fixed counts, on an idle machine and beside busy processes.

    python -m tools.busy_machine --model SmolLM2-135M-Instruct.Q4_1.gguf

Every round answers one prompt with `plain` once for each row: threads that adapt, then each fixed
count. The model is opened anew each time, as a run does. Busy processes are endless loops, started
and ended here. Shown are medians of the tokens per second over the rounds with their range, and
what adapting reaches of the best fixed count: by those medians, and by whole answers, prompt
included. An answer that takes longer than the limit of seconds is cut there.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from time import monotonic, sleep

from adec.answering.choice import Choice
from adec.answering.plan import Plan, plan
from adec.answering.session import Question, open_session
from adec.cli.failures import exit_code_of, leave
from adec.engines.base import OpenOptions
from adec.events.records import End
from adec.machine import others_steadily, processors
from tools.script import add_model, arguments_of, table_of

PROMPT = "Explain to a child, in ten steps, how a bicycle is built and why it does not fall over."

PATIENCE = 5.0
"""Seconds that an answer waits for other programs."""


@dataclass
class Row:
    """What one choice of threads took beside one number of processes."""

    speeds: list[float] = field(default_factory=list)
    """Tokens per second after the first token."""
    whole: list[float] = field(default_factory=list)
    """Seconds for a token of the whole answer, prompt included."""
    changes: int = 0
    """Changes of the number of threads, in all rounds."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = arguments_of(__doc__)
    add_model(parser)
    parser.add_argument("--prompt", default=PROMPT, help="the question")
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1, 2], help="(0 1 2)")
    parser.add_argument("--fixed", type=int, nargs="+", help="counts (1 and all cores)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds an answer (60)")
    parser.add_argument("-n", type=int, default=200, help="tokens at most (200)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"))
    chosen = parser.parse_args(arguments)
    planned = plan(Choice(model=chosen.model, strategy="plain"))
    fixed = chosen.fixed or sorted({1, processors()})
    question = Question(chosen.prompt, max_tokens=chosen.n, signals=False)
    lines, disturbed = [], 0
    for beside in chosen.beside:
        rows: defaultdict[int | None, Row] = defaultdict(Row)
        with busy(beside):
            for _ in range(chosen.rounds):
                for threads in (None, *fixed):
                    disturbed += not calm(beside)
                    options = OpenOptions(threads=threads, dtype=chosen.dtype)
                    answer(planned, options, question, chosen.limit, rows[threads])
        lines.append(cells(beside, rows, fixed))
    heads = [f"{count} thread{'s' * (count > 1)}" for count in fixed]
    print(f"{planned.models['large'].info.name}, {chosen.rounds} rounds, tokens per second\n")
    table = ["busy processes", "adapted", "changes", *heads, "of the best", "whole answers"]
    print(table_of(table, lines))
    answers = len(chosen.beside) * chosen.rounds * (1 + len(fixed))
    print(f"\n{disturbed} of {answers} answers began beside other programs than these")


def calm(beside: int) -> bool:
    """Wait until no more threads than `beside` want a core; False if that takes too long."""
    end = monotonic() + PATIENCE
    while (others_steadily() or 0) > beside:
        if monotonic() > end:
            return False
        sleep(0.1)
    return True


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run as many endless loops meanwhile."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        sleep(1.0 if count else 0.0)
        yield


def answer(planned: Plan, options: OpenOptions, question: Question, limit: float, row: Row) -> None:
    """Answer once, and add what it took to a row."""
    with open_session(planned, options) as session:
        for event in session.answer(question, interrupted=_after(limit)):
            if isinstance(event, End):
                summary = event.summary
                row.speeds.append(summary["tokens_per_second"])
                row.whole.append(summary["seconds"] / max(1, summary["tokens"]))
                row.changes += len(summary.get("thread_changes", ()))


def cells(beside: int, rows: dict[int | None, Row], fixed: Sequence[int]) -> list[str]:
    """One row of the table."""
    adapted = rows[None]
    best = max(median(rows[count].speeds) for count in fixed)
    shortest = min(median(rows[count].whole) for count in fixed)
    return [
        str(beside),
        _spread(adapted.speeds),
        str(adapted.changes),
        *(_spread(rows[count].speeds) for count in fixed),
        f"{median(adapted.speeds) / best:.2f}" if best else "",
        f"{shortest / median(adapted.whole):.2f}",
    ]


def _spread(speeds: Sequence[float]) -> str:
    return f"{median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})"


def _after(seconds: float) -> Callable[[], bool]:
    end = monotonic() + seconds
    return lambda: monotonic() > end


if __name__ == "__main__":
    leave(exit_code_of(main))
