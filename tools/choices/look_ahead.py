"""AdaDec on held-out problems: the gain in accuracy by candidates (B) and look-ahead (L).

    python -m tools.choices.look_ahead -n 300 --trigger-rate 0.03

The threshold is learned on known solutions of the train split, as in the paper; --trigger-rate asks
for a share of the positions to pause instead. All settings answer the same problems. A cell is the
gain over greedy decoding in points with its paired 95 % interval, problems won and lost, and the
tokens fed as a multiple of greedy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.prompt import encode_prompt
from adec.answering.session import Question, Session, open_session
from adec.benchmark.columns import points
from adec.benchmark.statistics import Gain
from adec.cli.failures import exit_code_of, leave
from adec.decoding.search.threshold import Threshold, learn_threshold, observe
from adec.engines.base import OpenOptions
from adec.judging.matches import code_of
from adec.judging.sandbox import passes
from adec.practice.tasks import Problem, problems
from tools.script import add_look_ahead, add_model, add_problems, arguments_of, counted, table_of

CONTEXT = 512
LONGEST = 160


@dataclass
class Row:
    """One setting: which answers were right, and what was fed for them."""

    session: Session
    right: list[bool] = field(default_factory=list)
    fed: int = 0
    pauses: int = 0
    chosen: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn the threshold, run every setting, print a table a family."""
    parser = arguments_of(__doc__)
    add_problems(parser, 300)
    add_model(parser, threads=1)
    add_look_ahead(parser, candidates=range(2, 6), ahead=range(1, 10))
    parser.add_argument("--learn", type=int, default=300, help="problems to learn from (300)")
    parser.add_argument("--trigger-rate", type=float, help="share of positions that pause")
    parser.add_argument("--weight", type=float, default=1.0, help="of the look-ahead (1)")
    chosen = parser.parse_args(arguments)
    machine = OpenOptions(context=CONTEXT, threads=chosen.threads)
    with open_session(plan(Choice(model=chosen.model, strategy="plain")), machine) as greedy:
        for family in chosen.family or ("word problems", "functions"):
            known = islice(problems("train", chosen.seed, [family]), chosen.learn)
            learned = learn(greedy, list(known), chosen.trigger_rate)
            asked = list(islice(problems("test", chosen.seed, [family]), chosen.n))
            grid = [(width, depth) for depth in chosen.ahead for width in chosen.candidates]
            rows = run(greedy, chosen.model, learned.nats, grid, asked, chosen.weight)
            print(table(family, learned, rows), flush=True)


def learn(session: Session, known: Sequence[Problem], trigger_rate: float | None) -> Threshold:
    """The threshold of the session's model from problems with known solutions."""
    engine = session.engines["large"]
    end = min(engine.vocabulary.end)
    seen = []
    for problem in known:
        prompt, _ = encode_prompt(engine, problem.prompt)
        seen.append(
            observe(
                engine, prompt, [*engine.tokenizer.encode(problem.solution, special=False), end]
            )
        )
    entropies, right = (np.concatenate(values) for values in zip(*seen, strict=True))
    return learn_threshold(entropies, right, trigger_rate=trigger_rate)


def run(
    greedy: Session,
    model: str,
    threshold: float,
    grid: Sequence[tuple[int, int]],
    asked: Sequence[Problem],
    weight: float = 1.0,
) -> dict[tuple[int, int], Row]:
    """All settings on one loaded model, by (candidates, look-ahead); (1, 0) is greedy."""
    rows = {(1, 0): Row(greedy)}
    for width, depth in grid:
        values = {
            "threshold": threshold, "candidates": width, "ahead": depth, "weight": weight
        }  # fmt: skip
        words = tuple(f"adadec.{name}={value!r}" for name, value in values.items())
        made = plan(Choice(model=model, strategy="adadec", assignments=words))
        rows[width, depth] = Row(Session(made, greedy.engines, 0.0))
    for problem in counted(asked):
        judged: dict[str, bool] = {}
        sure = False
        for key, row in rows.items():
            if not sure:
                text, summary = row.session.reply(
                    Question(problem.prompt, max_tokens=LONGEST, signals=False)
                )
                # an answer without an unsure place is the same under every other setting
                sure = key != (1, 0) and summary["pauses"] == 0
            if text not in judged:
                judged[text] = _is_right(problem, text)
            row.right.append(judged[text])
            row.fed += summary["large_fed"]
            row.pauses += summary["pauses"]
            row.chosen += summary["chosen"]
    return rows


def table(family: str, learned: Threshold, rows: dict[tuple[int, int], Row]) -> str:
    """A grid: look-ahead down, candidates across."""
    greedy = rows[1, 0]
    count = len(greedy.right)
    widths, depths = (sorted({key[i] for key in rows if key != (1, 0)}) for i in (0, 1))
    most = rows[widths[-1], depths[-1]]
    lead = (
        f"{family}: greedy is right in {sum(greedy.right)} of {count} "
        f"({100 * np.mean(greedy.right):.1f} %). Threshold {learned.nats:.3f} nats "
        f"(p* = {learned.cut:.2f}; {100 * learned.trigger_rate:.1f} % of {learned.positions} "
        f"known positions). With B = {widths[-1]}, L = {depths[-1]}: "
        f"{most.pauses / count:.2f} pauses an answer, "
        f"{most.chosen / count:.2f} won by another token than the likeliest."
    )
    cells = (
        [str(depth), *(_cell(greedy, rows[width, depth]) for width in widths)] for depth in depths
    )
    heads = ["L", *(f"B = {width}" for width in widths)]
    return f"{lead}\n\n{table_of(heads, cells, left=0)}\n"


def gain(first: Sequence[bool], second: Sequence[bool]) -> Gain:
    """Of the second over the first on the same problems."""
    pairs = list(zip(first, second, strict=True))
    return Gain(sum(b and not a for a, b in pairs), sum(a and not b for a, b in pairs), len(pairs))


def _is_right(problem: Problem, text: str) -> bool:
    """As `Problem.check`, with patience: a busy machine must not make code wrong."""
    if problem.form == "code":
        return passes(code_of(text), problem.tests, seconds=20.0)
    return problem.check(text)


def _cell(greedy: Row, row: Row) -> str:
    found = gain(greedy.right, row.right)
    return f"{points(found)} {found.won}:{found.lost} {row.fed / greedy.fed:.2f}x"


if __name__ == "__main__":
    leave(exit_code_of(main))
