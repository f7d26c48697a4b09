"""Learns the pads of Lexical Unit Decoding (`lexical`), their fine-tune, and when to trust them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, cast

import numpy as np

from adec.calibration.fit.begun import Begun
from adec.calibration.fit.fitting import FittedPart, Fitting, Real, thresholds
from adec.calibration.fit.own_texts import begun_states, own_texts
from adec.decoding.heads.lexical import KIND, LexicalSettings, build
from adec.decoding.heads.pseudo_part import arrays_of
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.engines.protocols import PseudoStates
from adec.engines.torch.pseudo.pseudo_engine import TorchPseudoEngine
from adec.engines.torch.torch_fit.pseudo_fit import Foreseen, Text, fit_pseudo, foresee
from adec.engines.torch.torch_fit.pseudo_fit import probabilities as probabilities_of
from adec.parts.part import Array, Fact, Part

PADS = 3
RANK = 8
"""Of the fine-tune; smaller where the part would outgrow its bound."""
ALPHA = 0.9
"""How likely the model must find every token of a unit."""
BEYOND = 0.3
"""Weight of a row behind the end of its unit. The paper learns from units alone; but pads stand
behind every token, and must know when they do not know."""
NUMBERS = 12 << 20
"""Numbers that the fine-tune may have: 48 MiB."""
RECORDED, LEARNED = 0.2, 0.55
"""Shares of the time for answers and for learning; the rest is for real answers."""
LEAST = 20
"""Trusted tokens on which a threshold must have been seen to hold."""


def fit_lexical(fitting: Fitting) -> FittedPart:
    """The model's own answers, their units, pads, a threshold, and real answers of both forms.

    Raises UsageError where the time is enough for too few answers.
    """
    engine = cast(TorchPseudoEngine, fitting.engine)
    learn, judge = own_texts(fitting, RECORDED * fitting.seconds, PADS)
    chances = [probabilities_of(engine, text) for text in learn]
    weighed = [replace(text, weights=unit_weights(of)) for text, of in zip(learn, chances,
               strict=True)]  # fmt: skip
    inside = np.concatenate([of[text.start:] > ALPHA for text, of in zip(learn, chances,
                             strict=True)])  # fmt: skip
    fitting.stage("pads")
    begun = Begun(KIND, fitting.model)
    begin = begun_states(begun, engine, PADS) or _begin(engine, learn, fitting.seed)
    states, steps = fit_pseudo(
        engine, begin, weighed, "units", seconds=LEARNED * fitting.seconds, seed=fitting.seed,
        tick=fitting.tick, keep=lambda now: begun.keep(arrays_of(now)),
    )  # fmt: skip
    seen = foresee(engine, states, judge, "units")
    sure, kept, trusted = choose_sure(seen, fitting.keep)
    facts: dict[str, Fact] = {"sure": sure}
    draft = Part(KIND, fitting.model, arrays_of(states), facts, date.today().isoformat())
    fitting.stage("answers for real")
    rest = (1 - RECORDED - LEARNED) * fitting.seconds / 2
    trust = _try(fitting, draft, LexicalSettings(size="fixed"), rest)
    exact = _try(fitting, draft, LexicalSettings(form="exact"), rest)
    facts |= {
        "alpha": ALPHA,
        "answers": len(learn) + len(judge),
        "steps": steps,
        "loss_nats": seen.loss,
        "tokens_in_units": float(inside.mean()),
        "trusted_right": kept,
        "trusted_a_forward": trusted,
        "tokens_a_forward": trust.per_forward,
        "tokens_a_forward_exact": exact.per_forward,
        "answers_same": trust.same,
        "answers_same_exact": exact.same,
        "tested_prompts": trust.prompts,
        "prompts": fitting.prompts.source,
    }
    if trust.right is not None and trust.right_plain is not None:
        facts |= {"right": trust.right, "right_plain": trust.right_plain}
    hits = [float(rate) for rate in seen.hits.mean(0)]
    facts |= {f"right_{step}_ahead": rate for step, rate in enumerate(hits, 1)}
    rates = ", ".join(f"{100 * rate:.1f} % at {step} ahead" for step, rate in enumerate(hits, 1))
    numbers = sum(down.size + up.size for down, up in states.adapters.values())
    lines = [
        f"{PADS} pads and a fine-tune of {numbers} numbers, from {len(learn)} answers in {steps}"
        f" steps; {100 * inside.mean():.0f} % of their tokens are likelier than {ALPHA}",
        f"right on answers that nothing was learned from: {rates}",
        f"trusted above {sure:.3f}: {trusted:.2f} tokens a forward beside the model's own,"
        f" {100 * kept:.1f} % of them right",
        f"for real, on {trust.tried}, trusting: {trust.per_forward:.2f} tokens a forward,"
        f" {100 * trust.same:.1f} % of the answers unchanged",
        f"for real, on {exact.tried}, exact: {exact.per_forward:.2f} tokens a forward,"
        f" {100 * exact.same:.1f} % of the answers unchanged",
    ]
    if trust.right is not None and trust.right_plain is not None:
        lines.append(
            f"right, trusting: {100 * trust.right:.1f} %, the model alone"
            f" {100 * trust.right_plain:.1f} %"
        )
    begun.remove()
    return FittedPart(Part(KIND, fitting.model, draft.tensors, facts, draft.made), tuple(lines))


def unit_weights(chances: Array, pads: int = PADS) -> Array:
    """Weights (tokens, pads) of what pads behind each token name, by the tokens' `chances`.

    Pad i behind token p names token p + 2 + i. It counts in full where that token and all since
    p + 1 are of one unit.
    """
    weights = np.full((len(chances), pads), BEYOND, np.float32)
    for token in range(len(chances)):
        for pad in range(pads):
            unit = chances[token + 1 : token + 3 + pad]
            if len(unit) == pad + 2 and (unit > ALPHA).all():
                weights[token, pad] = 1.0
    return weights


def choose_sure(seen: Foreseen, keep: float) -> tuple[float, float, float]:
    """The lowest threshold at which a share of the trusted tokens is right, as far as was seen.

    With it that share, and how many tokens are trusted a forward. A token is trusted where it and
    those before it are surer, and right where those are right, too. 1 where none keeps so many.
    """
    right = np.logical_and.accumulate(seen.hits, axis=1)
    best = (1.0, 1.0, 0.0)
    for threshold in thresholds(seen.sure) if seen.sure.size else ():
        trusted: Any = np.logical_and.accumulate(seen.sure > threshold, axis=1)
        count = int(trusted.sum())
        share = float(right[trusted].mean()) if count else 1.0
        if count >= LEAST and share < keep:
            break
        if count >= LEAST:
            best = (threshold, share, count / len(trusted))
    return best


def _begin(engine: TorchPseudoEngine, texts: list[Text], seed: int) -> PseudoStates:
    """Pads that read as the mean token of the answers, and a fine-tune that changes nothing yet."""
    rng = np.random.default_rng(seed)
    tokens = sorted({token for text in texts for token in text.tokens[text.start :]})
    mean = engine.embeddings(tokens).mean(0)
    shapes = engine.linear_shapes()
    rank = max(1, min(RANK, NUMBERS // sum(map(sum, shapes.values()))))
    adapters = {
        name: (
            (rng.normal(size=(rank, inputs)) / np.sqrt(inputs)).astype(np.float32),
            np.zeros((outputs, rank), np.float32),
        )
        for name, (outputs, inputs) in shapes.items()
    }
    return PseudoStates((0,) * PADS, np.tile(mean, (PADS, 1)), adapters=adapters)


def _try(fitting: Fitting, draft: Part, settings: LexicalSettings, seconds: float) -> Real:
    engine = cast(TorchPseudoEngine, fitting.engine)
    strategy = build(Engines(large=engine), settings, Aids(part=lambda kind: draft))
    return fitting.try_out(strategy, Plain(engine), seconds)
