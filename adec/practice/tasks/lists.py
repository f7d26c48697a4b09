"""List operations on a few words."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from adec.practice.tasks.problem import Form, Problem
from adec.practice.tasks.words import ITEMS

FAMILY = "lists"
SIZES = (3, 4, 4, 5, 5, 6, 6, 7)


def make(rng: Random) -> Problem:
    """A problem of a random kind."""
    return rng.choice(_KINDS)(rng)


def _draw(rng: Random, extra: int = 0) -> tuple[list[str], list[str]]:
    size = rng.choice(SIZES)
    words = rng.sample(ITEMS, size + extra)
    return words[:size], words[size:]


def _problem(
    rng: Random, kind: str, forms: tuple[str, ...], words: list[str], result: str,
    *, key: str = "", form: Form = "list", **parts: str,
) -> Problem:  # fmt: skip
    text = " ".join(words)
    prompt = rng.choice(forms).format(list=text, **parts)
    return Problem(FAMILY, kind, prompt, f"Answer: {result}.", result, f"{key}:{text}", form=form)


def _reverse(rng: Random) -> Problem:
    words, _ = _draw(rng)
    forms = (
        "Reverse this list: {list}.",
        "Write the list backwards: {list}.",
        "Turn this list around, so that its last word comes first: {list}.",
    )
    return _problem(rng, "reverse", forms, words, " ".join(reversed(words)))


def _sort(rng: Random) -> Problem:
    words, _ = _draw(rng)
    forms = (
        "Sort this list from A to Z: {list}.",
        "Put these words in alphabetical order: {list}.",
        "Sort the words {list} by the alphabet.",
    )
    return _problem(rng, "sort", forms, words, " ".join(sorted(words)))


def _insert(rng: Random) -> Problem:
    words, (new,) = _draw(rng, 1)
    place = rng.randrange(len(words))
    forms = (
        "Insert {new} after {old} in this list: {list}.",
        "Put {new} right after {old} in the list {list}.",
        "Here is a list: {list}. Add {new} behind {old}.",
    )
    result = [*words[: place + 1], new, *words[place + 1 :]]
    return _problem(
        rng, "insert", forms, words, " ".join(result),
        key=f"{new}>{words[place]}", new=new, old=words[place],
    )  # fmt: skip


def _remove(rng: Random) -> Problem:
    words, _ = _draw(rng)
    old = rng.choice(words)
    forms = (
        "Remove {old} from this list: {list}.",
        "Take {old} out of the list {list}.",
        "Here is a list: {list}. Write it without {old}.",
    )
    result = [word for word in words if word != old]
    return _problem(rng, "remove", forms, words, " ".join(result), key=old, old=old)


def _replace(rng: Random) -> Problem:
    words, (new,) = _draw(rng, 1)
    old = rng.choice(words)
    forms = (
        "Replace {old} with {new} in this list: {list}.",
        "Change {old} to {new} in the list {list}.",
        "Here is a list: {list}. Write {new} in place of {old}.",
    )
    result = [new if word == old else word for word in words]
    return _problem(
        rng, "replace", forms, words, " ".join(result), key=f"{old}>{new}", old=old, new=new
    )


def _count(rng: Random) -> Problem:
    pool = rng.sample(ITEMS, rng.choice((2, 3, 3, 4)))
    wanted = pool[0]
    times = rng.choice((1, 2, 2, 3, 3, 4))
    words = [wanted] * times + rng.choices(pool[1:], k=rng.choice((2, 3, 4)))
    rng.shuffle(words)
    forms = (
        "How many times does {old} occur in this list: {list}?",
        "Count how often {old} stands in the list {list}.",
        "Here is a list: {list}. How often is {old} in it?",
    )
    return _problem(rng, "count", forms, words, str(times), key=wanted, form="text", old=wanted)


def _shuffle(rng: Random) -> Problem:
    words, _ = _draw(rng)
    forms = (
        "Shuffle this list: {list}.",
        "Put the words {list} in a random order.",
        "Mix up the list: {list}.",
    )
    result = rng.sample(words, len(words))
    return _problem(rng, "shuffle", forms, words, " ".join(result), form="any order")


_KINDS: tuple[Callable[[Random], Problem], ...] = (
    _reverse, _sort, _insert, _remove, _replace, _count, _shuffle,
)  # fmt: skip
