"""AdaDec's entropy threshold for each model, from known solutions that it reads in one forward
each.

At every position of the solution the model says how sure it is and which token is likeliest. The
threshold is the entropy that a chosen share of the positions reaches; the paper's logistic fit
stands beside it as evidence (`decoding/search/threshold.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adec.calibration.journal import Journal
from adec.calibration.prompts import KnownPrompt
from adec.decoding.search.threshold import (
    TRIGGER_RATE,
    Flags,
    Threshold,
    Values,
    learn_threshold,
    observe,
    quantile_threshold,
)
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.hostile_json import JsonReader
from adec.events.records import Role

LEAST = 12
"""Solutions that are read however little time there is."""
FEWEST = 200
"""Fewest positions from which a share of a few percent can be estimated."""

_SEEN: JsonReader[tuple[list[float], list[int]]] = JsonReader(tuple[list[float], list[int]])


@dataclass(frozen=True)
class Learned:
    """One model's threshold and what it rests on."""

    threshold: Threshold
    fitted: bool
    """Whether the logistic fit was possible; else weight, bias and cut mean nothing."""
    percentile: float
    """Percent of the known positions below it."""
    solutions: int
    wrong: int
    """Positions at which the likeliest token was not the right one."""


def learn_thresholds(
    engines: Engines,
    prompts: Sequence[KnownPrompt],
    encode: Callable[[KnownPrompt], list[int]],
    journal: Journal,
    *,
    late: Callable[[], bool] = lambda: False,
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[dict[Role, Learned], list[str]]:
    """(thresholds by role, remarks). Empty where no solution is known, or too little.

    What was read is in the journal, and is not read again. Raises EngineError.
    """
    known = [(i, prompt) for i, prompt in enumerate(prompts) if prompt.solution]
    if not known:
        return {}, []
    seen: dict[Role, list[tuple[Values, Flags]]] = {role: [] for role in engines}
    for count, (index, prompt) in enumerate(known):
        if count >= LEAST and late():
            break
        for role, engine in engines.items():
            found = _observed(engine, prompt, encode, journal, f"solution {role} {index}")
            if found is not None:
                seen[role].append(found)
        tick(count / len(known))
    learned: dict[Role, Learned] = {}
    remarks: list[str] = []
    for role, parts in seen.items():
        positions = sum(len(entropies) for entropies, _ in parts)
        if positions < FEWEST:
            remarks.append(
                f"no threshold of adadec for the {role} model: "
                f"the known solutions have {positions} tokens, {FEWEST} are needed"
            )
            continue
        learned[role] = learn(parts)
    return learned, remarks


def learn(parts: Sequence[tuple[Values, Flags]]) -> Learned:
    """The threshold from what was observed on each solution."""
    entropies = np.concatenate([values for values, _ in parts])
    right = np.concatenate([flags for _, flags in parts])
    try:
        threshold, fitted = learn_threshold(entropies, right, trigger_rate=TRIGGER_RATE), True
    except ValueError:
        # too few of a kind, as with a model that is nearly always right; the share needs no fit
        threshold, fitted = quantile_threshold(entropies, TRIGGER_RATE), False
    below = 100 * float((entropies < threshold.nats).mean())
    return Learned(threshold, fitted, below, len(parts), int((~right).sum()))


def _observed(
    engine: Engine,
    prompt: KnownPrompt,
    encode: Callable[[KnownPrompt], list[int]],
    journal: Journal,
    name: str,
) -> tuple[Values, Flags] | None:
    """None where prompt and solution do not fit into the context."""
    kept = journal.get(name, _SEEN)
    if kept is not None and len(kept[0]) == len(kept[1]) > 0:
        return np.array(kept[0]), np.array(kept[1]) == 1
    ids = encode(prompt)
    solution = engine.tokenizer.encode(prompt.solution or "", special=False)
    end = min(engine.vocabulary.end, default=None)
    if end is not None:
        solution = [*solution, end]
    if not solution or len(ids) + len(solution) > engine.context:
        return None
    entropies, right = observe(engine, ids, solution)
    journal.put(name, [[round(float(x), 6) for x in entropies], [int(x) for x in right]])
    return entropies, right
