"""Runs without models: the events that a strategy would have caused."""

from __future__ import annotations

import random
from collections.abc import Iterator

from adec.events.records import End, Event, Forward, How, Signal, Start, Step, Token
from adec.events.tally import Tally

START = Start(
    adec="0.1.0",
    strategy="ead",
    guarantee="approximate",
    paper=None,
    models={"small": {"name": "s"}, "large": {"name": "l"}},
    settings={},
    sampling={},
    prompt="hi",
    prompt_tokens=2,
    max_tokens=99,
)


def pieces_of(text: str, seed: int = 0) -> Iterator[str]:
    """`text` in pieces as tokens have them."""
    rng, at = random.Random(seed), 0
    while at < len(text):
        size = rng.randint(1, 6)
        yield text[at : at + size]
        at += size


def steps_of(text: str, seed: int = 0) -> Iterator[Step]:
    """Steps that write `text`: drafts, wake-ups with every kind of token, a dwell."""
    rng = random.Random(seed)
    yield Step("prompt", forwards=(Forward("small", "prompt", 2, 1.0),))
    for number, piece in enumerate(pieces_of(text, seed)):
        signal = Signal(rng.expovariate(2), 0.6)
        if number % 7 == 3:
            hows: tuple[How, ...] = ("accepted", "corrected", "bonus")
            how = hows[number % 3]
            source = "small" if how == "accepted" else "large"
            yield Step(
                "wake",
                (Token(1, source, how, 0.4, text=piece),),
                (Forward("large", "catch_up", 3, 9.0),),
                drafted=1,
                accepted=int(how == "accepted"),
                reason=f"entropy {signal.value:.2f} over 0.60",
            )
        elif number % 7 > 4:
            forward = Forward("large", "write", 1, 8.0)
            yield Step("write", (Token(1, "large", text=piece),), (forward,))
        else:
            forward = Forward("small", "draft", 1, 1.0)
            token = Token(1, "small", entropy=signal.value, text=piece)
            yield Step("draft", (token,), (forward,), signal=signal)


def events_of(text: str, seed: int = 0) -> Iterator[Event]:
    """A whole run that writes `text`."""
    tally = Tally(START.strategy, START.guarantee)
    yield START
    for step in steps_of(text, seed):
        tally.add(step, 0.0)
        yield step
    tally.finish = "end"
    yield End(tally.summary(1.0))
