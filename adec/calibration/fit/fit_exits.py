"""Learns exit classifiers (`exits`) and the threshold that keeps the model's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, cast

import numpy as np

from adec.calibration.fit.exit_records import LayerRecord
from adec.calibration.fit.fitting import FittedPart, Fitting, split, thresholds
from adec.decoding.layers.early_exit import EarlyExit, exit_depths
from adec.decoding.layers.exit_classifiers import Classifiers, classifiers_of
from adec.decoding.layers.learned_exits import KIND, LearnedExits
from adec.decoding.plain import Plain
from adec.engines.torch.torch_fit.exit_fit import Form, fit_classifiers
from adec.errors import UsageError
from adec.parts.part import Fact, Part

MOST_EXITS = 16
RECORDED, LEARNED = 0.45, 0.3
"""Shares of the time for answers and for learning; the rest is for real answers."""


def fit_exits(fitting: Fitting) -> FittedPart:
    """Answers, classifiers, a threshold on answers that they did not see, and answers for real.

    Raises UsageError where the model has no layer to leave at.
    """
    layers = fitting.engine.info.layers
    if layers < 2:
        raise UsageError(f"{fitting.engine.info.name} has one layer, and no exit before it")
    depths = exits_of(layers)
    fitting.stage("answers")
    records = fitting.records(depths, RECORDED * fitting.seconds)
    learn, judge = split(records)
    fitting.stage("classifiers")
    arrays, loss = fit_classifiers(
        [record.states for record in learn], [record.agrees for record in learn],
        cast(Form, fitting.form), seconds=LEARNED * fitting.seconds, seed=fitting.seed,
        tick=fitting.tick,
    )  # fmt: skip
    arrays["depths"] = np.array(depths, dtype=np.float32)
    facts: dict[str, Fact] = {"form": fitting.form}
    draft = Part(KIND, fitting.model, arrays, facts, date.today().isoformat())
    classifiers = classifiers_of(draft, layers)
    sure = surenesses(classifiers, judge)
    threshold, kept, share = choose_threshold(sure, judge, depths, layers, fitting.keep)
    fitting.stage("answers for real")
    rule = LearnedExits(lambda: draft, threshold, 0)
    strategy = EarlyExit("exits", "", fitting.engine, rule)
    rest = (1 - RECORDED - LEARNED) * fitting.seconds
    real = fitting.try_out(strategy, Plain(fitting.engine), rest)
    facts |= {
        "threshold": threshold,
        "tokens_kept": kept,
        "layers_share": real.layers,
        "answers_same": real.same,
        "tested_prompts": real.prompts,
        "answers": len(records),
        "loss_nats": loss,
        "prompts": fitting.prompts.source,
    }
    if real.right is not None and real.right_plain is not None:
        facts |= {"right": real.right, "right_plain": real.right_plain}
    lines = [
        f"exits: {len(depths)} {fitting.form} classifiers, from layer {depths[0]} of {layers} on",
        f"threshold {threshold:.6g}: {100 * kept:.1f} % of tokens as the whole model's, foreseen"
        f" with {100 * share:.1f} % of the layers",
        f"for real, on {real.tried}: {100 * real.layers:.1f} % of the layers,"
        f" {100 * real.same:.1f} % of the answers unchanged",
    ]
    if real.right is not None and real.right_plain is not None:
        lines.append(
            f"right: {100 * real.right:.1f} %, with all layers {100 * real.right_plain:.1f} %"
        )
    return FittedPart(Part(KIND, fitting.model, arrays, facts, draft.made), tuple(lines))


def exits_of(layers: int) -> list[int]:
    """Depths that get a classifier: every one where they are few, else spread evenly.

    The paper's stand in the upper half; a threshold that is never reached costs little, so lower
    ones get theirs, too.
    """
    every = -(-(layers - 1) // MOST_EXITS)
    return exit_depths(layers, 1 if every == 1 else every, every)


def surenesses(
    classifiers: Classifiers, records: Sequence[LayerRecord]
) -> list[np.ndarray[Any, Any]]:
    """How sure each exit is of each token, if all tokens came to all exits: (tokens, exits)."""
    found = []
    for record in records:
        classifiers.start()
        found.append(np.array([
            [classifiers.probability(depth, state)
             for depth, state in zip(classifiers.depths, token, strict=True)]
            for token in record.states
        ]))  # fmt: skip
    return found


def choose_threshold(
    sure: Sequence[np.ndarray[Any, Any]],
    records: Sequence[LayerRecord],
    depths: Sequence[int],
    layers: int,
    keep: float,
) -> tuple[float, float, float]:
    """The lowest threshold that keeps a share of the tokens; that share, and that of the layers.

    1, at which hardly anything leaves, where none keeps so many.
    """
    every = np.concatenate(sure)
    agrees = np.concatenate([record.agrees for record in records])
    best = (1.0, 1.0, 1.0)
    for threshold in thresholds(every):
        leaves = every >= threshold
        at = leaves.argmax(1)
        early = leaves.any(1)
        kept = np.where(early, agrees[np.arange(len(at)), at], True).mean()
        if kept < keep:
            break
        ran = np.where(early, np.array(depths)[at], layers).mean() / layers
        best = (threshold, float(kept), float(ran))
    return best
