"""The strategies of a session: what they are built with, and which engines they run on.

Each is built once, so that one that comes back goes on with what it has learned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adec.answering.exactness_plan import BitwisePlan
from adec.answering.lost_gate import gate
from adec.answering.plan import Plan
from adec.answering.remembered import Remembered
from adec.decoding.strategy import Aids, Exchange, Strategy
from adec.engines.pair import Engines
from adec.errors import AdecError, ContextError, ModelFileError, UsageError
from adec.events.records import Guarantee
from adec.parts.kept_parts import find_part, need_part
from adec.parts.part import Part


class BuiltStrategies:
    """Builds strategies on loaded engines, by plan."""

    exchange: Exchange | None = None
    """The question that is answered now, for a strategy that compares whole answers."""

    def __init__(
        self, plan: Plan, engines: Engines, bitwise: BitwisePlan, remembered: Remembered | None
    ) -> None:
        """`bitwise`: the large model, for strategies that must be kept within bits. `remembered`:
        the file of earlier answers, if the user agreed to keep them."""
        self._engines = engines
        self._bitwise = bitwise
        self._trouble: str | None = None
        self._known: dict[tuple[str, Any, frozenset[str], bool], Strategy] = {}
        found = None if remembered is None else remembered.read()
        if found is not None and remembered is not None:
            self._trouble = found.error
            if found.spoilt:
                lines = "a line" if found.spoilt == 1 else f"{found.spoilt} lines"
                self._trouble = f"{lines} of {remembered.path} ignored: not what adec wrote"
        large = engines["large"].info
        self._aids = Aids(
            {} if plan.curves is None else plan.curves.by_role,
            lambda: self.exchange,
            None if found is None else found.answers,
            part=lambda kind: need_part(kind, large),
            fitted=self._fitted,
            complain=self._complain,
        )

    def tell_trouble(self, remark: Callable[[str], None]) -> None:
        """Tell what went wrong beside strategies since it was told last, if anything did."""
        if self._trouble is not None:
            remark(self._trouble)
            self._trouble = None

    def build(self, plan: Plan, engines: Engines) -> Strategy:
        """A plan's strategy on some of the engines. Raises UsageError."""
        key = plan.method.name, plan.settings, frozenset(engines), plan.stop_when_lost
        if key not in self._known:
            usable = plan.engines_for(engines)
            built = plan.method.build(usable, plan.settings, self._aids)
            if within_bits(plan, built):
                guarded = Engines(**{**usable, "large": self._bitwise.engine})
                built = plan.method.build(guarded, plan.settings, self._aids)
            if plan.stop_when_lost:
                built = gate(built, engines, self._aids)
            self._known[key] = built
        return self._known[key]

    def for_prompt(
        self, plan: Plan, count: int, remark: Callable[[str], None]
    ) -> tuple[Strategy, Engines]:
        """A plan's strategy, and its engines, for a prompt of `count` tokens.

        An optional model is left out where its context is too small. Raises ContextError where a
        needed one's is.
        """
        short = {role: engine for role, engine in self._engines.items() if count >= engine.context}
        if not short:
            return self.build(plan, self._engines), self._engines
        needed = [engine for role, engine in short.items() if role in plan.method.needs]
        if not needed:
            rest = Engines(**{r: e for r, e in self._engines.items() if r not in short})
            try:
                strategy = self.build(plan, rest)
            except UsageError:  # a setting asks for the model
                needed = list(short.values())
            else:
                for engine in short.values():
                    remark(
                        f"going on without {engine.info.path.name}: the prompt has {count:,} tokens"
                        f", its context holds {engine.context:,}"
                    )
                return strategy, rest
        engine = needed[0]
        limit = engine.info.context_limit
        if engine.context < limit:
            hint = f"shorten it, or give a larger --ctx, {limit:,} at most"
        elif "large" not in short:
            hint = "shorten it, or take a strategy that does not need the small model"
        else:
            hint = "shorten it: the model reads no more"
        raise ContextError(
            f"the prompt has {count:,} tokens, the context of {engine.info.path.name} holds"
            f" {engine.context:,}",
            hint=hint,
        )

    def _fitted(self, kind: str) -> Part | None:
        """A part that a strategy can do without; what is wrong with one is told once."""
        try:
            return find_part(kind, self._engines["large"].info)
        except ModelFileError as error:
            self._complain(error)
            return None

    def _complain(self, error: AdecError) -> None:
        self._trouble = f"going on without a part: {error.message}"


def within_bits(plan: Plan, strategy: Strategy) -> bool:
    """Whether a strategy must be kept to forwards that are bit for bit plain decoding's."""
    exact = strategy.guarantee is Guarantee.EXACT
    return plan.bitwise and exact and not plan.method.yardstick
