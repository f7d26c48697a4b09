"""How far rules adapt to tasks whose words depend on each other, and what an ideal model reaches.

    python -m tools.parallel_bench --model practice:canvas --strategies steps threshold entropy

Each kind of ParallelBench (`--task parallelbench` of `adec bench`) is answered by every strategy,
prompt by prompt in turn. C is the conditional total correlation of an answer's words given the
prompt, in nats: at 0 all words may be written at once. *words a forward*: words of the answer over
forwards that wrote it; a rule that adapts writes fewer where C is greater. *limit*: the share of
right answers of an ideal model that draws so many words at once, of lists as long as these; between
two whole numbers of words it is interpolated. An autoregressive model writes one token a forward,
so its limit is always 100 %.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

from adec.answering.choice import Choice
from adec.answering.plan import plan_yardstick
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = arguments_of(__doc__)
    add_model(parser, threads=1)
    parser.add_argument("--strategies", nargs="+", default=[], metavar="NAME[:SETTING=VALUE+...]")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND")
    parser.add_argument("-n", type=int, default=5, help="prompts a kind (5)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens at most (64)")
    parser.add_argument("--seed", type=int, default=2026, help="of the prompts (2026)")
    parser.add_argument(
        "--task", choices=("parallelbench", "dependence"), default="parallelbench",
        help="with an example before each, or the lists that the practice models know",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    found: defaultdict[tuple[str, str], list[Reply]] = defaultdict(list)
    options = OpenOptions(threads=chosen.threads)
    with open_session(plan_yardstick(Choice(model=chosen.model)), options) as session:
        base = session.plan
        names = list(dict.fromkeys([base.method.name, *chosen.strategies]))
        plans = {}
        for word in names:
            name, _, rest = word.partition(":")
            settings = tuple(f"{name}.{part}" for part in rest.split("+") if part)
            plans[word] = base.with_strategy(name, settings)
        make = parallelbench.tasks if chosen.task == "parallelbench" else dependence.tasks
        kinds = [k for k in chosen.kinds if make is parallelbench.tasks or k in dependence.PROMPTS]
        stream = islice(make(chosen.seed, kinds), chosen.n * len(kinds))
        for task in stream:
            for word in names:
                session.take(plans[word])
                found[task.kind, word].append(answered(session, task, chosen.tokens))
    print(
        table_of(
            HEADS,
            [cells(kind, word, found[kind, word]) for kind in kinds for word in names],
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
