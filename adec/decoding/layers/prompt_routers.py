"""FiRST: a router before each layer sees the prompt, and says whether the answer needs the layer.

Jain et al. 2025, "FiRST: Finetuning Router-Selective Transformers for Input-Adaptive Latency
Reduction", arXiv 2410.12513. While the prompt is read, router i sees what layer i reads, averaged
over the tokens of the prompt:

    p_i = sigmoid(w_i x_i + b_i)        layer i runs for the whole answer where p_i >= threshold

All tokens of an answer leave out the same layers, so the cache needs no repair.

What is different here: in training a layer's output is h + g f(h) with a straight-through gate g
of 0 or 1, whose gradient is that of p. The paper prints p f(h) + (1 - p) f(h), in which p cancels.
The prompt is read with all layers, and averages are divided by their root mean square. There is no
second phase with LoRA: the model's weights stay as they are. `control` leaves out as many layers
without asking about which. The loop is `same_layers.py`; routers are learned by
`adec calibrate MODEL --fit first`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, cast
from zlib import crc32

import numpy as np

from adec.decoding.layers.exit_classifiers import normed
from adec.decoding.layers.same_layers import SameLayers
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import ModelFileError
from adec.events.records import Step
from adec.parts.part import Array, Part
from adec.signals import Scores

KIND = "first"
"""Of the part that it needs."""

Control = Literal["none", "same", "random"]


class Routers:
    """A router for each layer, as a part holds them.

    Arrays: "weight" (layers, width), "bias" (layers), and "usual" (layers), the share of the
    prompts it was learned from for which a layer is kept.
    """

    def __init__(self, part: Part, layers: int) -> None:
        """Raises ModelFileError where the arrays do not fit a model of so many layers."""
        self._weight = part.tensor("weight", layers, None)
        self._bias = part.tensor("bias", layers)
        self.usual = part.tensor("usual", layers)

    def keep(self, means: Array) -> Array:
        """How sure each router is that its layer must run, from `means`, shape (layers, width).

        Raises ModelFileError where the model is of another width than the routers.
        """
        if means.shape != self._weight.shape:
            wide, model = self._weight.shape[1], means.shape[-1]
            raise ModelFileError(f"the part {KIND} is {wide} wide, the model {model}")
        logits = (self._weight * normed(means)).sum(1) + self._bias
        result: Array = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        return result


class PromptMeans:
    """What every layer reads, averaged over the tokens of a prompt."""

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._sums: Array | None = None
        self._count = 0

    def add(self, engine: LayerEngine, tokens: int) -> None:
        """The newest `tokens`, whose states at all depths the engine holds."""
        read = [engine.states_at(layer, rows=tokens).sum(0) for layer in range(self._layers)]
        sums: Array = np.stack(read).astype(np.float32)
        if self._sums is not None:
            sums = (self._sums + sums).astype(np.float32)
        self._sums = sums
        self._count += tokens

    @property
    def means(self) -> Array:
        """Shape (layers, width)."""
        assert self._sums is not None
        result: Array = (self._sums / self._count).astype(np.float32)
        return result


class PromptRouters(SameLayers):
    """The layers that the routers choose from the prompt, or a control's as many."""

    def __init__(
        self,
        engine: LayerEngine,
        part: Callable[[], Part],
        threshold: float | None = None,
        control: Control = "none",
    ) -> None:
        """`part` is asked for when the first answer begins; without a threshold, so is its own."""
        super().__init__("first", "arXiv 2410.12513", engine)
        self._part = part
        self._threshold = threshold
        self._control = control
        self._routers: Routers | None = None
        self._means = PromptMeans(engine.info.layers)

    def read(self, ids: Sequence[int], limits: Limits) -> Generator[Step, None, Scores]:
        """Read the whole prompt, since the routers have to see all of it."""
        engine = self._engine
        if self._routers is None:
            part = self._part()
            if self._threshold is None:
                self._threshold = part.number("threshold", least=0, most=1)
            self._routers = Routers(part, engine.info.layers)
        self._means = PromptMeans(engine.info.layers)
        engine.rewind(0)
        meter = limits.meter()
        for at in range(0, len(ids), limits.chunk):
            meter.start()
            chunk = ids[at : at + limits.chunk]
            last = at + len(chunk) == len(ids)
            scores = meter.read(engine, "large", chunk, rows=int(last))
            self._means.add(engine, len(chunk))
            yield meter.step("prompt")
        return scores

    def choose(self, prompt: Sequence[int], limits: Limits) -> Sequence[int]:
        """Those that are sure enough to be needed, one at least; or as many of a control's."""
        assert self._routers is not None and self._threshold is not None
        keep = self._routers.keep(self._means.means)
        count = max(1, int((keep >= self._threshold).sum()))
        if self._control == "random":
            drawn = f"layers {limits.sampler.seed} {crc32(repr(tuple(prompt)).encode())}"
            return sorted(Random(drawn).sample(range(len(keep)), count))
        likely = self._routers.usual if self._control == "same" else keep
        return sorted(int(layer) for layer in np.argsort(-likely, kind="stable")[:count])


@dataclass(frozen=True, slots=True)
class FirstSettings:
    """`--set first.NAME=VALUE`."""

    threshold: float | None = setting(
        None, "how sure a router must be for its layer to run; none: what was found to keep the"
        " answers", least=0, most=1,
    )  # fmt: skip
    control: Literal["none", "same", "random"] = setting(
        "none", "for comparison: as many layers, those that most prompts keep (same), or drawn by"
        " lot for each prompt (random)",
    )  # fmt: skip


def parts(settings: FirstSettings) -> tuple[str, ...]:
    """The part that the routers are in; a control takes its number of layers from them."""
    return (KIND,)


def build(engines: Engines, settings: FirstSettings, aids: Aids) -> PromptRouters:
    """Routers on the large model."""
    engine = cast(LayerEngine, engines["large"])
    return PromptRouters(engine, lambda: aids.part(KIND), settings.threshold, settings.control)
