"""What a rule sees of a forward, and what it decides: which proposals stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adec.sampling import Sampler
from adec.signals import ArrayScores, Scores


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
        *,
        inside: int | None = None,
        block: range = range(0),
        end: Set[int] = frozenset(),
        done: float = 0.0,
    ) -> None:
        """`scores`: a row a place. `step`: forwards before this one in the answer; 0 begins another
        answer. `before`: what the forward before proposed, by place.

        `inside`: the first so many places are those of the block at work; None: all. The others
        are there if the rule `sees_canvas`. `block`: all positions of the block at work, those that
        stand included. `end`: tokens that end an answer. `done`: the share of
        the canvas that stands.
        """
        self.places = places
        self.step = step
        self.before = before
        self.block = block
        self.inside = len(places) if inside is None else inside
        self.end = end
        self.done = done
        # a large vocabulary has megabytes of rows: no copy where they are an array already
        self._logits: NDArray[np.float32] = (
            scores.logits
            if isinstance(scores, ArrayScores)
            else np.stack([scores.row(i) for i in range(len(scores))])
        )
        self._best = self._logits.argmax(axis=1)
        if sampler.greedy:
            self.tokens = [int(token) for token in self._best]
        else:
            self.tokens = [sampler.pick(scores, i, place) for i, place in enumerate(places)]

    def __len__(self) -> int:
        return len(self.places)

    def by_place(self) -> dict[int, int]:
        """The proposed tokens by position."""
        return dict(zip(self.places, self.tokens, strict=True))

    def confidence(self, i: int) -> float:
        """The probability of the proposed token."""
        return float(self._confidences[i])

    def margin(self, i: int) -> float:
        """How much likelier the likeliest token is than the second."""
        return float(self._margins[i])

    def row_margin(self, i: int) -> float:
        """As `margin`, of one row alone: for a token or two that is less work than for all rows."""
        second = np.partition(self._weights[i], -2)[-2]
        return float((1 - second) / self._totals[i])

    def entropy_sum(self, indices: Sequence[int]) -> float:
        """Entropies of these positions, added up."""
        return float(self._entropies[list(indices)].sum())

    def gap(self, i: int) -> float:
        """By how much the greatest logit exceeds the second."""
        return float(self._gaps[i])

    def law(self, i: int) -> NDArray[np.float32]:
        """The model's distribution, over the vocabulary."""
        row: NDArray[np.float32] = self._weights[i] / self._totals[i]
        return row

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
    def _gaps(self) -> NDArray[np.float32]:
        gaps: NDArray[np.float32] = -np.partition(self._shifted, -2, axis=1)[:, -2]
        return gaps

    @cached_property
    def _entropies(self) -> NDArray[np.float32]:
        # a token at -inf adds nothing, but 0 * -inf is not a number
        finite = np.maximum(self._shifted, np.float32(-1e30))
        means = np.einsum("ij,ij->i", self._weights, finite) / self._totals
        nats: NDArray[np.float32] = np.maximum(0, np.log(self._totals) - means)
        return nats


class UnmaskingRule(Protocol):
    """Decides which proposals stand.

    One object serves many answers, one after the other: what it remembers of an answer is dropped
    when `Proposals.step` is 0.
    """

    @property
    def sees_canvas(self) -> bool:
        """Whether it wants the proposals of all masks, beside those of the block at work."""
        ...

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """Indices of open positions, at least one."""
        ...


def surest(values: Sequence[float]) -> list[int]:
    """Indices from the greatest value to the least; of equals the one further left."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))
