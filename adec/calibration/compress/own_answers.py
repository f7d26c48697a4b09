"""The texts that a smaller model is judged on: prompts with the whole model's own answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from adec.answering.plan import Plan
from adec.answering.session import open_session
from adec.calibration.compress.known_texts import know
from adec.calibration.journal import Journal, Measurements
from adec.calibration.prompts import KnownPrompt, PromptSet
from adec.calibration.trials.trial import Runner
from adec.engines.base import Engine, OpenOptions
from adec.events.hostile_json import JsonReader

ANSWER = 64
"""Tokens of an answer at most."""
FIT, HELD_OUT = (4, 24), (2, 32)
"""Fewest and most texts to search on, and to judge what was found."""

_SIZES: JsonReader[tuple[int, int]] = JsonReader(tuple[int, int])
_TOKENS: JsonReader[list[list[int]]] = JsonReader(list[list[int]])


def own_answers(
    ready: Plan,
    options: OpenOptions,
    prompts: PromptSet,
    max_tokens: int,
    journal: Journal,
    tick: Callable[[float], None],
) -> list[list[int]]:
    """Those to search on, then those held out. `tick` gets the share that is done."""
    wanted: list[KnownPrompt] = [*prompts.fit[: FIT[1]], *prompts.held_out[: HELD_OUT[1]]]
    kept = journal.get("texts", _TOKENS)
    if kept is not None and len(kept) == len(wanted):
        return kept
    with open_session(ready, options) as session:
        runner = Runner(ready, session.engines, max_tokens=min(max_tokens, ANSWER))
        measured = Measurements(runner, journal, "agreement")
        texts = []
        for i, prompt in enumerate(wanted):
            tick(i / len(wanted))
            answer = measured.answer(str(i), prompt)
            texts.append([*runner.encode(prompt), *answer.tokens])
    journal.put("texts", texts)
    return texts


def affordable(
    engine: Engine,
    texts: Sequence[Sequence[int]],
    fit: int,
    skipped: int,
    seconds: float,
    journal: Journal,
    tick: Callable[[float], None],
) -> tuple[int, int]:
    """On how many texts the time allows to search, and to judge; the first `fit` are to search on.

    Rows after the first `skipped` tokens of a text count.
    """
    held = len(texts) - fit
    kept = journal.get("sizes", _SIZES)
    if kept is not None and 1 <= kept[0] <= fit and 1 <= kept[1] <= held:
        return kept
    some = texts[:3]
    know(engine, some[0], min(skipped, len(some[0]) - 2))  # the first forward is slower
    began = perf_counter()
    for text in some:
        tick(0.0)
        know(engine, text, min(skipped, len(text) - 2))
    forwards = seconds * len(some) / max(1e-6, perf_counter() - began)
    sizes = (
        max(1, min(fit, max(FIT[0], int(forwards / 30)))),
        max(1, min(held, max(HELD_OUT[0], int(forwards / 40)))),
    )
    journal.put("sizes", sizes)
    return sizes
