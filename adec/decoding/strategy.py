"""What a strategy is: a generator that reads engines and yields steps. It knows ids, no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from adec.decoding.meter import Meter
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.errors import AdecError, UsageError
from adec.events.records import Guarantee, Role, Step
from adec.judging.verifiers import Rating
from adec.parts.part import Part
from adec.sampling import Sampler


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a strategy continues."""

    ids: tuple[int, ...]
    """Token ids, at least one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop, how to choose and how to keep time: the same for every strategy."""

    max_tokens: int
    end: frozenset[int] = frozenset()
    """Ids that end the answer. The end token itself is committed as the last one."""
    sampler: Sampler = field(default_factory=Sampler)
    signals: bool = True
    """Whether steps must carry entropy, margin and probability, even if the strategy needs none."""
    chunk: int = 256
    """Tokens of the prompt in a forward: between two of them progress shows and Ctrl-C is heard."""
    interrupted: Callable[[], bool] = lambda: False
    """Whether to end early with what there is. Only a strategy of whole answers has to look at it:
    from any other the caller just takes no more steps."""
    resume: bool = False
    """Whether an engine may keep what it holds of the prompt from the answer before, as in a
    conversation; otherwise sequences are emptied first, so that every answer costs the same."""
    bitwise: bool = False
    """Whether rows must be bit for bit those of plain decoding, so that a prompt is read in the
    same pieces: not in others to learn what they cost, nor together with a draft."""
    remark: Callable[[str], None] = lambda line: None
    """Told what the settings promise and this answer cannot have, before its first step."""
    meter: Callable[[], Meter] = Meter
    """Makes what times the forwards; a simulator hands in its own."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The words around a question, for strategies that compare whole answers."""

    question: str
    encode: Callable[[str], list[int]]
    """From a question to the ids of its prompt."""
    text: Callable[[Sequence[int]], str]
    """From the ids of an answer to its text."""
    verify: Callable[[str], Rating] | None = None
    """Scores the text of an answer; None: its mean log-probability under the large model."""
    budget: int | None = None
    """Tokens fed for answers, on average over many questions; None: as the settings say. Unlike
    `iad.budget` it is not overshot: an answer that needs more than what is left is begun with the
    probability that is the rest's share of the mean length so far, drawn by the sampler's seed."""


def _no_part(kind: str) -> Part:
    raise UsageError(f"there is no part {kind!r} here")


@dataclass(frozen=True, slots=True)
class Aids:
    """What a session hands to a strategy when it builds it, beside engines and settings."""

    curves: Mapping[Role, CostCurve] = field(default_factory=dict)
    """Forward times measured on this machine, by role. A strategy learns
    others from the forwards that it makes anyway."""
    exchange: Callable[[], Exchange | None] = lambda: None
    """The words around the question under way; None if there are none."""
    earlier: Sequence[Sequence[int]] | None = None
    """Ids of earlier answers, oldest first, to find repetitions in; None: the user did not agree to
    that, so no answer may serve a later one."""
    part: Callable[[str], Part] = _no_part
    """The part of a kind that was learned for the large model. Raises UsageError where there is
    none, ModelFileError where it is damaged."""
    fitted: Callable[[str], Part | None] = lambda kind: None
    """The same for what can do without it: None where there is none that can be read."""
    complain: Callable[[AdecError], None] = lambda error: None
    """Told why something that can be done without is left out."""


def engine_for(engines: Engines, role: Role, setting: str) -> Engine:
    """The engine that a setting asks for. Raises UsageError if the run has no such model."""
    if role not in engines:
        hint = "give --small and --large, or --pair"
        raise UsageError(f"{setting} needs a pair", hint=hint)
    return engines[role]


class Strategy(Protocol):
    """One method, bound to its engines and its settings."""

    @property
    def name(self) -> str: ...

    @property
    def paper(self) -> str | None: ...

    @property
    def guarantee(self) -> Guarantee: ...

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """Yield steps until an end token, `max_tokens`, or the end of the context.

        The engines' sequences are emptied first, unless `limits.resume`. Closing the generator
        early leaves the engines usable. Raises EngineError.
        """
        ...
