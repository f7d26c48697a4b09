"""Accuracy by task of a practice model: `python -m adec.practice.evaluate MODEL`.

Greedy replies to held-out problems, each judged by its checker; Python functions are run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from adec.practice.tasks import FAMILIES, Problem, problems
from adec.practice.tokenizer import ASSISTANT_ID, END_ID, PAD_ID, USER_ID

LONGEST_REPLY = 160
SEED = 1000


@dataclass
class Score:
    """Right and asked, by family and by kind."""

    right: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def add(self, problem: Problem, good: bool) -> None:
        """Counts one judged reply."""
        for key in (problem.family, f"{problem.family}: {problem.kind}", "all"):
            self.asked[key] += 1
            self.right[key] += good

    def share(self, key: str) -> float:
        """The accuracy under one key."""
        return self.right[key] / self.asked[key]


def evaluate(model: Path, asked: Sequence[Problem], *, rows: int = 64) -> Score:
    """Judges greedy replies of a Hugging Face folder or a GGUF file."""
    replies = (
        _gguf_replies(model, asked) if model.is_file() else _folder_replies(model, asked, rows)
    )
    score = Score()
    with ThreadPoolExecutor(2) as pool:
        jobs = [(problem, pool.submit(problem.check, text)) for problem, text in replies]
        for problem, job in jobs:
            score.add(problem, job.result())
    return score


def held_out(per_family: int, families: Sequence[str], seed: int = SEED) -> list[Problem]:
    """The same number of test problems from each family."""
    return [
        problem
        for family in families
        for problem in islice(problems("test", seed, [family]), per_family)
    ]


def _folder_replies(
    folder: Path, asked: Sequence[Problem], rows: int
) -> Iterator[tuple[Problem, str]]:
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.to(device).eval()
    prompts = [_prompt(tokenizer.encode(problem.prompt).ids) for problem in asked]
    order = sorted(range(len(asked)), key=lambda index: len(prompts[index]))
    starts = range(0, len(order), rows)
    for start in track(starts, "replies", console=Console(stderr=True), transient=True):
        chosen = order[start : start + rows]
        longest = max(len(prompts[index]) for index in chosen)
        padded = [[PAD_ID] * (longest - len(prompts[i])) + prompts[i] for i in chosen]
        mask = [[0] * (longest - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen]
        output = model.generate(
            input_ids=torch.tensor(padded, device=device),
            attention_mask=torch.tensor(mask, device=device),
            max_new_tokens=LONGEST_REPLY, do_sample=False,
        )  # fmt: skip
        for index, ids in zip(chosen, output[:, longest:].tolist(), strict=True):
            kept = ids[: ids.index(END_ID)] if END_ID in ids else ids
            yield asked[index], tokenizer.decode(kept, skip_special_tokens=True)


def _gguf_replies(path: Path, asked: Sequence[Problem]) -> Iterator[tuple[Problem, str]]:
    from llama_cpp import Llama

    model: Any = Llama(str(path), n_ctx=512, verbose=False)
    for problem in track(asked, "replies", console=Console(stderr=True), transient=True):
        ids = model.tokenize(problem.prompt.encode(), add_bos=False, special=False)
        model.reset()
        reply: list[int] = []
        for token in model.generate(_prompt(ids), temp=0.0, repeat_penalty=1.0):
            if token == END_ID or len(reply) == LONGEST_REPLY:
                break
            reply.append(token)
        yield problem, model.detokenize(reply).decode("utf-8", "replace")


def _prompt(ids: list[int]) -> list[int]:
    return [USER_ID, *ids, ASSISTANT_ID]


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m adec.practice.evaluate", description=__doc__)
    parser.add_argument("model", type=Path, help="a Hugging Face folder or a GGUF file")
    parser.add_argument("-n", type=int, default=500, help="problems a family (default 500)")
    parser.add_argument("--family", choices=tuple(FAMILIES), action="append")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if not options.model.exists():
        sys.exit(f"{options.model}: no such file or folder")
    asked = held_out(options.n, options.family or tuple(FAMILIES), options.seed)
    score = evaluate(options.model, asked)
    if options.json:
        print(json.dumps({key: [score.right[key], score.asked[key]] for key in score.asked}))
        return
    table = Table("task", "right", "asked", "accuracy")
    for key in sorted(score.asked):
        table.add_row(key, str(score.right[key]), str(score.asked[key]), f"{score.share(key):.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
