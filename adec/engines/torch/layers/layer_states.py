"""What a layer engine still holds of its tokens: how far each got, and the states to go on from."""

from __future__ import annotations

import torch
from torch import Tensor


class LayerStates:
    """Of every layer how many tokens have keys and values there (`lengths`), and of every depth the
    states of the newest tokens that got so far.

    A layer then has two kinds of work left: tokens that wait below it, and tokens that passed it by
    and have no keys and values there.
    """

    def __init__(self, layers: int, empty: Tensor) -> None:
        """`empty`: no states, of the model's width and type."""
        self._empty = empty
        self.lengths = [0] * layers
        self._reached = [0] * (layers + 1)
        self._states = [empty] * (layers + 1)

    def reached(self, depth: int) -> int:
        """Tokens that got through `depth` layers."""
        return self._reached[depth]

    @property
    def finished(self) -> int:
        """Tokens that got through all layers."""
        return self._reached[-1]

    def held(self, depth: int) -> int:
        """Of how many of them the states are there."""
        return len(self._states[depth])

    def newest(self, depth: int, rows: int) -> Tensor:
        """Those of the last `rows` of them, shape (rows, width); as many must be held."""
        states = self._states[depth]
        return states[len(states) - rows :]

    def waiting(self, layer: int) -> tuple[int, Tensor] | None:
        """States of the tokens that wait below a layer, with the first one's position."""
        start = self._reached[layer + 1]
        count = self._reached[layer] - start
        return (start, self.newest(layer, count)) if count else None

    def without_keys(self, layer: int) -> tuple[int, Tensor] | None:
        """States with which tokens passed a layer by, with the first one's position."""
        start, end = self.lengths[layer], self._reached[layer + 1]
        if start >= end:
            return None
        behind = self._reached[layer] - end
        states = self.newest(layer, end - start + behind)
        return start, states[: end - start]

    def add(self, depth: int, states: Tensor) -> None:
        """The next tokens got through `depth` layers."""
        held = self._states[depth]
        self._states[depth] = torch.cat((held, states)) if len(held) else states
        self._reached[depth] += len(states)

    def pass_by(self, layer: int) -> None:
        """Let the states below a layer stand for those above it."""
        found = self.waiting(layer)
        if found is not None:
            self.add(layer + 1, found[1])

    def forget(self, *, trail: bool) -> None:
        """Drop states that nobody can ask for once tokens follow.

        With `trail`, unfinished tokens keep the states at which they were seen on their way up.
        """
        for depth in range(len(self._states)):
            needed = self.finished
            if depth < len(self.lengths):
                known = self.lengths[depth]
                needed = min(known, needed) if trail else known
            keep = max(0, self._reached[depth] - needed)
            self._states[depth] = self.newest(depth, min(keep, self.held(depth)))

    def cut(self, length: int) -> None:
        """The sequence is cut to a length."""
        self.lengths = [min(length, known) for known in self.lengths]
        for depth, reached in enumerate(self._reached):
            gone = reached - min(length, reached)
            states = self._states[depth]
            self._states[depth] = states[: max(0, len(states) - gone)]
            self._reached[depth] = reached - gone

    def all_read(self, length: int) -> None:
        """Every layer has read `length` tokens, and no state is needed any more."""
        self.lengths = [length] * len(self.lengths)
        self._reached = [length] * len(self._reached)
        self._states = [self._empty] * len(self._states)
