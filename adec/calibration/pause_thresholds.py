"""AdaDec's entropy threshold for each model, from prompts whose solution is known: read teacher-forced, one forward each.

A model is asked at every position of the solution how sure it is and whether its likeliest token is the right one. The threshold is
where a chosen share of the positions pauses; the paper's logistic fit stands beside it as evidence (`decoding/search/threshold.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adec.calibration.journal import Journal
from adec.calibration.prompts import Prompt
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
from adec.events.records import Role
from adec.profiles.write import table

LEAST = 12
"""Solutions that are read whatever the time."""
FEWEST = 200
"""Positions from which a share of some percent can be told."""


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
    prompts: Sequence[Prompt],
    encode: Callable[[Prompt], list[int]],
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
                f"no threshold of adadec for the {role} model: the known solutions have {positions} tokens, {FEWEST} are needed"
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
        # too few of a kind for the fit, as with a model that is nearly always right; the share needs no fit
        threshold, fitted = quantile_threshold(entropies, TRIGGER_RATE), False
    below = 100 * float((entropies < threshold.nats).mean())
    return Learned(threshold, fitted, below, len(parts), int((~right).sum()))


def tables(learned: dict[Role, Learned]) -> Iterable[str]:
    """[adadec.large] and [adadec.small] of a profile."""
    for role, found in learned.items():
        threshold = found.threshold
        fit = threshold if found.fitted else None
        yield table(
            f"adadec.{role}",
            [
                ("threshold", threshold.nats, f"nats; adadec pauses from there on when the {role} model writes"),
                ("percentile", found.percentile, "percent of the known positions lie below it"),
                ("trigger_rate", threshold.trigger_rate, "share of them that pauses"),
                ("positions", threshold.positions, "of known solutions, read teacher-forced"),
                ("wrong", found.wrong, "of them, where the likeliest token was not the right one"),
                ("solutions", found.solutions, ""),
                ("weight", None if fit is None else fit.weight, "P(right) = 1 / (1 + exp(-(weight * nats + bias))), on classes made equal"),
                ("bias", None if fit is None else fit.bias, ""),
                ("right_at_threshold", None if fit is None else fit.cut, "by that fit"),
            ],
        )  # fmt: skip


def _observed(
    engine: Engine,
    prompt: Prompt,
    encode: Callable[[Prompt], list[int]],
    journal: Journal,
    name: str,
) -> tuple[Values, Flags] | None:
    """None where prompt and solution do not fit into the context."""
    kept = _from_journal(journal.get(name))
    if kept is not None:
        return kept
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


def _from_journal(data: Any) -> tuple[Values, Flags] | None:
    """What was kept; None when there is nothing, or something else."""
    try:
        entropies = np.array(data[0], dtype=np.float64)
        right = np.array(data[1], dtype=np.float64) == 1
    except (TypeError, ValueError, IndexError, KeyError):
        return None
    fine = entropies.ndim == 1 and entropies.shape == right.shape and len(entropies) > 0
    return (entropies, right) if fine and np.isfinite(entropies).all() else None
