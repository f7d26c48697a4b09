"""Rules of a diffusion model side by side, and beside other models: accuracy, forwards and time.

    python -m tools.canvas_table practice:canvas=steps practice:canvas=threshold:probability=0.8 \\
        practice:canvas=entropy practice:large=plain -n 125 --json rows.jsonl

A row is MODEL=STRATEGY, perhaps with settings. Every row answers a held-out problem before the next
problem begins, in turns that begin with another row each time. Times are processor time of this
process and time on the wall, as multiples of the first row's on the same problem: the median, and
where the middle half lies. *same*: answers that are the first row's, letter for letter. With --json
each answer is a line of that file, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time

import msgspec

from adec.answering.choice import Choice
from adec.answering.plan import plan_yardstick
from adec.answering.session import Question, Session, open_session
from adec.benchmark.statistics import Share
from adec.cli.failures import exit_code_of, leave
from adec.engines.base import OpenOptions
from adec.errors import UsageError
from adec.events.records import Step
from adec.practice.tasks import FAMILIES, Problem
from tools.evaluate import held_out
from tools.script import add_problems, arguments_of, counted, table_of

HEADS = ("row", "right", "95 %", "same", "forwards", "tokens a forward", "processor time", "time")


class Line(msgspec.Struct, frozen=True):
    """One answer of one row."""

    problem: int
    row: str
    text: str
    right: bool
    tokens: int
    forwards: int
    processor: float
    """Seconds; likewise `wall`."""
    wall: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = arguments_of(__doc__)
    parser.add_argument("rows", nargs="+", metavar="MODEL=STRATEGY")
    add_problems(parser, count=25)
    parser.add_argument("--tokens", type=int, default=160, help="tokens at most (160)")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--json", type=Path, help="a file of lines, one an answer")
    chosen = parser.parse_args(arguments)
    asked = held_out(chosen.n, chosen.family or tuple(FAMILIES), chosen.seed)
    lines = _kept(chosen.json)
    known = {(line.problem, line.row) for line in lines}
    names = list(dict.fromkeys(chosen.rows))
    with ExitStack() as stack:
        rows = _open(names, chosen.threads, stack)
        for number, problem in enumerate(counted(asked)):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                if (number, name) not in known:
                    lines.append(_answered(number, name, rows[name], problem, chosen.tokens))
                    _keep(chosen.json, lines[-1])
    print(f"{len(asked)} problems\n")
    print(table_of(HEADS, [_cells(name, names[0], lines) for name in names]))


def _open(names: Sequence[str], threads: int, stack: ExitStack) -> dict[str, Session]:
    """A session a row; rows of one model share its weights. Raises AdecError."""
    rows = {}
    for name in names:
        model, mark, strategy = name.partition("=")
        if not mark:
            raise UsageError(f"{name!r} is no MODEL=STRATEGY")
        method, _, rest = strategy.partition(":")
        settings = tuple(f"{method}.{part}" for part in rest.split("+") if part)
        opened = open_session(plan_yardstick(Choice(model=model)), OpenOptions(threads=threads))
        session = stack.enter_context(opened)
        session.take(session.plan.with_strategy(method, settings))
        rows[name] = session
    return rows


def _answered(number: int, row: str, session: Session, problem: Problem, most: int) -> Line:
    began, wall = process_time(), perf_counter()
    text: list[str] = []
    tokens = forwards = 0
    for event in session.answer(Question(problem.prompt, max_tokens=most, signals=False)):
        if isinstance(event, Step):
            text += [token.text for token in event.tokens]
            tokens += len(event.tokens)
            forwards += len(event.forwards)
    took = process_time() - began, perf_counter() - wall
    reply = "".join(text)
    return Line(number, row, reply, problem.check(reply), tokens, forwards, *took)


def _cells(name: str, first: str, lines: Sequence[Line]) -> list[str]:
    own = {line.problem: line for line in lines if line.row == name}
    beside = {line.problem: line for line in lines if line.row == first}
    both = [(own[n], beside[n]) for n in own if n in beside]
    share = Share(sum(line.right for line in own.values()), len(own))
    low, high = share.interval
    forwards, tokens = (
        sum(line.forwards for line in own.values()),
        sum(line.tokens for line in own.values()),
    )
    return [
        name,
        f"{share.part} of {share.count}",
        f"{100 * low:.0f} to {100 * high:.0f}",
        str(sum(a.text == b.text for a, b in both)),
        f"{forwards / len(own):.1f}",
        f"{tokens / max(1, forwards):.2f}",
        _spread([a.processor / b.processor for a, b in both]),
        _spread([a.wall / b.wall for a, b in both]),
    ]


def _spread(ratios: Sequence[float]) -> str:
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}"
    low, _, high = quantiles(ratios, n=4)
    return f"{median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def _kept(path: Path | None) -> list[Line]:
    if path is None or not path.exists():
        return []
    return [msgspec.json.decode(line, type=Line) for line in path.read_bytes().splitlines()]


def _keep(path: Path | None, line: Line) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(msgspec.to_builtins(line)) + "\n")


if __name__ == "__main__":
    leave(exit_code_of(main))
