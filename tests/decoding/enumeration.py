"""Exact laws: a program with coins and draws is run once for every outcome, with fractions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from fractions import Fraction
from typing import TypeVar

import numpy as np

T = TypeVar("T", bound=Hashable)


class Script:
    """A `Chance` that follows given choices, then takes the first of each and notes the others."""

    def __init__(self, choices: list[int]) -> None:
        self._choices = choices
        self._at = 0
        self.weight = Fraction(1)
        self.open: list[list[int]] = []

    def below(self, probability) -> bool:
        assert isinstance(probability, Fraction | int)
        if probability >= 1:
            return True
        assert probability >= 0
        return self._choose([probability, 1 - probability]) == 0

    def draw(self, weights) -> int:
        total = sum(weights)
        return self._choose([Fraction(weight) / total for weight in weights])

    def _choose(self, probabilities) -> int:
        if self._at == len(self._choices):
            possible = [i for i, p in enumerate(probabilities) if p > 0]
            self.open += [[*self._choices, i] for i in possible[1:]]
            self._choices.append(possible[0])
        choice = self._choices[self._at]
        self._at += 1
        self.weight *= probabilities[choice]
        return choice


def outcomes(program: Callable[[Script], T]) -> dict[T, Fraction]:
    """The law of what `program` returns."""
    law: dict[T, Fraction] = {}
    todo: list[list[int]] = [[]]
    while todo:
        script = Script(todo.pop())
        result = program(script)
        law[result] = law.get(result, Fraction(0)) + script.weight
        todo += script.open
    assert sum(law.values()) == 1
    return law


def vector(fractions) -> np.ndarray:
    """Weights as the verifiers take them: an array of fractions."""
    array = np.empty(len(fractions), dtype=object)
    array[:] = [Fraction(f) for f in fractions]
    return array


def rational_law(size: int, seed: int, order: int = 2, zeros: bool = True):
    """A random law in small fractions that depends on the last `order` tokens."""
    import random

    def distribution(prefix: tuple[int, ...]):
        rng = random.Random(f"{size} {seed} {prefix[-order:]}")
        weights = [rng.randint(0 if zeros else 1, 6) for _ in range(size)]
        weights[rng.randrange(size)] += 1
        return [Fraction(weight, sum(weights)) for weight in weights]

    return distribution


def blend(first, second, share: Fraction):
    """`share` of the first law, the rest of the second."""

    def distribution(prefix):
        return [
            share * a + (1 - share) * b for a, b in zip(first(prefix), second(prefix), strict=True)
        ]

    return distribution


def warped(
    law,
    *,
    top_k: int = 0,
    top_p: Fraction = Fraction(1),
    min_p: Fraction = Fraction(0),
    power: int = 1,
):
    """The law after top-k, top-p, min-p and the temperature 1/power, in `Sampler`'s order."""

    def distribution(prefix):
        weights = list(law(prefix))
        order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
        if top_k:
            for i in order[top_k:]:
                weights[i] = Fraction(0)
        total, before = sum(weights), Fraction(0)
        for i in order:
            share = weights[i] / total
            if before >= top_p:
                weights[i] = Fraction(0)
            before += share
        most = max(weights)
        weights = [w if w >= min_p * most else Fraction(0) for w in weights]
        weights = [w**power for w in weights]
        return [w / sum(weights) for w in weights]

    return distribution


def sequences(target, length: int, end, prefix=()) -> dict[tuple[int, ...], Fraction]:
    """The law of the first `length` tokens after `prefix`; an end token ends them."""
    if length == 0 or (prefix and prefix[-1] in end):
        return {(): Fraction(1)}
    law: dict[tuple[int, ...], Fraction] = {}
    for token, probability in enumerate(target(prefix)):
        if probability:
            for rest, share in sequences(target, length - 1, end, (*prefix, token)).items():
                law[(token, *rest)] = law.get((token, *rest), Fraction(0)) + probability * share
    return law


def generated(round_, length: int, end, prefix=(), known=None) -> dict[tuple[int, ...], Fraction]:
    """The law of the first `length` tokens when whole rounds are run one after another.

    `round_(prefix)` gives the law of the tokens that one round commits after `prefix`.
    """
    known = {} if known is None else known
    if length <= 0 or (prefix and prefix[-1] in end):
        return {(): Fraction(1)}
    if prefix not in known:
        known[prefix] = round_(prefix)
    law: dict[tuple[int, ...], Fraction] = {}
    for committed, probability in known[prefix].items():
        rests = generated(round_, length - len(committed), end, (*prefix, *committed), known)
        for rest, share in rests.items():
            tokens = (committed + rest)[:length]
            law[tokens] = law.get(tokens, Fraction(0)) + probability * share
    return law
