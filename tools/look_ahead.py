"""AdaDec on held-out problems of the practice models, over candidates and look-ahead, as Markdown tables.

    python -m tools.look_ahead -n 300

The threshold is learned on problems of the train split, teacher-forced, as in the paper; --trigger-rate asks for a share of
positions that pause instead. Every setting answers the same problems; a cell is the difference in accuracy to greedy decoding with
its paired 95 % interval, problems won and lost, and the tokens fed as a multiple of greedy's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.prompt import encode_prompt
from adec.answering.session import Question, Session, open_session
from adec.benchmark.formats import points
from adec.benchmark.statistics import Gain
from adec.decoding.search.threshold import Threshold, learn_threshold, observe
from adec.engines.base import OpenOptions
from adec.judging.matches import code_of
from adec.judging.sandbox import passes
from adec.practice.tasks import FAMILIES, Problem, problems

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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=300, help="problems a family (default 300)")
    parser.add_argument("--learn", type=int, default=300, help="problems to learn from")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--family", choices=tuple(FAMILIES), action="append")
    parser.add_argument("--model", default="practice:small")
    parser.add_argument("--trigger-rate", type=float, help="share of positions that pause")
    parser.add_argument("--candidates", type=int, nargs="+", default=[2, 3, 4, 5], metavar="B")
    parser.add_argument("--ahead", type=int, nargs="+", default=[*range(1, 10)], metavar="L")
    parser.add_argument("--weight", type=float, default=1.0, help="of the look-ahead")
    parser.add_argument("--threads", type=int, default=1)
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
    for count, problem in enumerate(asked, 1):
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
        if count % 10 == 0:
            print(f"\r{count} of {len(asked)}", end="", file=sys.stderr, flush=True)
    print("\r", end="", file=sys.stderr)
    return rows


def table(family: str, learned: Threshold, rows: dict[tuple[int, int], Row]) -> str:
    """A grid: look-ahead down, candidates across."""
    greedy = rows[1, 0]
    count = len(greedy.right)
    widths, depths = (sorted({key[i] for key in rows if key != (1, 0)}) for i in (0, 1))
    most = rows[widths[-1], depths[-1]]
    lines = [
        f"{family}: greedy is right in {sum(greedy.right)} of {count} ({100 * np.mean(greedy.right):.1f} %). "
        f"Threshold {learned.nats:.3f} nats (p* = {learned.cut:.2f}; {100 * learned.trigger_rate:.1f} % of {learned.positions} "
        f"known positions). With B = {widths[-1]}, L = {depths[-1]}: {most.pauses / count:.2f} pauses an answer, "
        f"{most.chosen / count:.2f} won by another token than the likeliest.",
        "",
        "| L | " + " | ".join(f"B = {width}" for width in widths) + " |",
        "| --: |" + " --: |" * len(widths),
    ]
    for depth in depths:
        cells = [_cell(greedy, rows[width, depth]) for width in widths]
        lines.append(f"| {depth} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


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
    main()
