"""ParallelBench: lists of names, puzzles and sentences, an example before each, and what can be
reached.

W. Kang and others, "ParallelBench: Understanding the Trade-offs of Parallel Decoding in Diffusion
LLMs", 2025, arXiv 2510.04767.

Its summaries and paraphrases are not here: judging them takes models of its own. Different here:
names of our own making, one word each, so that a list is judged by its words; the
tasks are those of `dependence.py`, which practice models know without an example. `sort` means what
it says: in the released data the prompt asks for another order than the answers have. `limit` is
exact for any number of words at once; the published formula of *replace random* leaves out the last
step, which may be shorter than the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from math import perm, prod
from random import Random

from adec.benchmark.tasks.dependence import (
    PROMPTS,
    correlation,
    list_task,
    right_answers,
    total_correlation,
)
from adec.benchmark.tasks.puzzles import (
    ORDER,
    PUZZLES,
    latin_squares,
    puzzle_task,
    solved_puzzle,
)
from adec.benchmark.tasks.task import Task

GROUP = "parallelbench"
_HEADS = ("Al", "Bel", "Cor", "Dun", "Er", "Fen", "Gal", "Hol", "Il", "Jor", "Kel", "Lun")
_TAILS = ("bor", "dan", "fin", "gard", "lis", "mar", "nok", "rik", "sa", "ton", "vek", "wyn")
KINDS = (*PROMPTS, *PUZZLES)
PEOPLE = tuple(head + tail for head, tail in product(_HEADS, _TAILS))


def tasks(seed: int, kinds: Sequence[str]) -> Iterator[Task]:
    """An endless stream of tasks of these kinds, in turn; the same seed gives the same stream."""
    rng = Random(f"parallelbench {seed}")
    index = 0
    while True:
        for kind in kinds:
            shown, asked = (_task(number, kind, rng) for number in (0, index))
            example = f"{shown.prompt}\nAnswer: {solved(shown, rng)}."
            yield replace(asked, prompt=f"{example}\n\n{asked.prompt}")
            index += 1


def _task(index: int, kind: str, rng: Random) -> Task:
    if kind in PUZZLES:
        task = puzzle_task(index, kind, rng, GROUP)
        return replace(task, dependence_nats=dependence_of(kind, ORDER))
    return list_task(index, kind, rng, PEOPLE, GROUP)


def dependence_of(kind: str, size: int) -> float | None:
    """C(Y|X) in nats; of a puzzle whatever its size. None where the right answers are not known."""
    if kind == "latin square":
        return correlation(latin_squares())
    if kind == "words to sentence":
        return None
    return 0.0 if kind == "sudoku" else total_correlation(kind, size)


def solved(task: Task, rng: Random) -> str:
    """A right answer; one of them, drawn, where there are several."""
    if task.kind in PUZZLES:
        return solved_puzzle(task, rng)
    words = task.answer.split()
    place = rng.randrange(len(words))
    match task.match:
        case "reordered":
            other = words[:]
            while other == words:
                rng.shuffle(other)
            return " ".join(other)
        case "one more":
            return " ".join([*words[:place], task.given, *words[place:]])
        case "one less":
            return " ".join(words[:place] + words[place + 1 :])
        case "one replaced":
            return " ".join([*words[:place], task.given, *words[place + 1 :]])
        case _:
            return task.answer


@cache
def limit(kind: str, size: int, at_once: int) -> float:
    """The share of right answers of an ideal model that draws so many words at once.

    The model knows the law of every word given those that stand, all right answers being equally
    likely, and draws the words of a step independently, from left to right. One at a time is always
    right; where one answer is right, so is any number at a time.

        shuffle          prod over steps of m! / ((m - g)! m^g), without the original order
        replace random   R(m) = g/m (1 - 1/m)^(g - 1) + (1 - 1/m)^g R(m - g), R(0) = 0

    with g words of the m that are left in a step. Others are enumerated.
    """
    if kind in PUZZLES:
        answers = latin_squares() if kind == "latin square" else ((0,) * ORDER**2,)
        return _drawn(tuple(answers), 0, at_once)
    if kind == "shuffle" and size > 6:
        return _shuffled(size, at_once)
    if kind == "replace random":
        return _replaced(size, at_once)
    return _drawn(tuple(right_answers(kind, size)), 0, at_once)


def _shuffled(left: int, at_once: int) -> float:
    share = 1.0
    while left > 0:
        group = min(left, at_once)
        share *= perm(left, group) / left**group
        left -= group
    return share


def _replaced(left: int, at_once: int) -> float:
    """The word to put in is still to come, and so are `left` words."""
    if left == 0:
        return 0.0
    group = min(left, at_once)
    here, not_here = 1 / left, 1 - 1 / left
    now = group * here * not_here ** (group - 1)
    return now + not_here**group * _replaced(left - group, at_once)


def _drawn(answers: tuple[tuple[int, ...], ...], done: int, at_once: int) -> float:
    """The chance to end in one of `answers`, which all begin with the `done` words that stand."""
    size = len(answers[0])
    if done >= size:
        return 1.0
    end = min(size, done + at_once)
    laws = [Counter(answer[place] for answer in answers) for place in range(done, end)]
    total = len(answers)
    share = 0.0
    for words in {answer[done:end] for answer in answers}:
        chance = prod(law[word] / total for law, word in zip(laws, words, strict=True))
        rest = tuple(answer for answer in answers if answer[done:end] == words)
        share += chance * _drawn(rest, end, at_once)
    return share
