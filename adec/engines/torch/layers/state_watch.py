"""States of some depths, position by position, kept while others decide what runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class StateWatch:
    """What a layer engine's tokens looked like at some depths; see `LayerEngine.watch`."""

    def __init__(self, depths: Collection[int], since: int, empty: Tensor) -> None:
        """`empty`: no states, of the model's width and type."""
        self.depths = sorted(set(depths))
        self.since = since
        self._empty = empty
        self._states = dict.fromkeys(self.depths, empty)
        self._nodes = dict.fromkeys(self.depths, empty)
        """Of the nodes of a pending tree."""

    def rows(self, depth: int, first: int) -> Tensor:
        """What is kept of positions from `first` on."""
        return self._states[depth][first - self.since :]

    def add(self, depth: int, start: int, states: Tensor) -> None:
        """States of tokens from position `start` on; a gap before them is not a number."""
        if depth not in self._states:
            return
        early = max(0, self.since - start)
        states, start = states[early:], start + early
        if not len(states):
            return
        held = self._states[depth][: start - self.since]
        gap = start - self.since - len(held)
        missing = torch.full((gap, states.shape[1]), torch.nan).to(states)
        self._states[depth] = torch.cat((held, missing, states))

    def cut(self, length: int) -> None:
        """The sequence is cut to a length."""
        for depth, states in self._states.items():
            self._states[depth] = states[: max(0, length - self.since)]

    def keep(self, start: int, path: Sequence[int]) -> None:
        """A path of the pending tree follows the sequence, from position `start` on."""
        for depth, nodes in self._nodes.items():
            self.add(depth, start, nodes[list(path)])
        self._nodes = dict.fromkeys(self.depths, self._empty)

    @contextmanager
    def run(self, layers: Any, start: int | None, known: int = 0) -> Iterator[None]:
        """Around a forward of transformers' own module: of tokens from position `start` on, or,
        with None, of a tree's nodes from the `known`th on."""

        def look(depth: int) -> Callable[[Any, Any, Any], None]:
            def hook(module: Any, given: Any, out: Any) -> None:
                states = (out if isinstance(out, Tensor) else out[0])[0]
                if start is None:
                    self._nodes[depth] = torch.cat((self._nodes[depth][:known], states))
                else:
                    self.add(depth, start, states)

            return hook

        # other engines share the module, so hooks stay only while this one runs
        hooks = [layers[depth - 1].register_forward_hook(look(depth)) for depth in self.depths]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
