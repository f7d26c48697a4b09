"""Lookups: the value of one of several settings in the prompt."""

from __future__ import annotations

from random import Random

from adec.practice.tasks.problem import Problem
from adec.practice.tasks.words import SETTINGS

FAMILY = "lookup"


def make(rng: Random) -> Problem:
    """A problem."""
    names = rng.sample(SETTINGS, rng.choice((3, 4, 5)))
    values = [str(number) for number in rng.sample(range(2, 1000), len(names))]
    row = rng.randrange(len(names))
    sign = rng.choice((" = ", ": "))
    lines = "\n".join(f"{name}{sign}{value}" for name, value in zip(names, values, strict=True))
    question = rng.choice(("What is the value of {0}?", "Which value does {0} have?", "Read {0}."))
    return Problem(
        FAMILY, "setting", f"{lines}\n{question.format(names[row])}",
        f"The {names[row]} is {values[row]}. Answer: {values[row]}.", values[row],
        f"{names[row]}|{names}|{values}",
    )  # fmt: skip
