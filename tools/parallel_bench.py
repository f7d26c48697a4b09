"""How far rules adapt to tasks whose words depend on each other, and what an ideal model reaches.

    python -m tools.parallel_bench --model practice:canvas --strategies threshold entropy \
        --beside practice:large

Each kind of ParallelBench (`--task parallelbench` of `adec bench`) is answered by every strategy,
prompt by prompt in turn. C is the conditional total correlation of an answer's words given the
prompt, in nats: at 0 all words may be written at once. *words a forward*: words of the answer over
forwards that wrote it; a rule that adapts writes fewer where C is greater. *limit*: the share of
right answers of an ideal model that draws so many words at once, of lists as long as these; between
two whole numbers of words it is interpolated. An autoregressive model writes one token a forward,
so its limit is always 100 %; `--beside` names such a model, which answers the same prompts plainly.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean

from adec.answering.choice import Choice
from adec.answering.plan import Plan, plan_yardstick
from adec.answering.session import Question, Session, open_session
from adec.benchmark.tasks import dependence, parallelbench
from adec.benchmark.tasks.parallelbench import KINDS, dependence_of, limit
from adec.benchmark.tasks.puzzles import ORDER, PUZZLES
from adec.benchmark.tasks.task import Task
from adec.cli.failures import exit_code_of, leave
from adec.engines.base import OpenOptions
from adec.events.records import End, Step
from tools.script import add_model, arguments_of, table_of

HEADS = ("kind", "C, nats", "strategy", "right", "words a forward", "limit", "tokens a forward")


@dataclass(frozen=True)
class Reply:
    """One answer."""

    right: bool
    size: int
    words: int
    tokens: int
    forwards: int


@dataclass(frozen=True)
class Row:
    """A strategy of a model, and its answers by kind."""

    name: str
    session: Session
    plan: Plan
    replies: defaultdict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))


def rows_of(session: Session, strategies: Sequence[str], suffix: str) -> list[Row]:
    """The model's yardstick, and then these strategies."""
    base = session.plan
    rows = []
    for word in dict.fromkeys([base.method.name, *strategies]):
        name, _, rest = word.partition(":")
        settings = tuple(f"{name}.{part}" for part in rest.split("+") if part)
        rows.append(Row(word + suffix, session, base.with_strategy(name, settings)))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = arguments_of(__doc__)
    add_model(parser, threads=1)
    parser.add_argument("--strategies", nargs="+", default=[], metavar="NAME[:SETTING=VALUE+...]")
    parser.add_argument("--beside", nargs="+", default=[], metavar="MODEL")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND")
    parser.add_argument("-n", type=int, default=5, help="prompts a kind (5)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens at most (64)")
    parser.add_argument("--seed", type=int, default=2026, help="of the prompts (2026)")
    parser.add_argument(
        "--task", choices=("parallelbench", "dependence"), default="parallelbench",
        help="with an example before each, or the lists that the practice models know",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    options = OpenOptions(threads=chosen.threads)
    with ExitStack() as stack:
        rows = [
            row
            for model in (chosen.model, *chosen.beside)
            for row in rows_of(
                stack.enter_context(open_session(plan_yardstick(Choice(model=model)), options)),
                chosen.strategies if model == chosen.model else (),
                f" ({model})" if chosen.beside else "",
            )
        ]
        make = parallelbench.tasks if chosen.task == "parallelbench" else dependence.tasks
        kinds = [k for k in chosen.kinds if make is parallelbench.tasks or k in dependence.PROMPTS]
        for task in islice(make(chosen.seed, kinds), chosen.n * len(kinds)):
            for row in rows:
                row.session.take(row.plan)
                row.replies[task.kind].append(answered(row.session, task, chosen.tokens))
    print(
        table_of(
            HEADS,
            [cells(kind, row.name, row.replies[kind]) for kind in kinds for row in rows],
            left=3,
        )
    )


def answered(session: Session, task: Task, most: int) -> Reply:
    """Answer a task, and count."""
    tokens = forwards = 0
    text: list[str] = []
    for event in session.answer(Question(task.prompt, max_tokens=most, signals=False)):
        if isinstance(event, Step):
            text += [token.text for token in event.tokens]
            forwards += sum(f.purpose != "prompt" for f in event.forwards)
        elif isinstance(event, End):
            tokens = event.summary["tokens"]
    reply = "".join(text)
    right = bool(task.judge(reply, allow_exec=False))
    return Reply(right, len(task.answer.split()), len(reply.split()), tokens, max(1, forwards))


def cells(kind: str, strategy: str, replies: Sequence[Reply]) -> list[str]:
    """A row of the table."""
    rate = sum(reply.words for reply in replies) / sum(reply.forwards for reply in replies)
    known = [dependence_of(kind, reply.size) for reply in replies]
    nats = [value for value in known if value is not None]
    reached = [] if not nats else [limit_at(kind, reply.size, rate) for reply in replies]
    return [
        kind,
        f"{fmean(nats):.2f}" if nats else "-",
        strategy,
        f"{sum(reply.right for reply in replies)} of {len(replies)}",
        f"{rate:.2f}",
        f"{100 * fmean(reached):.0f} %" if reached else "-",
        f"{sum(r.tokens for r in replies) / sum(r.forwards for r in replies):.2f}",
    ]


def limit_at(kind: str, size: int, words: float) -> float:
    """The limit at a number of words that is not whole; below one word it is all."""
    longest = ORDER**2 if kind in PUZZLES else size + 1
    low = min(longest, max(1, math.floor(words)))
    high = min(longest, low + 1)
    share = min(1.0, max(0.0, words - low))
    return (1 - share) * limit(kind, size, low) + share * limit(kind, size, high)


if __name__ == "__main__":
    leave(exit_code_of(main))
