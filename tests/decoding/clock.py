"""A clock that only forwards move, so that what a controller decides can be repeated and reasoned
about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from adec.decoding import meter
from adec.engines.table import TableEngine
from tests.laws import blend, law

Cost = Callable[[int], float]
"""From the tokens of a forward to its milliseconds."""


class Clock:
    """Seconds that pass when someone says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    @contextmanager
    def installed(self) -> Iterator[Clock]:
        """This clock in place of the meter's."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(meter, "perf_counter", self)
            yield self


class TimedTable(TableEngine):
    """A table engine whose forwards take time on a clock."""

    def __init__(self, law, clock: Clock, cost: Cost, **options) -> None:
        super().__init__(law, **options)
        self._clock = clock
        self.cost = cost

    def forward(self, tokens, *, rows: int = 1):
        self._clock.now += self.cost(len(tokens)) / 1000
        return super().forward(tokens, rows=rows)

    def forward_tree(self, tree, *, first_row: int = 0):
        self._clock.now += self.cost(len(tree)) / 1000
        return super().forward_tree(tree, first_row=first_row)


def cpu(first: float, more: float) -> Cost:
    """`first` ms for one token, `more` for each further one."""
    return lambda count: first + more * (count - 1)


SMALL, LARGE = cpu(1.0, 0.2), cpu(10.0, 1.0)


def timed_pair(
    clock: Clock,
    seed: int = 0,
    *,
    size: int = 6,
    likeness: float = 0.7,
    sharpness: float = 3.0,
    context: int = 4096,
    small_cost: Cost = SMALL,
    large_cost: Cost = LARGE,
    capabilities=frozenset({"rewind", "tree"}),
):
    """(small, large) on a clock; laws as `tests.laws.pair`."""
    target = law(size, seed, sharpness=sharpness)
    draft = blend(target, law(size, seed + 1000, sharpness=sharpness), likeness)
    options = {"size": size, "context": context, "capabilities": capabilities}
    return (
        TimedTable(draft, clock, small_cost, name="small", **options),
        TimedTable(target, clock, large_cost, name="large", **options),
    )
