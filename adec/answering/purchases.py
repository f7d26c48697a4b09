"""What an answer bought of a server: requests and tokens, and money where its prices are known."""

from __future__ import annotations

from typing import Any

from adec.engines.pair import Engines
from adec.engines.remote.bill import Bill
from adec.engines.remote.server_engine import ServerEngine
from adec.errors import UsageError
from adec.profiles.schema import Prices
from adec.sampling import Sampler

MILLION = 1_000_000


class Purchases:
    """Follows the bills of a session from answer to answer."""

    def __init__(self, engines: Engines, prices: Prices | None) -> None:
        self._engines = [engine for engine in engines.values() if isinstance(engine, ServerEngine)]
        self._prices = prices
        self.start()

    def start(self) -> None:
        """Begin to count for an answer."""
        self._before = [engine.bill.copy() for engine in self._engines]

    def summary(self) -> dict[str, Any]:
        """Keys of the summary: `bought`, where there is a server."""
        if not self._engines:
            return {}
        bought = Bill()
        for engine, before in zip(self._engines, self._before, strict=True):
            engine.settle()
            bought = bought.plus(engine.bill, before)
        found = bought.summary()
        if self._prices is not None:
            cost = self._prices.read * bought.read + self._prices.written * bought.written
            found |= {"cost": cost / MILLION, "currency": self._prices.currency}
        return {"bought": found}


def check_draws(engines: Engines, sampler: Sampler) -> None:
    """Raise UsageError where tokens would have to be drawn from what a server does not tell."""
    for engine in engines.values():
        told = engine.info.likeliest
        if told is None or sampler.greedy or 0 < sampler.top_k <= told:
            continue
        if not told:
            raise UsageError(
                f"{engine.info.name} cannot be sampled from: its server tells no probabilities by"
                " token id",
                hint="use --temp 0",
            )
        raise UsageError(
            f"{engine.info.name} cannot be sampled from: its server tells the {told} likeliest"
            " tokens of a position only",
            hint=f"add --top-k {told} or less, or use --temp 0",
        )
