"""A mean that begins with what was noted when a part was learned, and goes on in an answer."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", float, NDArray[np.float64])
"""A number, or several that are counted together."""


class NotedMean(Generic[Value]):
    """What was noted weighs as some observations do; old observations fade."""

    def __init__(self, noted: Value, *, trust: float, memory: float) -> None:
        """`trust`: observations that what was noted weighs. `memory`: observations, these
        included, that are remembered at most."""
        self._noted: Value = noted
        self._trust = trust
        self._memory = memory
        self._sum: Value = noted * trust
        self._weight = trust

    @property
    def value(self) -> Value:
        """The mean now."""
        return self._sum / self._weight

    def add(self, value: Value) -> None:
        """Take in one observation."""
        self._sum = self._sum + value
        self._weight += 1
        if self._weight > self._memory:
            self._sum = self._sum / 2
            self._weight /= 2

    def soften(self) -> None:
        """Go half of the way back to what was noted: the text may be another one."""
        self._sum = (self.value + self._noted) / 2 * self._trust
        self._weight = self._trust
