"""A strategy's own time: processor time of an answer that no forward takes, per token.

    python -m tools.own_time --model smollm2 --task spec-bench.jsonl --strategies plain speculate

Own time is everything between two forwards: asking drafters, weighing their trees, learning, caches
that are cut, records, texts. It is what drafting may cost where it gains nothing, so it is held
against a forward of plain decoding. Counted is the processor time of this process, not the clock on
the wall: a busy machine adds little to it. Prompt by prompt every strategy answers once, in turns
that begin with another one each time. Shown are medians over the prompts, with their range.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from adec.answering.choice import Choice
from adec.answering.plan import plan_yardstick
from adec.answering.session import Question, Session, open_session
from adec.benchmark.tasks.task_files import read_tasks
from adec.cli.failures import exit_code_of, leave
from adec.engines.base import Engine, OpenOptions
from adec.events.records import End
from adec.practice.tasks import problems
from tools.script import add_model, arguments_of, table_of

HEADS = (
    "strategy",
    "own µs a token",
    "own, of forwards",
    "of a plain token",
    "forwards ms a token",
    "tokens",
)


@dataclass(frozen=True)
class Answer:
    """What one answer took, in seconds of the processor."""

    own: float
    forwards: float
    tokens: int


class ForwardTimer:
    """Adds up what the forwards of engines take, from here on."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.seconds = 0.0
        for engine in engines:
            for name in ("forward", "forward_tree", "canvas_scores", "canvas_batch"):
                if not hasattr(engine, name):
                    continue
                setattr(engine, name, self._timed(getattr(engine, name)))

    def _timed(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            began = process_time()
            try:
                return forward(*arguments, **options)
            finally:
                self.seconds += process_time() - began

        return timed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = arguments_of(__doc__)
    add_model(parser, threads=1)
    parser.add_argument("--small", help="a small model that drafts for it")
    parser.add_argument("--task", type=Path, help="a file of prompts (practice problems)")
    parser.add_argument("--strategies", nargs="+")
    parser.add_argument("-n", type=int, default=13, help="prompts, spread over the file (13)")
    parser.add_argument("--tokens", type=int, default=100, help="tokens at most (100)")
    chosen = parser.parse_args(arguments)
    models = (
        Choice(model=chosen.model)
        if chosen.small is None
        else Choice(small=chosen.small, large=chosen.model)
    )
    base = plan_yardstick(models)
    first = base.method.name
    given = chosen.strategies or (["speculate"] if first == "plain" else ["threshold"])
    names = list(dict.fromkeys([first, *given]))
    found: defaultdict[str, list[Answer]] = defaultdict(list)
    with open_session(base, OpenOptions(threads=chosen.threads)) as session:
        plans = {name: session.plan.with_strategy(name) for name in names}
        timer = ForwardTimer([engine for _, engine in session.engines.items()])
        for number, prompt in enumerate(prompts(chosen.task, chosen.n)):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                session.take(plans[name])
                question = Question(prompt, max_tokens=chosen.tokens, signals=False)
                found[name].append(timed(session, question, timer))
        print(f"{session.engines['large'].info.name}, {len(found[first])} prompts\n")
    print(table_of(HEADS, [cells(name, found[name], found[first]) for name in names]))


def prompts(path: Path | None, count: int) -> Iterator[str]:
    """`count` prompts of a file, evenly spread over it, or as many practice problems."""
    if path is None:
        yield from (problem.prompt for problem in islice(problems("test", 0), count))
        return
    tasks = list(read_tasks(path))
    for place in range(min(count, len(tasks))):
        yield tasks[place * len(tasks) // min(count, len(tasks))].prompt


def timed(session: Session, question: Question, timer: ForwardTimer) -> Answer:
    """Answer a question, and count."""
    began, before, tokens = process_time(), timer.seconds, 0
    for event in session.answer(question):
        if isinstance(event, End):
            tokens = event.summary["tokens"]
    forwards = timer.seconds - before
    return Answer(process_time() - began - forwards, forwards, tokens)


def cells(name: str, answers: Sequence[Answer], plain: Sequence[Answer]) -> list[str]:
    """A row of the table."""
    own = [1e6 * answer.own / max(1, answer.tokens) for answer in answers]
    forwards = [1e3 * answer.forwards / max(1, answer.tokens) for answer in answers]
    beside = 1e3 * median(answer.forwards / max(1, answer.tokens) for answer in plain)
    return [
        name,
        f"{median(own):.0f} [{min(own):.0f}, {max(own):.0f}]",
        f"{100 * sum(a.own for a in answers) / sum(a.forwards for a in answers):.1f} %",
        f"{median(own) / beside / 10:.1f} %",
        f"{median(forwards):.2f}",
        str(sum(answer.tokens for answer in answers)),
    ]


if __name__ == "__main__":
    leave(exit_code_of(main))
