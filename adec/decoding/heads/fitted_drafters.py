"""Drafts from parts that were fitted for a model: all that it has, the best by forecast at work.

A kind of parts is a row of `WAYS`: what the engine must be capable of, and how the part is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from adec.decoding.heads import hidden_transfer, lexical
from adec.decoding.heads.carrying_engine import CarryingEngine, SwitchedEngine
from adec.decoding.heads.foresight import Foreseeing
from adec.decoding.heads.planned_foresight import PlannedForesight
from adec.decoding.heads.prompt_part import KIND as PROMPTS
from adec.decoding.heads.prompt_part import prompts_of
from adec.decoding.heads.prompt_trees import Accuracy, RowPrice
from adec.decoding.heads.prompted_engine import PromptedEngine
from adec.decoding.heads.pseudo_part import hit_rates, states_of
from adec.decoding.heads.rank_counts import accuracy_of_rates
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_chooser import Turn
from adec.decoding.pair.drafters.ahead_drafter import AheadDrafter
from adec.decoding.pair.drafters.drafter import Outcome, Proposal
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import Capability, Engine
from adec.engines.protocols import EmbedEngine, PseudoEngine
from adec.errors import ModelFileError
from adec.events.records import Step
from adec.parts.part import Part

Opened = tuple[CarryingEngine, Accuracy]
"""An engine that foresees by a part, and how often it was right as the part was learned."""


def _prompted(engine: Engine, part: Part) -> Opened:
    large = cast(EmbedEngine, engine)
    prompts = prompts_of(part, large.width)
    return PromptedEngine(large, prompts.embeddings), prompts.accuracy


def _pseudo(engine: Engine, part: Part) -> Opened:
    states, layers = states_of(part), max(1, engine.info.layers)
    foreseeing = Foreseeing(cast(PseudoEngine, engine), lambda: part)
    shares = [max(0.0, layers - depth) / layers for depth in states.depths]
    foreseeing.rows = RowPrice(sum(shares) / len(shares), whole=True)
    return foreseeing, accuracy_of_rates(hit_rates(part, states.count))


@dataclass(frozen=True)
class Way:
    """How the parts of a kind draft."""

    kind: str
    capability: Capability
    open: Callable[[Engine, Part], Opened]


WAYS = (
    Way(PROMPTS, "vectors", _prompted),
    Way(hidden_transfer.KIND, "pseudo", _pseudo),
    Way(lexical.KIND, "pseudo", _pseudo),
)


def fitted_drafters(large: Engine, aids: Aids) -> tuple[Engine, AheadDrafter | None]:
    """The engine to verify with, and what drafts from its fitted parts; None where it has none.

    A part that does not fit the model is left out, with a complaint.
    """
    found = []
    for way in WAYS:
        part = aids.fitted(way.kind) if way.capability in large.capabilities else None
        if part is None:
            continue
        try:
            engine, accuracy = way.open(large, part)
        except ModelFileError as error:
            aids.complain(error)
            continue
        found.append(PlannedForesight(way.kind, engine, accuracy))
    if not found:
        return large, None
    if len(found) == 1:
        return found[0].engine, found[0]
    switched = SwitchedEngine(large, found[0].engine)
    return switched, BestForesight(switched, found)


class BestForesight(AheadDrafter):
    """Of several parts, the one whose plan promises most; each has an account of its own."""

    def __init__(self, engine: SwitchedEngine, drafters: Sequence[PlannedForesight]) -> None:
        """`engine`: that of the first drafter is at work."""
        self._engine = engine
        self._drafters = drafters
        self._now = drafters[0]
        self._chosen = False
        self._limits = Limits(1)

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the one at work."""
        return self._now.name

    @property
    def resting(self) -> int:
        return min(drafter.resting for drafter in self._drafters)

    @property
    def planted(self) -> int:
        return self._now.planted

    def start(self, limits: Limits) -> None:
        self._limits, self._chosen = limits, False
        for drafter in self._drafters:
            drafter.start(limits)

    def stop(self) -> None:
        self._now.stop()

    def bid(self, turn: Turn, costs: RoundCosts) -> float | None:
        if not self._chosen or self._now.resting:
            self._choose(turn, costs)
        return self._now.bid(turn, costs)

    def _choose(self, turn: Turn, costs: RoundCosts) -> None:
        """Once an answer, and where the one at work rests."""
        speeds = {
            place: drafter.speed(turn, costs)
            for place, drafter in enumerate(self._drafters)
            if not drafter.resting
        }
        known = {place: speed for place, speed in speeds.items() if speed is not None}
        if not known:
            return
        best = self._drafters[max(known, key=lambda place: known[place])]
        self._chosen = len(known) == len(speeds)
        if best is not self._now:
            self._now.stop()
            self._now = best
            self._engine.use(best.engine)
            best.start(self._limits)

    def propose(self, turn: Turn) -> Proposal:
        return self._now.propose(turn)

    def plant(self, proposal: Proposal, reach: Sequence[float], turn: Turn) -> None:
        self._now.plant(proposal, reach, turn)

    def learn(self, outcome: Outcome) -> None:
        self._now.learn(outcome)

    def pass_rounds(self, rounds: int) -> None:
        for drafter in self._drafters:
            drafter.pass_rounds(rounds)

    def account(self, step: Step, plain_ms: float | None, *, own: bool) -> None:
        self._now.account(step, plain_ms, own=own)
        for drafter in self._drafters:
            if drafter is not self._now:
                drafter.pass_rounds(1)
