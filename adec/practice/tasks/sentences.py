"""Facts about people in sentences, some over two hops, and the lookups of `lookups`.

Models of this size learn the sentences poorly: their answers stay close to a guess among the names
in the prompt. Training uses them because they help with settings; adec does not offer them as a
task.
"""

from __future__ import annotations

from random import Random

from adec.practice.tasks import lookups
from adec.practice.tasks.problem import Problem
from adec.practice.tasks.words import CITIES, COLOURS, JOBS, NAMES, PETS

FAMILY = lookups.FAMILY  # the same, so that both split alike

# field -> (values, wordings of a note, question for the value, clue to the person)
_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str]] = {
    "city": (CITIES, ("{name} lives in {value}.", "{name} has a flat in {value}."),
             "In which city does {name} live?", "lives in {value}"),
    "job": (JOBS, ("{name} works as a {value}.", "{name} has the job of a {value}."),
            "What is the job of {name}?", "works as a {value}"),
    "pet": (PETS, ("{name} keeps a {value}.", "{name} has a {value} at home."),
            "Which animal does {name} keep?", "keeps a {value}"),
    "colour": (COLOURS, ("{name} likes {value}.", "{name} paints everything {value}."),
               "Which colour does {name} like?", "likes {value}"),
    "room": ((), ("{name} sleeps in room {value}.", "{name} has the key of room {value}."),
             "Which room does {name} have?", "has room {value}"),
}  # fmt: skip
_SHORT = {
    "city": "{name} lives in {value}.",
    "job": "{name} works as a {value}.",
    "pet": "{name} keeps a {value}.",
    "colour": "{name} likes {value}.",
    "room": "{name} has room {value}.",
}


def make(rng: Random) -> Problem:
    """A problem of a random kind."""
    kind = rng.choice(("value", "value", "person", "person", "two hops", "two hops", "setting"))
    return lookups.make(rng) if kind == "setting" else _notes(rng, kind)


def _values(rng: Random, name: str, count: int) -> list[str]:
    if name == "room":
        return [str(number) for number in rng.sample(range(101, 1000), count)]
    return rng.sample(_FIELDS[name][0], count)


def _notes(rng: Random, kind: str) -> Problem:
    fields = rng.sample(sorted(_FIELDS), 2)
    count = rng.choice((2, 3, 3, 4))
    names = rng.sample(NAMES, count)
    table = {name: _values(rng, name, count) for name in fields}
    notes = [
        rng.choice(_FIELDS[name][1]).format(name=names[row], value=table[name][row])
        for row in range(count)
        for name in fields
    ]
    if rng.random() < 0.5:
        rng.shuffle(notes)
    row = rng.randrange(count)
    given, wanted = fields
    who, value = names[row], table[wanted][row]
    clue = _FIELDS[given][3].format(value=table[given][row])
    fact = _SHORT[wanted].format(name=who, value=value)
    if kind == "value":
        question, solution = _FIELDS[wanted][2].format(name=who), fact
    elif kind == "person":
        question, solution, value = f"Who {clue}?", f"{who} {clue}.", who
    else:
        question = _FIELDS[wanted][2].format(name=f"the person who {clue}")
        solution = f"{who} {clue}. {fact}"
    facts = " ".join(notes)
    return Problem(
        FAMILY, kind, f"{facts} {question}", f"{solution} Answer: {value}.", value,
        f"{question}|{facts}",
    )  # fmt: skip
