"""What a rule sees of a forward, and what it decides: which proposals stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adec.sampling import Sampler
from adec.signals import Scores


class Proposals:
    """The likeliest (or drawn) token of every open position, and how sure the model is of it.

    Open position i of the forward is `places[i]` of the canvas; the signals are of the model's own
    distribution, at temperature 1. Each signal is computed for all rows at once when it is first
    asked for.
    """

    def __init__(
        self,
        scores: Scores,
        places: Sequence[int],
        sampler: Sampler,
        step: int = 0,
        before: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """`scores`: a row a place. `step`: forwards before this one in the answer. `before`: what
        the forward before proposed, by place."""
        self.places = places
        self.step = step
        self.before = before
        self._logits: NDArray[np.float32] = np.stack([scores.row(i) for i in range(len(scores))])
        self._best = self._logits.argmax(axis=1)
        if sampler.greedy:
            self.tokens = [int(token) for token in self._best]
        else:
            self.tokens = [sampler.pick(scores, i, place) for i, place in enumerate(places)]

    def __len__(self) -> int:
        return len(self.places)

    def confidence(self, i: int) -> float:
        """The probability of the proposed token."""
        return float(self._confidences[i])

    def margin(self, i: int) -> float:
        """How much likelier the likeliest token is than the second."""
        return float(self._margins[i])

    def entropy(self, i: int) -> float:
        """In nats."""
        return float(self._entropies[i])

    @cached_property
    def _shifted(self) -> NDArray[np.float32]:
        """Logits less the greatest of their row."""
        rows = np.arange(len(self.places))
        shifted: NDArray[np.float32] = self._logits - self._logits[rows, self._best][:, None]
        return shifted

    @cached_property
    def _weights(self) -> NDArray[np.float32]:
        weights: NDArray[np.float32] = np.exp(self._shifted)
        return weights

    @cached_property
    def _totals(self) -> NDArray[np.float32]:
        totals: NDArray[np.float32] = self._weights.sum(axis=1)
        return totals

    @cached_property
    def _confidences(self) -> NDArray[np.float32]:
        rows = np.arange(len(self.places))
        chances: NDArray[np.float32] = self._weights[rows, self.tokens] / self._totals
        return chances

    @cached_property
    def _margins(self) -> NDArray[np.float32]:
        second = np.partition(self._weights, -2, axis=1)[:, -2]
        margins: NDArray[np.float32] = (1 - second) / self._totals
        return margins

    @cached_property
    def _entropies(self) -> NDArray[np.float32]:
        # a token at -inf adds nothing, but 0 * -inf is not a number
        finite = np.maximum(self._shifted, np.float32(-1e30))
        means = np.einsum("ij,ij->i", self._weights, finite) / self._totals
        nats: NDArray[np.float32] = np.maximum(0, np.log(self._totals) - means)
        return nats


class UnmaskingRule(Protocol):
    """Decides which proposals stand."""

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """Indices of open positions, at least one."""
        ...


def surest(values: Sequence[float]) -> list[int]:
    """Indices from the greatest value to the least; of equals the one further left."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))
