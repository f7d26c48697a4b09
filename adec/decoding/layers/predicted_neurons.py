"""FTWT: gates predict which feed-forward neurons a token needs, and only those are computed.

Elkerdawy et al. 2022, "Fire Together Wire Together: A Dynamic Pruning Approach with
Self-Supervised Mask Prediction", CVPR 2022, arXiv 2110.08232. For a layer's input x:

    heat          h_f = how strongly neuron f fires; the target is the smallest set of neurons that
                  holds a share r of the sum of all heats
    gate          a small predictor sees x, and is learned to tell that set (binary cross-entropy)
    decoding      neurons whose gate is at least `threshold` sure are computed

What is different here: the paper prunes filters of convolutions for images, this the neurons of a
language model's feed-forward layers, token by token. A neuron's heat is its activation times the
length of its column in the down-projection, that is, how far it moves the output. The gate is two
small matrices. The paper's release computes everything and masks it; here the rows of the chosen
neurons are gathered, so that time falls too. The prompt and the first tokens use all neurons.
`control` draws as many by lot. Gates are learned by `adec calibrate MODEL --fit neurons`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, log
from typing import Literal, cast

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.neuron_gates import NeuronGates
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.events.records import Guarantee, Step
from adec.parts.part import Part

KIND = "neurons"
"""Of the part that it needs."""


def gates_of(part: Part, engine: LayerEngine, threshold: float, lot: int | None) -> NeuronGates:
    """The gates that a part holds. Raises ModelFileError where they do not fit the model."""
    layers = engine.info.layers
    inner = part.tensor("inner", layers, None, None)
    outer = part.tensor("outer", layers, engine.neurons, inner.shape[1])
    return NeuronGates(
        inner, outer, part.tensor("bias", layers, engine.neurons), logit_of(threshold), lot
    )


def logit_of(probability: float) -> float:
    """From 0 to 1 to its logit; 0 is all neurons, 1 none."""
    if 0 < probability < 1:
        return log(probability / (1 - probability))
    return -inf if probability <= 0 else inf


class PredictedNeurons:
    """Plain decoding in which gates choose the feed-forward neurons of every token."""

    name = "neurons"
    paper = "arXiv 2110.08232"
    guarantee = Guarantee.APPROXIMATE

    def __init__(
        self,
        engine: LayerEngine,
        part: Callable[[], Part],
        threshold: float | None = None,
        control: Literal["none", "random"] = "none",
    ) -> None:
        """`part` is asked for when the first answer begins; without a threshold, so is its own."""
        self._engine = engine
        self._part = part
        self._threshold = threshold
        self._control = control

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`.

        Raises UsageError where there is no part, ModelFileError where it does not fit.
        """
        engine, layers = self._engine, self._engine.info.layers
        part = self._part()
        if self._threshold is None:
            self._threshold = part.number("threshold", least=0, most=1)
        lot = limits.sampler.seed if self._control == "random" else None
        gates = gates_of(part, engine, self._threshold, lot)
        answer = AnswerState(prompt, limits, engine.context)
        scores = yield from read_prompt(engine, "large", prompt.ids, limits)
        meter = limits.meter()
        source, whole = "large", engine.context
        ran: dict[str, int] = {}
        try:
            while not answer.done:
                token = limits.sampler.pick(scores, 0, len(answer.sequence))
                record = answer.describe(scores, 0, token, source)
                answer.commit([record])
                yield meter.step("write", (record,), **ran)
                if answer.done:
                    return
                meter.start()
                if len(answer.sequence) < len(prompt.ids) + PLAIN_TOKENS:
                    scores = meter.forward(engine, "large", "write", [token])
                    continue
                if source == "large":
                    source, whole = "neurons", engine.length
                    engine.gate_neurons(gates)
                before = engine.neurons_computed
                scores = meter.forward(engine, "large", "write", [token], layers=layers)
                computed = engine.neurons_computed - before
                ran = {"neurons": computed, "neurons_of": layers * engine.neurons}
        finally:
            engine.gate_neurons(None)
            # a conversation does not go on from what some neurons never saw
            engine.rewind(min(whole, engine.length))


@dataclass(frozen=True, slots=True)
class NeuronSettings:
    """`--set neurons.NAME=VALUE`."""

    threshold: float | None = setting(
        None, "how sure a gate must be for its neuron to be computed; none: what was found to keep"
        " the answers", least=0, most=1,
    )  # fmt: skip
    control: Literal["none", "random"] = setting(
        "none", "for comparison: as many neurons, drawn by lot for every token and layer"
    )


def parts(settings: NeuronSettings) -> tuple[str, ...]:
    """The part that the gates are in; the control takes its number of neurons from them."""
    return (KIND,)


def build(engines: Engines, settings: NeuronSettings, aids: Aids) -> PredictedNeurons:
    """Predicted neurons on the large model."""
    engine = cast(LayerEngine, engines["large"])
    return PredictedNeurons(engine, lambda: aids.part(KIND), settings.threshold, settings.control)
