"""What a strategy is: a generator that reads engines and yields steps. It prints nothing and knows no text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.events.records import Guarantee, Role, Step
from adec.sampling import Sampler


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop and how to choose, the same for every strategy."""

    max_tokens: int
    end: frozenset[int] = frozenset()
    """Ids that end the answer. The end token itself is committed as the last one."""
    sampler: Sampler = field(default_factory=Sampler)
    signals: bool = True
    """Whether steps must carry entropy, margin and probability even where the strategy itself does not need them."""
    chunk: int = 256
    """Tokens of the prompt in one forward: between two of them progress is shown and Ctrl-C is heard."""


@dataclass(frozen=True, slots=True)
class Aids:
    """What a session hands to a strategy as it builds it, beside engines and settings."""

    curves: Mapping[Role, CostCurve] = field(default_factory=dict)
    """Forward times of models by role, measured on this machine; a strategy measures others it needs."""


class Strategy(Protocol):
    """One method, bound to its engines and its settings."""

    @property
    def name(self) -> str: ...

    @property
    def paper(self) -> str | None: ...

    @property
    def guarantee(self) -> Guarantee: ...

    def generate(self, prompt: list[int], limits: Limits) -> Iterator[Step]:
        """Yield steps until an end token, `max_tokens`, or the end of the context.

        The engines' sequences are emptied or cut to what they share with `prompt` first. Closing the generator early leaves the engines usable. Raises EngineError.
        """
        ...
