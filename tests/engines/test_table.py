"""The table engine keeps the contract."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from adec.engines.table import TableEngine
from tests.engines.contract import EngineContract


def prefix_law(prefix: tuple[int, ...]) -> list[float]:
    """A distribution that depends on the whole prefix."""
    rng = random.Random(repr(prefix))
    weights = [rng.random() ** 3 for _ in range(8)]
    weights[rng.randrange(8)] = 0.0
    return [weight / sum(weights) for weight in weights]


class TestTableEngine(EngineContract):
    tolerance = 1e-6

    @pytest.fixture
    def fresh(self) -> Callable[[], TableEngine]:
        return lambda: TableEngine(prefix_law, size=8)
