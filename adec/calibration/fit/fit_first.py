"""Learns the routers of FiRST (`first`) and the threshold that keeps the model's tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, cast

import numpy as np

from adec.calibration.fit.exit_records import LayerRecord
from adec.calibration.fit.fitting import FittedPart, Fitting, split
from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS
from adec.decoding.layers.exit_classifiers import normed
from adec.decoding.layers.prompt_routers import KIND, Control, PromptMeans, PromptRouters, Routers
from adec.decoding.plain import Plain
from adec.engines.protocols import LayerEngine
from adec.engines.torch.torch_fit.router_fit import Gated, agreement, fit_routers
from adec.errors import UsageError
from adec.parts.part import Array, Fact, Part

RECORDED, LEARNED, JUDGED = 0.2, 0.45, 0.1
"""Shares of the time for answers, learning and the threshold; the rest is for real answers."""
CONTROLS: tuple[Control, ...] = ("none", "same", "random")
MOST_THRESHOLDS = 24
CHUNK = 256
"""Tokens of a prompt that are read at once."""


def fit_first(fitting: Fitting) -> FittedPart:
    """Answers, routers, a threshold on answers that they did not see, and answers for real.

    Raises UsageError where the model has a single layer, or its answers are too short.
    """
    engine, layers = fitting.engine, fitting.engine.info.layers
    if layers < 2:
        raise UsageError(f"{engine.info.name} has one layer, and none to leave out beside it")
    fitting.stage("answers")
    found = fitting.records((layers - 1,), RECORDED * fitting.seconds)
    # the first tokens run through all layers in any case
    records = [record for record in found if len(record.answer) > PLAIN_TOKENS]
    if len(records) < 2:
        raise UsageError(
            f"the answers of {engine.info.name} are too short to leave layers out of",
            hint="give prompts that it answers at length",
        )
    learn, judge = split(records)
    module = cast(Any, engine).module
    fitting.stage("routers")
    arrays, loss = fit_routers(
        module, np.stack([normed(prompt_means(engine, one)) for one in learn]),
        [gated(one) for one in learn], seconds=LEARNED * fitting.seconds, seed=fitting.seed,
        tick=fitting.tick,
    )  # fmt: skip
    arrays["usual"] = np.zeros(layers, dtype=np.float32)
    draft = Part(KIND, fitting.model, arrays, {}, date.today().isoformat())
    fitting.stage("threshold")
    keep = [Routers(draft, layers).keep(prompt_means(engine, one)) for one in judge]
    threshold, kept = choose_threshold(
        keep, fitting.keep, lambda at, run: agreement(module, gated(judge[at]), run), fitting.tick
    )
    every = [Routers(draft, layers).keep(prompt_means(engine, one)) for one in learn] + keep
    arrays["usual"] = np.mean([one >= threshold for one in every], 0, dtype=np.float32)
    fitting.stage("answers for real")
    rest = (1 - RECORDED - LEARNED - JUDGED) * fitting.seconds / len(CONTROLS)
    made = Part(KIND, fitting.model, arrays, {"threshold": threshold}, draft.made)
    real = {
        control: fitting.try_out(
            PromptRouters(engine, lambda: made, None, control), Plain(engine), rest
        )
        for control in CONTROLS
    }
    own = real["none"]
    facts: dict[str, Fact] = {
        "threshold": threshold,
        "tokens_kept": kept,
        "layers_share": own.layers,
        "answers_same": own.same,
        "answers_same_random": real["random"].same,
        "tested_prompts": own.prompts,
        "answers": len(records),
        "loss_nats": loss,
        "prompts": fitting.prompts.source,
    }
    lines = [
        f"routers before {layers} layers, threshold {threshold:.3f}: {100 * kept:.1f} % of tokens"
        f" as the whole model's, with {layers * float(arrays['usual'].mean()):.1f} layers",
        *(
            f"for real, {_WORDS[control]}, on {one.tried}: {100 * one.layers:.1f} % of"
            f" the layers, {100 * one.same:.1f} % of the answers unchanged"
            + ("" if one.right is None else f", {100 * one.right:.1f} % right")
            for control, one in real.items()
        ),
    ]
    if own.right_plain is not None:
        lines.append(f"right with all layers: {100 * own.right_plain:.1f} %")
        facts |= {"right": own.right or 0.0, "right_plain": own.right_plain}
    return FittedPart(Part(KIND, fitting.model, arrays, facts, draft.made), tuple(lines))


_WORDS = {
    "none": "layers by routers",
    "same": "as many, the same for all",
    "random": "as many at random",
}


def prompt_means(engine: LayerEngine, record: LayerRecord) -> Array:
    """What the routers see of a record's prompt, (layers, width)."""
    means = PromptMeans(engine.info.layers)
    engine.rewind(0)
    for at in range(0, len(record.prompt), CHUNK):
        part = record.prompt[at : at + CHUNK]
        engine.lower(part, engine.info.layers)
        means.add(engine, len(part))
    return means.means


def gated(record: LayerRecord) -> Gated:
    """A record with the position from which layers are left out."""
    return (*record.prompt, *record.answer), len(record.prompt) + PLAIN_TOKENS - 1


def choose_threshold(
    keep: Sequence[Array],
    wanted: float,
    judge: Callable[[int, tuple[bool, ...]], tuple[int, int]],
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[float, float]:
    """The highest threshold, of fewest layers, that keeps a share of the tokens; and that share.

    `keep`: how sure each router is, an array an answer. `judge(answer, kept)`: how many of its
    tokens stay with the layers kept, and of how many. 0, at which all layers run, where no other
    does.
    """
    every = np.unique(np.concatenate(keep))
    if len(every) > MOST_THRESHOLDS:
        every = np.quantile(every, np.linspace(0, 1, MOST_THRESHOLDS))
    best = (0.0, 1.0)
    known: dict[tuple[int, tuple[bool, ...]], tuple[int, int]] = {}
    for number, threshold in enumerate(every, 1):
        stays = total = 0
        for answer, sure in enumerate(keep):
            run = sure >= threshold
            run[sure.argmax()] = True
            key = answer, tuple(map(bool, run))
            if key not in known:
                known[key] = judge(answer, key[1])
            stays, total = stays + known[key][0], total + known[key][1]
        tick(number / len(every))
        if stays < wanted * total:
            break
        best = (float(threshold), stays / total)
    return best
