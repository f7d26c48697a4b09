"""Learns the maps of Hidden Transfer (`hidden-transfer`), and at which layers they stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import combinations_with_replacement
from typing import Any, cast

import numpy as np

from adec.calibration.fit.begun import Begun
from adec.calibration.fit.fitting import FittedPart, Fitting
from adec.calibration.fit.own_texts import begun_states, own_texts
from adec.decoding.heads.hidden_transfer import KIND, TransferSettings, build
from adec.decoding.heads.pseudo_part import arrays_of
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.engines.protocols import PseudoStates
from adec.engines.torch.pseudo.pseudo_engine import TorchPseudoEngine
from adec.engines.torch.torch_fit.pseudo_fit import Foreseen, Text, fit_pseudo, foresee
from adec.errors import UsageError
from adec.parts.part import Fact, Part
from adec.parts.part_file import LIMIT

STEPS = 3
"""Tokens ahead."""
RECORDED, CHOSEN, LEARNED = 0.2, 0.25, 0.4
"""Shares of the time for answers, for choosing layers and for learning; the rest is for real
answers."""
PLACES = (0.0, 0.34, 0.67)
"""Where maps are tried, as shares of the layers below them."""
TIE = 0.01
"""A higher layer is preferred to one that foresees so many tokens more, since it costs less."""


def fit_transfer(fitting: Fitting) -> FittedPart:
    """The model's own answers, maps at several layers, the best of them longer, real answers.

    Raises UsageError where the model has one layer, or the time is enough for too few answers.
    """
    engine = cast(TorchPseudoEngine, fitting.engine)
    layers = engine.info.layers
    if layers < 2:
        raise UsageError(f"{engine.info.name} has one layer, and no state between two")
    size = 4 * STEPS * engine.width * (engine.width + 1)
    if size > LIMIT:
        raise UsageError(
            f"maps for {engine.info.name} take {size >> 20} MiB, and a part has {LIMIT >> 20} at"
            " most",
            hint="--fit lexical and --fit ppd take less",
        )
    learn, judge = own_texts(fitting, RECORDED * fitting.seconds, STEPS)
    begun = Begun(KIND, fitting.model)
    begin = begun_states(begun, engine, STEPS)
    if begin is None or begin.maps is None:
        begun.check_room(arrays_of(identity_at(0, engine.width)))
        fitting.stage("layers")
        depths, tried = _choose_layers(fitting, engine, learn, judge)
        begin = _joined([tried[depth][0] for depth in depths], depths)
        chosen = f"layers tried, tokens foreseen by each: {_worths(tried)}"
        share = LEARNED
    else:
        chosen = "goes on from an earlier fit, at its layers"
        depths, share = begin.depths, CHOSEN + LEARNED
    fitting.stage("maps")
    states, steps = fit_pseudo(
        engine, begin, learn, "states", seconds=share * fitting.seconds, seed=fitting.seed,
        tick=fitting.tick, keep=lambda now: begun.keep(arrays_of(now)),
    )  # fmt: skip
    seen = foresee(engine, states, judge)
    fitting.stage("answers for real")
    draft = Part(KIND, fitting.model, arrays_of(states), {}, date.today().isoformat())
    strategy = build(Engines(large=engine), TransferSettings(), Aids(part=lambda kind: draft))
    rest = (1 - RECORDED - CHOSEN - LEARNED) * fitting.seconds
    real = fitting.try_out(strategy, Plain(engine), rest)
    rates = [float(rate) for rate in seen.hits.mean(0)]
    facts: dict[str, Fact] = {
        "answers": len(learn) + len(judge),
        "steps": steps,
        "loss_nats": seen.loss,
        "tokens_a_forward": real.per_forward,
        "answers_same": real.same,
        "tested_prompts": real.prompts,
        "prompts": fitting.prompts.source,
    }
    facts |= {f"right_{step}_ahead": rate for step, rate in enumerate(rates, 1)}
    lines = [
        chosen,
        f"maps at layers {', '.join(map(str, depths))} of {layers}, from {len(learn)} answers in"
        f" {steps} steps",
        "right on answers that nothing was learned from: " + ", ".join(
            f"{100 * rate:.1f} % at {step} ahead" for step, rate in enumerate(rates, 1)
        ),
        f"for real, on {real.tried}: {real.per_forward:.2f} tokens a forward,"
        f" {100 * real.same:.1f} % of the answers unchanged",
    ]  # fmt: skip
    begun.remove()
    return FittedPart(Part(KIND, fitting.model, draft.tensors, facts, draft.made), tuple(lines))


def identity_at(depth: int, width: int, count: int = STEPS) -> PseudoStates:
    """Pseudo states that are the carrier's own: where learning begins."""
    maps = np.tile(np.eye(width, dtype=np.float32), (count, 1, 1))
    return PseudoStates((depth,) * count, np.zeros((count, width), np.float32), maps)


def _choose_layers(
    fitting: Fitting, engine: TorchPseudoEngine, learn: Sequence[Text], judge: Sequence[Text]
) -> tuple[tuple[int, ...], dict[int, tuple[PseudoStates, Foreseen]]]:
    """A layer a step, not falling, by what each foresees on `judge` after a short fit."""
    layers = engine.info.layers
    places = sorted({min(layers - 1, round(share * layers)) for share in PLACES})
    tried: dict[int, tuple[PseudoStates, Foreseen]] = {}
    for number, depth in enumerate(places):
        states, _ = fit_pseudo(
            engine, identity_at(depth, engine.width), learn, "states",
            seconds=CHOSEN * fitting.seconds / len(places), seed=fitting.seed,
            tick=lambda share, done=number: fitting.tick((done + share) / len(places)),  # type: ignore[misc]
        )  # fmt: skip
        tried[depth] = states, foresee(engine, states, judge)
    rates = {depth: seen.hits.mean(0) for depth, (_, seen) in tried.items()}
    return best_layers(rates), tried


def best_layers(rates: dict[int, np.ndarray[Any, Any]]) -> tuple[int, ...]:
    """Depths by step, not falling, with the most tokens to expect of a chain of drafts.

    `rates`: by depth, how often each step is foreseen rightly. Within `TIE` the higher ones win.
    """
    count = len(next(iter(rates.values())))
    ways = list(combinations_with_replacement(sorted(rates), count))

    def worth(way: tuple[int, ...]) -> float:
        return float(np.cumprod([rates[depth][step] for step, depth in enumerate(way)]).sum())

    most = max(map(worth, ways))
    return max((way for way in ways if worth(way) >= most - TIE), key=sum)


def _joined(states: Sequence[PseudoStates], depths: tuple[int, ...]) -> PseudoStates:
    """Step i from the i-th of these states."""
    maps = [one.maps[step] for step, one in enumerate(states) if one.maps is not None]
    shifts = [one.shifts[step] for step, one in enumerate(states)]
    return PseudoStates(depths, np.stack(shifts), np.stack(maps))


def _worths(tried: dict[int, tuple[PseudoStates, Foreseen]]) -> str:
    return ", ".join(
        f"{depth}: {float(np.cumprod(seen.hits.mean(0)).sum()):.2f}"
        for depth, (_, seen) in tried.items()
    )
