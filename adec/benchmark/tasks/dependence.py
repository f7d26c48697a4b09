"""List tasks whose answers have words that depend on each other to a known degree.

After ParallelBench (arXiv 2510.04767). The measure is the conditional total correlation of the
answer Y given the prompt X, C(Y|X) = sum_i H(Y_i|X) - H(Y|X), for a model that spreads its
probability evenly over all right answers. Even a perfect model that writes all words at once is
wrong by at least C nats; at C = 0 parallel decoding loses nothing. Decoders that write one word at
a time do not feel it.

Different here: own wording and words, C computed by enumeration for each list, and `sort` means
what it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations
from math import lgamma, log
from random import Random

from adec.benchmark.tasks.task import Task
from adec.judging.matches import Match
from adec.practice.tasks.words import ITEMS

GROUP = "dependence"
SIZES = (3, 4, 5, 6)

PROMPTS: dict[str, str] = {
    "copy": "Copy this list: {list}.",
    "reverse": "Reverse this list: {list}.",
    "sort": "Sort this list from A to Z: {list}.",
    "replace index": "Replace word {place} of this list by {new}: {list}.",
    "remove index": "Remove word {place} from this list: {list}.",
    "insert index": "Insert {new} as word {place} into this list: {list}.",
    "replace random": "Replace any one word of this list by {new}: {list}.",
    "remove random": "Remove any one word from this list: {list}.",
    "insert random": "Insert {new} anywhere into this list: {list}.",
    "shuffle": "Shuffle this list: {list}.",
}
"""Kind of task to its wording; the first six have one right answer, the others many."""


def tasks(seed: int, kinds: Sequence[str]) -> Iterator[Task]:
    """An endless stream of tasks of these kinds, in turn; the same seed gives the same stream."""
    rng = Random(f"dependence {seed}")
    index = 0
    while True:
        for kind in kinds:
            yield list_task(index, kind, rng)
            index += 1


def list_task(
    index: int, kind: str, rng: Random, items: Sequence[str] = ITEMS, group: str = GROUP
) -> Task:
    """One task, with a list of some of these items."""
    size = rng.choice(SIZES)
    *words, new = rng.sample(items, size + 1)
    place = rng.randrange(size)
    text = " ".join(words)
    prompt = PROMPTS[kind].format(list=text, new=new, place=place + 1)
    match, answer = _expected(kind, words, new, place)
    nats = total_correlation(kind, size)
    return Task(index, prompt, group, kind, match, answer, new, dependence_nats=nats)


def _expected(kind: str, words: list[str], new: str, place: int) -> tuple[Match, str]:
    random: dict[str, Match] = {
        "shuffle": "reordered",
        "insert random": "one more",
        "remove random": "one less",
        "replace random": "one replaced",
    }
    if kind in random:
        return random[kind], " ".join(words)
    changed = {
        "copy": words,
        "reverse": words[::-1],
        "sort": sorted(words),
        "replace index": [*words[:place], new, *words[place + 1 :]],
        "remove index": words[:place] + words[place + 1 :],
        "insert index": [*words[:place], new, *words[place:]],
    }[kind]
    return "list", " ".join(changed)


@cache
def total_correlation(kind: str, size: int) -> float:
    """C(Y|X) in nats for a list of `size` different words; 0 where one answer is right."""
    if kind == "shuffle" and size > 6:
        # closed form; the original order, which is wrong, changes it by less than 1/size!
        return size * log(size) - lgamma(size + 1)
    return correlation(right_answers(kind, size))


def right_answers(kind: str, size: int) -> list[tuple[int, ...]]:
    """All right answers, the words as numbers and the new one as -1."""
    words = tuple(range(size))
    if kind == "shuffle":
        return [answer for answer in permutations(words) if answer != words]
    if kind == "replace random":
        return [(*words[:i], -1, *words[i + 1 :]) for i in words]
    if kind == "remove random":
        return [words[:i] + words[i + 1 :] for i in words]
    if kind == "insert random":
        return [(*words[:i], -1, *words[i:]) for i in range(size + 1)]
    return [words]


def correlation(answers: Sequence[tuple[int, ...]]) -> float:
    """C(Y|X) in nats where each of these answers is equally likely."""
    marginal = sum(_entropy(Counter(column)) for column in zip(*answers, strict=True))
    return max(0.0, marginal - log(len(answers)))


def _entropy(counts: Counter[int]) -> float:
    total = counts.total()
    return -sum(n / total * log(n / total) for n in counts.values())
