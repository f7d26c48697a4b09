"""Learns the exit and stop classifiers of `sec`, and both thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, cast

import numpy as np

from adec.calibration.fit.fit_exits import (
    LEARNED,
    RECORDED,
    choose_threshold,
    exits_of,
    surenesses,
)
from adec.calibration.fit.fitting import FittedPart, Fitting, split
from adec.decoding.layers.early_exit import EarlyExit
from adec.decoding.layers.exit_classifiers import classifiers_of
from adec.decoding.layers.stop_exit import EXIT, KIND, STOP, StopOrExit
from adec.decoding.layers.stop_gate import THRESHOLD
from adec.decoding.plain import Plain
from adec.engines.torch.torch_fit.exit_fit import Form, fit_classifiers
from adec.errors import UsageError
from adec.parts.part import Fact, Part

LOST = 0.05
"""Share of the right answers that stopping may cost, on answers that nothing was learned from."""
CURVE = (0.01, 0.02, 0.05, 0.1, 0.2)
LEAST_OF_EACH = 4
"""Right answers, and wrong ones, without which there is nothing to learn."""


def fit_sec(fitting: Fitting) -> FittedPart:
    """Right and wrong answers of the model's own, classifiers, thresholds, answers for real.

    Raises UsageError where the model has no layer to leave at, or where its answers are not known
    to be right and wrong, some of each.
    """
    layers = fitting.engine.info.layers
    if layers < 2:
        raise UsageError(f"{fitting.engine.info.name} has one layer, and no exit before it")
    depths = exits_of(layers)
    fitting.stage("answers")
    found = fitting.records(depths, RECORDED * fitting.seconds, judged=True)
    records = [record for record in found if record.right is not None]
    wrong = sum(not record.right for record in records)
    if wrong < LEAST_OF_EACH or len(records) - wrong < LEAST_OF_EACH:
        raise UsageError(
            f"{len(records) - wrong} right and {wrong} wrong answers are too few to learn stopping",
            hint="give prompts with known answers, of which the model gets some wrong",
        )
    learn, judge = split(records)
    fitting.stage("classifiers")
    form = cast(Form, fitting.form)
    states = [record.states for record in learn]
    seconds = LEARNED * fitting.seconds / 2
    exits, _ = fit_classifiers(
        states, [record.agrees for record in learn], form, seconds=seconds, seed=fitting.seed,
        tick=lambda share: fitting.tick(share / 2),
    )  # fmt: skip
    lost = [np.full(record.agrees.shape, not record.right) for record in learn]
    stops, _ = fit_classifiers(
        states, lost, form, seconds=seconds, seed=fitting.seed + 1,
        tick=lambda share: fitting.tick((1 + share) / 2),
    )  # fmt: skip
    arrays = {EXIT + name: array for name, array in exits.items()}
    arrays |= {STOP + name: array for name, array in stops.items()}
    arrays["depths"] = np.array(depths, dtype=np.float32)
    facts: dict[str, Fact] = {"form": form}
    draft = Part(KIND, fitting.model, arrays, facts, date.today().isoformat())
    exit_sure = surenesses(classifiers_of(draft, layers, EXIT), judge)
    exit_at, kept, share = choose_threshold(exit_sure, judge, depths, layers, fitting.keep)
    stop_sure = surenesses(classifiers_of(draft, layers, STOP), judge)
    worst = worst_seen(stop_sure, exit_sure, exit_at)
    right = np.array([bool(record.right) for record in judge])
    stop_at, _, _ = stop_threshold(worst, right, LOST)
    # a gate on another strategy sees tokens that ran through all layers
    seen = worst_seen(stop_sure, exit_sure, np.inf)
    gate_at, gate_wrong, gate_right = stop_threshold(seen, right, LOST)
    curve = [(part, *stop_threshold(worst, right, part)[1:]) for part in CURVE]
    fitting.stage("answers for real")
    rule = StopOrExit(lambda: draft, exit_at, stop_at)
    rest = (1 - RECORDED - LEARNED) * fitting.seconds
    strategy = EarlyExit("sec", "", fitting.engine, rule)
    real = fitting.try_out(strategy, Plain(fitting.engine), rest)
    facts |= {
        "exit_threshold": exit_at,
        "stop_threshold": stop_at,
        THRESHOLD: gate_at,
        "tokens_kept": kept,
        "layers_share": real.layers,
        "wrong_stopped": real.wrong_stopped,
        "right_stopped": real.right_stopped,
        "wrong": real.wrong,
        "tested_prompts": real.prompts,
        "answers": len(records),
        "prompts": fitting.prompts.source,
    }
    lines = [
        f"exits from layer {depths[0]} of {layers} on, threshold {exit_at:.3f}:"
        f" {100 * kept:.1f} % of tokens kept, foreseen with {100 * share:.1f} % of the layers",
        f"on {len(judge)} answers that nothing was learned from, {int((~right).sum())} of them"
        " wrong; right ones stopped at most, wrong ones stopped:",
        *(f"  {100 * part:4.0f} %  {100 * caught:5.1f} %" for part, caught, _ in curve),
        f"as a gate on other strategies, at {100 * LOST:.0f} %: {100 * gate_wrong:.1f} % of the"
        f" wrong ones stopped, {100 * gate_right:.1f} % of the right ones",
        f"for real, on {real.tried} at {100 * LOST:.0f} %: stopped"
        f" {real.wrong_stopped} of {real.wrong} wrong answers and"
        f" {real.right_stopped} of {real.prompts - real.wrong} right ones,"
        f" with {100 * real.layers:.1f} % of the layers",
    ]
    return FittedPart(Part(KIND, fitting.model, arrays, facts, draft.made), tuple(lines))


def worst_seen(
    stops: Sequence[np.ndarray[Any, Any]], exits: Sequence[np.ndarray[Any, Any]], exit_at: float
) -> np.ndarray[Any, Any]:
    """How lost each answer seems at its worst, over the exits that its tokens came to."""
    worst = []
    for stop, leave in zip(stops, exits, strict=True):
        left = (leave >= exit_at).cumsum(1) - (leave >= exit_at)
        worst.append(float(np.where(left == 0, stop, 0.0).max()))
    return np.array(worst)


def stop_threshold(
    worst: np.ndarray[Any, Any], right: np.ndarray[Any, Any], share: float
) -> tuple[float, float, float]:
    """The lowest threshold that stops at most a share of the right answers.

    With it the shares that it stops of the wrong ones and of the right ones.
    """
    best = (1.0, 0.0, 0.0)
    for threshold in np.sort(np.unique(worst))[::-1]:
        stopped = worst >= threshold
        of_right = float(stopped[right].mean()) if right.any() else 0.0
        if of_right > share:
            break
        of_wrong = float(stopped[~right].mean()) if (~right).any() else 0.0
        best = (float(threshold), of_wrong, of_right)
    return best
