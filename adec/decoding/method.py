"""A strategy before it has engines: what it needs of its models, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from adec.decoding.strategy import Aids, Strategy
from adec.engines.base import Capability, ModelHeader
from adec.engines.pair import Engines
from adec.events.records import Role

Needs = Mapping[Role, frozenset[Capability]]
"""Models by role, each with what its engine must be capable of."""


@dataclass(frozen=True)
class Method:
    """A strategy before it has engines."""

    name: str
    about: str
    settings: type[Any]
    build: Callable[[Engines, Any, Aids], Strategy]
    needs: Needs
    """The models that it cannot do without."""
    uses: Needs = field(default_factory=dict)
    """Models that it uses if they are there and capable."""
    needs_by_settings: Callable[[Any], Needs] = lambda settings: {}
    """What it needs beyond `needs` with certain settings."""
    by_text: bool = False
    """Whether its small model may speak another vocabulary."""
    yardstick: bool = False
    """Whether it is what every other method is measured against."""
    whole_answers: bool = False
    """Whether it compares whole answers, scored by a verifier, and ends by itself when
    interrupted."""
    looks_ahead: bool = False
    """Whether it is fed more tokens than it writes, so that a fair comparison counts tokens fed."""
    width: str | None = None
    """The setting for how many candidates it compares; a beam search beside it gets as many."""
    best_of_n: tuple[str, ...] = ()
    """Settings that make best-of-N of it: one round of answers, as many as its budget allows."""
    parts: Callable[[Any], tuple[str, ...]] = lambda settings: ()
    """Kinds of parts that must have been learned for the large model, with these settings."""
    check: Callable[[Any, Mapping[Role, ModelHeader]], None] = lambda settings, models: None
    """Raises UsageError or PairError where these settings ask too much of these models."""
    default_row: Literal["never", "one model", "pair", "always"] = "never"
    """On which models `bench` shows it when no strategies are named."""

    @property
    def pair(self) -> bool:
        """Whether one model alone does not suffice."""
        return len(self.needs) > 1

    @property
    def roles(self) -> tuple[Role, ...]:
        """Every role that it has a use for."""
        return (*self.needs, *self.uses)


REWIND: frozenset[Capability] = frozenset({"rewind"})
TREE: frozenset[Capability] = frozenset({"rewind", "tree"})
LAYERS: frozenset[Capability] = frozenset({"rewind", "layers"})
ALONE: Needs = {"large": REWIND}
CANVAS: Needs = {"large": frozenset({"canvas"})}
PAIR: Needs = {"small": REWIND, "large": REWIND}
