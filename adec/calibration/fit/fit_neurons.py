"""Learns FTWT's gates (`neurons`) and the threshold that keeps the model's tokens."""

from __future__ import annotations

from datetime import date
from typing import Any, cast

import numpy as np

from adec.calibration.fit.fit_first import gated
from adec.calibration.fit.fitting import FittedPart, Fitting, split
from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS
from adec.decoding.layers.predicted_neurons import KIND, PredictedNeurons, logit_of
from adec.decoding.plain import Plain
from adec.engines.torch.torch_fit.neuron_fit import MASS, fit_gates, inputs_of, masked
from adec.errors import UsageError
from adec.parts.part import Fact, Part

RECORDED, LEARNED = 0.2, 0.4
"""Shares of the time for answers and for learning; the rest is for the threshold and real answers.
"""
THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NUMBERS = 1 << 26
"""Numbers that all kept inputs may have together: 256 MiB."""


def fit_neurons(fitting: Fitting) -> FittedPart:
    """Answers, gates, a threshold on answers that they did not see, and answers for real.

    Raises UsageError where the model's answers are too short.
    """
    engine, layers = fitting.engine, fitting.engine.info.layers
    fitting.stage("answers")
    found = fitting.records((layers,), RECORDED * fitting.seconds)
    # the first tokens use all neurons in any case
    records = [record for record in found if len(record.answer) > PLAIN_TOKENS]
    if len(records) < 2:
        raise UsageError(
            f"the answers of {engine.info.name} are too short to choose neurons for",
            hint="give prompts that it answers at length",
        )
    learn, judge = split(records)
    module = cast(Any, engine).module
    inputs: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    for record in learn:
        inputs.append(inputs_of(module, gated(record)))
        if sum(one.size for one in inputs) > NUMBERS:
            break
    fitting.stage("gates")
    arrays, loss = fit_gates(
        module, np.concatenate(inputs, 1), seconds=LEARNED * fitting.seconds, seed=fitting.seed,
        tick=fitting.tick,
    )  # fmt: skip
    fitting.stage("threshold")
    threshold, kept, share = 0.0, 1.0, 1.0
    for number, tried in enumerate(THRESHOLDS, 1):
        rows = [masked(module, gated(record), arrays, logit_of(tried)) for record in judge]
        fitting.tick(number / len(THRESHOLDS))
        stays, total = sum(row[0] for row in rows), sum(row[1] for row in rows)
        if stays < fitting.keep * total:
            break
        threshold, kept = tried, stays / total
        share = sum(row[2] * row[1] for row in rows) / total
    fitting.stage("answers for real")
    facts: dict[str, Fact] = {"threshold": threshold, "mass": MASS}
    made = Part(KIND, fitting.model, arrays, facts, date.today().isoformat())
    rest = (1 - RECORDED - LEARNED) * fitting.seconds / 2
    own, lot = (
        fitting.try_out(PredictedNeurons(engine, lambda: made, None, control), Plain(engine), rest)
        for control in ("none", "random")
    )
    facts |= {
        "tokens_kept": kept,
        "neurons_share": share,
        "answers_same": own.same,
        "answers_same_random": lot.same,
        "tested_prompts": own.prompts,
        "answers": len(records),
        "loss_nats": loss,
        "prompts": fitting.prompts.source,
    }
    lines = [
        f"gates of {layers} layers, threshold {threshold:g}: {100 * kept:.1f} % of tokens as the"
        f" whole model's, with {100 * share:.1f} % of the feed-forward neurons",
    ]
    for words, one in (("neurons by gates", own), ("as many at random", lot)):
        right = "" if one.right is None else f", {100 * one.right:.1f} % right"
        lines.append(
            f"for real, {words}, on {one.tried}: {100 * one.same:.1f} % of the answers"
            f" unchanged{right}"
        )
    if own.right_plain is not None:
        lines.append(f"right with all neurons: {100 * own.right_plain:.1f} %")
        facts |= {"right": own.right or 0.0, "right_plain": own.right_plain}
    return FittedPart(Part(KIND, fitting.model, arrays, facts, made.made), tuple(lines))
