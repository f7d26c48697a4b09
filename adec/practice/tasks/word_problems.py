"""Word problems of one to five steps, solved with one calculation per sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from adec.practice.tasks.problem import Problem
from adec.practice.tasks.words import COUNT_WORDS, GOODS, HOLDERS, NAMES, PEOPLE, THINGS

FAMILY = "word problems"
LARGEST = 999


@dataclass
class _Story:
    """The sentences of a prompt and of its solution, written together."""

    said: list[str] = field(default_factory=list)
    work: list[str] = field(default_factory=list)
    key: list[str] = field(default_factory=list)

    def step(self, note: str, left: int, sign: str, right: int) -> int:
        """Add a calculation to the solution and return its result."""
        value = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[sign]
        calculation = f"{left} {sign} {right} = {value}."
        self.work.append(f"{note}: {calculation}" if note else calculation)
        self.key.append(f"{left}{sign}{right}")
        return value

    def problem(self, kind: str, question: str, answer: int) -> Problem:
        """The finished problem."""
        prompt = " ".join([*self.said, question])
        solution = " ".join([*self.work, f"Answer: {answer}."])
        return Problem(FAMILY, kind, prompt, solution, str(answer), " ".join(self.key))


def make(rng: Random) -> Problem:
    """A problem of a random kind."""
    roll = rng.random()
    if roll < 0.5:
        return _collect(rng)
    if roll < 0.65:
        return _compare(rng)
    if roll < 0.8:
        return _shop(rng)
    return _together(rng) if roll < 0.9 else _travel(rng)


def _small(rng: Random) -> int:
    return rng.randint(2, 20) if rng.random() < 0.3 else rng.randint(2, 99)


def _collect(rng: Random) -> Problem:
    """Somebody gains and loses things."""
    (name, pronoun) = rng.choice(PEOPLE)
    friends = rng.sample([other for other in NAMES if other != name], 5)
    things = rng.choice(THINGS)
    story = _Story()
    value = rng.randint(5, 120) if rng.random() < 0.8 else rng.randint(100, 400)
    story.said.append(rng.choice((
        "{0} has {1} {2}.", "{0} starts with {1} {2}.", "{0} owns {1} {2}.",
        "There are {1} {2} on the table of {0}.",
    )).format(name, value, things))  # fmt: skip
    steps = rng.choice((1, 2, 2, 3, 3, 4, 4, 5))
    done = 0
    while done < steps:
        options = ["more"] * 3 + ["fewer"] * (3 if value > 12 else 0)
        if steps - done >= 2:
            options += ["packs"]
        if value <= 250:
            options += ["times"]
        divisors = [share for share in range(2, 7) if value % share == 0 and value // share > 3]
        if divisors:
            options += ["share"]
        move = rng.choice(options)
        subject = rng.choice((pronoun, pronoun, f"Then {pronoun.lower()}", name))
        if move == "packs":
            packs, each = rng.randint(2, 9), rng.randint(2, 12)
            holder = rng.choice(HOLDERS)
            if value + packs * each > LARGEST:
                continue
            verb = rng.choice(("buys", "gets", "finds"))
            story.said.append(f"{subject} {verb} {packs} {holder} of {each} {things}.")
            more = story.step(f"{packs} {holder} of {each}", packs, "*", each)
            value = story.step(f"{verb} {more}", value, "+", more)
            done += 2
            continue
        if move == "more":
            value = _gain(rng, story, subject, value, things, friends[done])
        elif move == "fewer":
            value = _loss(rng, story, subject, value, things, friends[done])
        elif move == "times":
            times, verb = rng.choice(((2, "doubles"), (3, "triples")))
            story.said.append(f"{subject} {verb} the number of {things}.")
            value = story.step(verb, value, "*", times)
        else:
            share = rng.choice(divisors)
            story.said.append(
                f"{subject} shares all of them among {COUNT_WORDS[share - 1]} people"
                " and keeps one share."
            )
            value = story.step(f"one share of {COUNT_WORDS[share - 1]}", value, "/", share)
        done += 1
    question = rng.choice((
        "How many {0} does {1} have now?", "How many {0} does {1} have in the end?",
        "How many {0} are left with {1}?",
    )).format(things, name)  # fmt: skip
    return story.problem("collect", question, value)


def _gain(rng: Random, story: _Story, subject: str, value: int, things: str, friend: str) -> int:
    more = min(_small(rng), LARGEST - value)
    verb = rng.choice(("finds", "buys", "wins", "gets", "collects"))
    tail = f" from {friend}" if verb in ("gets", "buys") else ""
    amount = rng.choice((f"{more} more {things}", f"{more} {things}", f"{more} more"))
    story.said.append(f"{subject} {verb} {amount}{tail}.")
    return story.step(f"{verb} {more}", value, "+", more)


def _loss(rng: Random, story: _Story, subject: str, value: int, things: str, friend: str) -> int:
    fewer = min(_small(rng), value - rng.randint(1, 9))
    verb = rng.choice(("loses", "sells", "gives", "breaks", "sends"))
    tail = f" to {friend}" if verb in ("sells", "gives", "sends") else ""
    amount = rng.choice((f"{fewer} of the {things}", f"{fewer} {things}", f"{fewer} of them"))
    story.said.append(f"{subject} {verb} {amount}{tail}.")
    return story.step(f"{verb} {fewer}", value, "-", fewer)


def _compare(rng: Random) -> Problem:
    """A chain of people, each with more or fewer things than the one before."""
    steps = rng.choice((1, 2, 2, 3, 3, 4))
    names = rng.sample(NAMES, steps + 1)
    things = rng.choice(THINGS)
    value = rng.randint(10, 150)
    story = _Story([f"{names[0]} has {value} {things}."])
    for before, name in pairwise(names):
        roll = rng.random()
        if roll < 0.2 and value <= 250:
            times, word = rng.choice(((2, "twice"), (3, "three times")))
            story.said.append(f"{name} has {word} as many as {before}.")
            value = story.step(f"{name} has", value, "*", times)
        elif roll < 0.6 or value < 13:
            more = _small(rng)
            story.said.append(f"{name} has {more} more than {before}.")
            value = story.step(f"{name} has", value, "+", more)
        else:
            fewer = min(_small(rng), value - rng.randint(1, 9))
            story.said.append(f"{name} has {fewer} fewer than {before}.")
            value = story.step(f"{name} has", value, "-", fewer)
    return story.problem("compare", f"How many {things} does {names[-1]} have?", value)


def _shop(rng: Random) -> Problem:
    """Prices times quantities, and perhaps the change."""
    name, pronoun = rng.choice(PEOPLE)
    goods = rng.sample(GOODS, rng.choice((1, 2, 2)))
    prices = [rng.randint(2, 20) for _ in goods]
    numbers = [rng.randint(2, 9) for _ in goods]
    costs = " and ".join(
        f"a {good} costs {price} coins" for good, price in zip(goods, prices, strict=True)
    )
    bought = " and ".join(f"{number} {good}s" for good, number in zip(goods, numbers, strict=True))
    story = _Story([f"{costs[0].upper()}{costs[1:]}.", f"{name} buys {bought}."])
    parts = [
        story.step(f"{number} {good}s", number, "*", price)
        for good, number, price in zip(goods, numbers, prices, strict=True)
    ]
    value = parts[0]
    for part in parts[1:]:
        value = story.step("together", value, "+", part)
    if rng.random() < 0.4:
        paid = value + rng.randint(1, 60)
        story.said.append(f"{pronoun} pays with {paid} coins.")
        value = story.step("back", paid, "-", value)
        return story.problem("shop", f"How many coins does {name} get back?", value)
    question = rng.choice(("How many coins does {0} pay?", "What does it cost {0} in coins?"))
    return story.problem("shop", question.format(name), value)


def _together(rng: Random) -> Problem:
    """A sum over several people."""
    names = rng.sample(NAMES, rng.choice((2, 3, 3, 4)))
    things = rng.choice(THINGS)
    values = [rng.randint(3, 150) for _ in names]
    story = _Story()
    verb = rng.choice(("has", "brings", "finds"))
    for name, value in zip(names, values, strict=True):
        story.said.append(f"{name} {verb} {value} {things}.")
    total = values[0]
    for name, value in zip(names[1:], values[1:], strict=True):
        total = story.step(f"with {name}", total, "+", value)
    question = rng.choice((
        "How many {0} is that together?", "How many {0} are there in all?",
    )).format(things)  # fmt: skip
    return story.problem("together", question, total)


def _travel(rng: Random) -> Problem:
    """Speed times hours, over one or two legs."""
    vehicle = rng.choice(("train", "ship", "bus", "truck", "bike"))
    story = _Story()
    speed, hours = rng.randint(8, 60), rng.randint(2, 9)
    story.said.append(f"A {vehicle} travels {speed} km each hour for {hours} hours.")
    total = story.step("first leg", speed, "*", hours)
    if rng.random() < 0.6:
        further = rng.randint(5, 99)
        story.said.append(rng.choice((
            f"Then it travels {further} km more.", f"After a rest it goes on for {further} km.",
        )))  # fmt: skip
        total = story.step(f"{further} km more", total, "+", further)
    if rng.random() < 0.4 and total > 20:
        back = rng.randint(5, min(99, total - 5))
        story.said.append(f"At last it turns and comes back by {back} km.")
        total = story.step(f"back by {back}", total, "-", back)
        return story.problem("travel", f"How far from its start is the {vehicle} in km?", total)
    return story.problem("travel", f"How many km does the {vehicle} travel in all?", total)
