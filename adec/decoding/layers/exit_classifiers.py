"""Small classifiers that say from a layer's state whether its token would stand.

They are a part of one model ("exits", or "stops" in a part of `sec`): arrays, a row an exit. Three
forms, as in DYNAMAX (arXiv 2504.20922): one linear layer; a feed-forward block; a block of Mamba
that keeps a state over the tokens of the answer. A state is divided by its root mean square first,
so that one scale serves all depths.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from adec.errors import ModelFileError
from adec.parts.part import Array, Part

MOST_EXITS = 256
WIDEST = 4096
"""Hidden numbers of a classifier."""


def normed(states: Array) -> Array:
    """States of shape (…, width), each divided by its root mean square."""
    scale = np.sqrt(np.mean(np.square(states), axis=-1, keepdims=True) + 1e-6)
    result: Array = (states / scale).astype(np.float32)
    return result


class Classifiers(ABC):
    """A classifier for each of several exits."""

    def __init__(self, part: Part, layers: int, prefix: str = "") -> None:
        """Raises ModelFileError where the part's arrays do not fit a model of so many layers."""
        depths = part.tensor("depths", None)
        if not 1 <= len(depths) <= MOST_EXITS or any(
            depth != int(depth) or not 1 <= depth < layers for depth in depths
        ):
            raise part.refused(f"the part {part.kind} names exits that the model has not")
        self.depths = [int(depth) for depth in depths]
        if sorted(set(self.depths)) != self.depths:
            raise part.refused(f"the part {part.kind} names its exits out of order")
        self._kind = part.kind
        self._width = self._load(part, len(depths), prefix)

    def start(self) -> None:
        """Forget the answer before."""
        return

    def probability(self, depth: int, state: Array) -> float:
        """Of a token's state, shape (width,), at one of `depths`: how likely it is right.

        Raises ModelFileError where the model is of another width than the classifiers.
        """
        if state.shape != (self._width,):
            raise ModelFileError(
                f"the part {self._kind} is {self._width} wide, the model {state.shape[-1]}"
            )
        logit = self._logit(self.depths.index(depth), normed(state))
        return float(1 / (1 + np.exp(-np.clip(logit, -60, 60))))

    @abstractmethod
    def _load(self, part: Part, exits: int, prefix: str) -> int:
        """Take the arrays for so many exits; returns the width of a state."""

    @abstractmethod
    def _logit(self, index: int, state: Array) -> float: ...


class LinearClassifiers(Classifiers):
    """w x + b."""

    def _load(self, part: Part, exits: int, prefix: str) -> int:
        self._weight = part.tensor(prefix + "weight", exits, None)
        self._bias = part.tensor(prefix + "bias", exits)
        return int(self._weight.shape[1])

    def _logit(self, index: int, state: Array) -> float:
        return float(self._weight[index] @ state + self._bias[index])


class FeedForwardClassifiers(Classifiers):
    """w silu(W x + c) + b."""

    def _load(self, part: Part, exits: int, prefix: str) -> int:
        self._inner = part.tensor(prefix + "inner.weight", exits, None, None)
        hidden = _checked_width(part, self._inner.shape[1])
        self._inner_bias = part.tensor(prefix + "inner.bias", exits, hidden)
        self._weight = part.tensor(prefix + "weight", exits, hidden)
        self._bias = part.tensor(prefix + "bias", exits)
        return int(self._inner.shape[2])

    def _logit(self, index: int, state: Array) -> float:
        hidden = _silu(self._inner[index] @ state + self._inner_bias[index])
        return float(self._weight[index] @ hidden + self._bias[index])


class MambaClassifiers(Classifiers):
    """A selective state space over the tokens that came to this exit.

    u = W x; dt = softplus(D u + d); S <- exp(-exp(A) dt) S + dt u B(u); y = S C(u) + u; then
    w (y * silu(Z x)) + b. S has shape (hidden, states); a token that left below does not move it.
    """

    def _load(self, part: Part, exits: int, prefix: str) -> int:
        self._inner = part.tensor(prefix + "inner.weight", exits, None, None)
        hidden = _checked_width(part, self._inner.shape[1])
        self._gate = part.tensor(prefix + "gate.weight", exits, hidden, self._inner.shape[2])
        self._step = part.tensor(prefix + "step.weight", exits, hidden, hidden)
        self._step_bias = part.tensor(prefix + "step.bias", exits, hidden)
        self._decay = part.tensor(prefix + "decay", exits, hidden, None)
        size = _checked_width(part, self._decay.shape[2])
        self._write = part.tensor(prefix + "write.weight", exits, size, hidden)
        self._read = part.tensor(prefix + "read.weight", exits, size, hidden)
        self._weight = part.tensor(prefix + "weight", exits, hidden)
        self._bias = part.tensor(prefix + "bias", exits)
        self.start()
        return int(self._inner.shape[2])

    def start(self) -> None:
        """Begin with states of zero."""
        self._state = np.zeros(self._decay.shape, dtype=np.float32)

    def _logit(self, index: int, state: Array) -> float:
        u = self._inner[index] @ state
        dt = np.logaddexp(0, self._step[index] @ u + self._step_bias[index])
        kept = np.exp(-np.exp(np.clip(self._decay[index], -20, 20)) * dt[:, None])
        added = (dt * u)[:, None] * (self._write[index] @ u)[None, :]
        self._state[index] = kept * self._state[index] + added
        y = self._state[index] @ (self._read[index] @ u) + u
        y = y * _silu(self._gate[index] @ state)
        return float(self._weight[index] @ y + self._bias[index])


FORMS: dict[str, type[Classifiers]] = {
    "linear": LinearClassifiers,
    "feedforward": FeedForwardClassifiers,
    "mamba": MambaClassifiers,
}


def classifiers_of(part: Part, layers: int, prefix: str = "") -> Classifiers:
    """The classifiers that a part holds. Raises ModelFileError."""
    form = FORMS.get(str(part.facts.get("form")))
    if form is None:
        raise part.refused(f"the part {part.kind} has classifiers of no known form")
    return form(part, layers, prefix)


def _checked_width(part: Part, size: int) -> int:
    if not 1 <= size <= WIDEST:
        raise part.refused(f"the part {part.kind} has classifiers {size} wide")
    return size


def _silu(x: Array) -> Array:
    result: Array = x / (1 + np.exp(-np.clip(x, -60, 60)))
    return result
