"""Accuracy by task of a practice model.

    python -m tools.evaluate adec/practice/models/large -n 500

Greedy replies to held-out problems are judged by their checkers; Python functions are run. A
diffusion model answers by `--strategy`, at first one position a forward:

    python -m tools.evaluate adec/practice/models/canvas -n 100 --strategy threshold
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from adec.decoding import settings
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.base import Engine, OpenOptions
from adec.engines.opening import open_engine, read_header
from adec.engines.pair import Engines
from adec.errors import AdecError
from adec.practice.tasks import FAMILIES, Problem, problems
from tools.train.tokenizer import ASSISTANT_ID, END_ID, USER_ID

LONGEST_REPLY = 160
SEED = 1000


@dataclass
class Score:
    """Right replies and all replies, by family and by kind."""

    right: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    forwards: int = 0

    def add(self, problem: Problem, good: bool) -> None:
        """Count a judged reply."""
        for key in (problem.family, f"{problem.family}: {problem.kind}", "all"):
            self.asked[key] += 1
            self.right[key] += good

    def share(self, key: str) -> float:
        """The accuracy under one key."""
        return self.right[key] / self.asked[key]


def evaluate(model: Path, asked: Sequence[Problem], strategy: str | None = None) -> Score:
    """Judge greedy replies of a Hugging Face folder or a GGUF file.

    `strategy`, as "threshold" or "steps:tokens=2", writes them; None: plain decoding, or "steps" on
    a diffusion model. Raises AdecError when the model does not load or the strategy does not fit.
    """
    score = Score()
    options = OpenOptions(context=512)
    with (
        closing(open_engine(read_header(model), options)) as engine,
        ThreadPoolExecutor(2) as pool,
    ):
        if strategy is None and "canvas" in engine.capabilities:
            strategy = "steps"
        write = partial(reply, engine) if strategy is None else Writer(engine, strategy, score)
        jobs = [
            (problem, pool.submit(problem.check, write(problem.prompt)))
            for problem in track(asked, "replies", console=Console(stderr=True), transient=True)
        ]
        for problem, job in jobs:
            score.add(problem, job.result())
    return score


def reply(engine: Engine, prompt: str) -> str:
    """The greedy reply to a prompt, without the end token."""
    engine.rewind(0)
    ids = engine.tokenizer.encode(prompt, special=False)
    scores = engine.forward([USER_ID, *ids, ASSISTANT_ID])
    text = b""
    for _ in range(LONGEST_REPLY):
        token = scores.argmax(0)
        if token == END_ID:
            break
        text += engine.vocabulary.pieces[token]
        scores = engine.forward([token])
    return text.decode("utf-8", errors="replace")


class Writer:
    """Replies by a strategy, whose tokens and forwards are counted."""

    def __init__(self, engine: Engine, strategy: str, score: Score) -> None:
        name, _, rest = strategy.partition(":")
        method = find_method(name)
        values = dict(word.split("=", 1) for word in rest.split("+") if word)
        made = settings.build(method.settings, name, ("--strategy", values))
        self._strategy = method.build(Engines(large=engine), made, Aids())
        self._engine, self._score = engine, score

    def __call__(self, prompt: str) -> str:
        """The reply to a prompt, without the end token."""
        ids = self._engine.tokenizer.encode(prompt, special=False)
        limits = Limits(LONGEST_REPLY, frozenset({END_ID}), signals=False)
        text = b""
        for step in self._strategy.generate(Prompt((USER_ID, *ids, ASSISTANT_ID)), limits):
            self._score.forwards += len(step.forwards)
            self._score.tokens += len(step.tokens)
            for token in step.tokens:
                text += b"" if token.id == END_ID else self._engine.vocabulary.pieces[token.id]
        return text.decode("utf-8", errors="replace")


def held_out(per_family: int, families: Sequence[str], seed: int = SEED) -> list[Problem]:
    """As many test problems of each family."""
    return [
        problem
        for family in families
        for problem in islice(problems("test", seed, [family]), per_family)
    ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.evaluate", description=__doc__)
    parser.add_argument("model", type=Path, help="a Hugging Face folder or a GGUF file")
    parser.add_argument("-n", type=int, default=500, help="problems a family (default 500)")
    parser.add_argument("--family", choices=tuple(FAMILIES), action="append")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--strategy", help="that writes: NAME or NAME:SETTING=VALUE+…")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    asked = held_out(options.n, options.family or tuple(FAMILIES), options.seed)
    try:
        score = evaluate(options.model, asked, options.strategy)
    except AdecError as error:
        sys.exit(str(error))
    if options.json:
        print(json.dumps({key: [score.right[key], score.asked[key]] for key in score.asked}))
        return
    table = Table("task", "right", "asked", "accuracy")
    for key in sorted(score.asked):
        table.add_row(key, str(score.right[key]), str(score.asked[key]), f"{score.share(key):.1%}")
    Console().print(table)
    if score.forwards:
        print(f"{score.tokens / score.forwards:.2f} tokens a forward")


if __name__ == "__main__":
    main()
