"""Learns the filter of Learn2PD (`learn2pd`) from a diffusion model's own answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from time import monotonic
from typing import cast

import numpy as np

from adec.calibration.fit.filter_records import FilterRows, filter_rows
from adec.calibration.fit.fitting import LEAST_ANSWERS, TESTED, FittedPart, Fitting
from adec.decoding.diffusion.canvas_loop import (
    CanvasSettings,
    CanvasSize,
    CanvasStrategy,
    larger_context,
)
from adec.decoding.diffusion.fast_dllm import SureTokens
from adec.decoding.diffusion.learn2pd import KIND, Filtered, Learn2pdSettings, filter_of
from adec.decoding.diffusion.reference_steps import Quota
from adec.decoding.diffusion.unmasking import UnmaskingRule
from adec.decoding.strategy import Limits, Prompt
from adec.engines.protocols import CanvasEngine
from adec.engines.torch.torch_fit.filter_fit import Rows, fit_unmasking_filter
from adec.errors import UsageError
from adec.parts.part import Fact, Part

SIZE = CanvasSize(64, 32)
RECORDED, LEARNED = 0.6, 0.1
"""Shares of the time for answers and for learning; the rest is for real answers."""
BASELINE = 0.9
"""The threshold of Fast-dLLM, which the filter is compared with."""


@dataclass
class RuleRow:
    """What a rule did on held-out prompts."""

    tokens: int = 0
    forwards: int = 0
    same: int = 0
    right: list[bool] = field(default_factory=list)

    @property
    def per_forward(self) -> float:
        """Tokens a forward."""
        return self.tokens / max(1, self.forwards)


def fit_filter(fitting: Fitting) -> FittedPart:
    """Answers one position a forward, the filter, and answers for real beside the threshold.

    Raises UsageError where the time is enough for too few answers.
    """
    engine = cast(CanvasEngine, fitting.engine)
    _remark_on_room(fitting, engine)
    fitting.stage("answers")
    rows = _record(fitting, engine)
    cut = max(1, round(0.7 * len(rows)))
    learn, judge = _joined(rows[:cut]), _joined(rows[cut:])
    fitting.stage("filter")
    arrays, loss = fit_unmasking_filter(
        learn, judge, seconds=LEARNED * fitting.seconds, seed=fitting.seed, tick=fitting.tick
    )
    draft = Part(KIND, fitting.model, arrays, {}, date.today().isoformat())
    usual = Learn2pdSettings()
    right, found = _worth(draft, judge, usual.probability)
    fitting.stage("answers for real")
    single, threshold, filtered = _try_out(
        fitting, engine,
        (
            Quota(1, "confidence"),
            SureTokens(BASELINE),
            Filtered(lambda: filter_of(draft), usual.probability, usual.end),
        ),
    )  # fmt: skip
    tested = single.same
    facts: dict[str, Fact] = {
        "block": SIZE.block,
        "answers": len(rows),
        "loss_nats": loss,
        "final_of_those_let_stand": right,
        "found_of_those_final": found,
        "tested_prompts": tested,
        "tokens_a_forward": filtered.per_forward,
        "tokens_a_forward_threshold": threshold.per_forward,
        "prompts": fitting.prompts.source,
    }
    lines = [
        f"filter for blocks of {SIZE.block}, from {len(rows)} answers",
        f"at {usual.probability}: {100 * right:.1f} % of what it lets stand is final, and it finds"
        f" {100 * found:.1f} % of what is",
    ]
    for name, row in (("one a forward", single), (f"threshold {BASELINE}", threshold),
                      ("the filter", filtered)):  # fmt: skip
        judged = f", {sum(row.right)} of {len(row.right)} right" if row.right else ""
        lines.append(
            f"{name}: {row.per_forward:.2f} tokens a forward, {row.same} of {tested} answers as one"
            f" a forward{judged}"
        )
    return FittedPart(Part(KIND, fitting.model, arrays, facts, draft.made), tuple(lines))


def _has_room(engine: CanvasEngine, ids: Sequence[int]) -> bool:
    """Whether a whole canvas fits behind a prompt: on a shorter one answers may be others."""
    return len(ids) + SIZE.canvas <= engine.context


def _remark_on_room(fitting: Fitting, engine: CanvasEngine) -> None:
    """Say how many prompts are left out. Raises UsageError where too few are left to fit on."""
    rooms = [
        [_has_room(engine, fitting.encode(prompt.text)) for prompt in half]
        for half in (fitting.prompts.fit, fitting.prompts.held_out[:TESTED])
    ]
    left, asked = sum(map(sum, rooms)), sum(map(len, rooms))
    if left == asked:
        return
    out = f"{asked - left} of {asked} prompts"
    why = f"the context of {engine.context:,} holds no canvas of {SIZE.canvas} positions behind"
    if sum(rooms[0]) < LEAST_ANSWERS <= len(rooms[0]):
        raise UsageError(
            f"{why} {out}, and a fit needs {LEAST_ANSWERS} to fit on",
            hint=larger_context(engine).removeprefix("; ") or "give shorter prompts",
        )
    fitting.remark(f"{out} are left out: {why} them{larger_context(engine)}")


def _record(fitting: Fitting, engine: CanvasEngine) -> list[FilterRows]:
    began = monotonic()
    seconds = RECORDED * fitting.seconds
    limits = Limits(fitting.max_tokens, fitting.end, signals=False)
    asked = fitting.prompts.fit
    found: list[FilterRows] = []
    over = False
    for prompt in asked:
        ids = fitting.encode(prompt.text)
        if not _has_room(engine, ids):
            continue
        answer, _ = _answer(engine, Quota(1, "confidence"), ids, limits)
        found.append(filter_rows(engine, ids, answer, SIZE, limits))
        spent = monotonic() - began
        fitting.tick(max(len(found) / len(asked), spent / seconds))
        over = spent > seconds
        if over:
            break
    fitting.check_enough(len(found), over=over)
    return found


def _answer(
    engine: CanvasEngine, rule: UnmaskingRule, ids: Sequence[int], limits: Limits
) -> tuple[list[int], int]:
    """The answer by a rule, and its forwards."""
    settings = CanvasSettings(SIZE.canvas, SIZE.block)
    strategy = CanvasStrategy("fit", "", engine, rule, settings)
    steps = list(strategy.generate(Prompt(tuple(ids)), limits))
    return [token.id for step in steps for token in step.tokens], len(steps)


def _joined(rows: Sequence[FilterRows]) -> Rows:
    return (
        np.concatenate([row.confidences for row in rows]),
        np.concatenate([row.labels for row in rows]),
        np.concatenate([row.weights for row in rows]),
    )


def _worth(part: Part, rows: Rows, probability: float) -> tuple[float, float]:
    """Of what the filter lets stand, the share that is final; and what it finds of what is."""
    confidences, labels, weights = rows
    stands = (filter_of(part).chances(confidences) > probability) & (weights > 0)
    final = (labels > 0) & (weights > 0)
    both = float((stands & final).sum())
    return both / max(1.0, float(stands.sum())), both / max(1.0, float(final.sum()))


def _try_out(
    fitting: Fitting, engine: CanvasEngine, rules: Sequence[UnmaskingRule],
    clock: Callable[[], float] = monotonic,
) -> list[RuleRow]:  # fmt: skip
    """Held-out prompts, each answered by every rule before the next one; the first is exact."""
    began, seconds = clock(), (1 - RECORDED - LEARNED) * fitting.seconds
    limits = Limits(fitting.max_tokens, fitting.end, signals=False)
    rows = [RuleRow() for _ in rules]
    for number, prompt in enumerate(fitting.prompts.held_out[:TESTED], 1):
        ids = fitting.encode(prompt.text)
        if not _has_room(engine, ids):
            continue
        answers = [_answer(engine, rule, ids, limits) for rule in rules]
        for row, (answer, forwards) in zip(rows, answers, strict=True):
            row.tokens, row.forwards = row.tokens + len(answer), row.forwards + forwards
            row.same += answer == answers[0][0]
            judged = fitting.right(prompt, answer)
            if judged is not None:
                row.right.append(judged)
        spent = clock() - began
        fitting.tick(max(number / TESTED, spent / seconds))
        if spent > seconds:
            break
    return rows
