"""What a profile holds: the tables of its TOML file as types.

    schema = 1
    name = "practice"
    recommended = "ead"
    [pair]
    small = "practice:small"
    large = "practice:large"
    vocabulary = "0123456789abcdef"
    [ead]
    up = 0.3

One table per strategy holds its settings; `[NAME.ROLE]` below it holds those that depend on which
model writes. `adec calibrate` adds [machine], [cost], [signals], [budget], [choice], [[front]] and
[history]. A run obeys [cost], [budget] and [choice]; the others are for people, and for telling
whether the profile is stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adec.decoding.pair.clock.cost_curve import CostCurve, Curves
from adec.decoding.registry import METHODS
from adec.decoding.settings import per_writer
from adec.engines.base import ModelHeader
from adec.engines.remote import REMOTE_NAME, is_remote
from adec.errors import ProfileError
from adec.events.records import Role
from adec.machine import file_fingerprint, this_machine
from adec.places import typed_path

SCHEMA = 1
MOST_POINTS = 512
"""Points of a front that are read."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(ge=0, le=1e300)]


class MeasuredOn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine that the profile was made on; None is "not said"."""

    system: str | None = None
    processor: str | None = None
    cores: int | None = None
    threads: int | None = None
    """Threads for a forward of one token, and below for larger ones, that were fastest."""
    batch_threads: int | None = None
    adec: str | None = None
    backend: str | None = None
    load: float | None = None
    """Processes that wanted to run just before it was measured."""
    rpc: str | None = None
    """RPC servers that ran the large model's layers, as HOST:PORT,HOST:PORT; a run takes them."""
    dtype: str | None = None
    """The number format that the large model computed in; None where its file alone decides."""


class CostColumn(msgspec.Struct, frozen=True):
    """Milliseconds of forwards of `sizes` tokens after `context` others."""

    context: Count
    sizes: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1, max_length=256)]
    ms: list[Positive]

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.ms):
            raise ValueError("sizes and ms differ in length")


class Costs(msgspec.Struct, frozen=True):
    """Measured milliseconds of forwards, by role and context length."""

    context: Count
    """Tokens before a typical forward of the prompts that were calibrated on."""
    columns: Mapping[Role, list[CostColumn]]

    def curve(self, role: Role, context: int | None = None) -> CostCurve | None:
        """The curve at the context length nearest to `context`, or to the typical one."""
        columns = self.columns.get(role)
        if not columns:
            return None
        wanted = self.context if context is None else context
        nearest = min(columns, key=lambda column: abs(column.context - wanted))
        return CostCurve(dict(zip(nearest.sizes, nearest.ms, strict=True)))

    @property
    def curves(self) -> Curves | None:
        """What a strategy is handed; None when nothing is known of the large model."""
        large = self.curve("large")
        return None if large is None else Curves(large, self.curve("small"))


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What was promised of an approximate strategy, and whether held-out prompts proved it."""

    metric: str
    keep: Share
    confidence: Share
    strategy: str
    proved: bool = False
    point: str = ""
    """The settings in words, as a point of the front names them."""
    held_out: Count = 0
    kept: Share = 0.0
    """Mean of the metric on the held-out prompts."""
    proved_keep: Share = 0.0
    """The most that those prompts prove with that confidence."""


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """[choice]: the fastest strategy that is exact, and the fastest within the proved budget."""

    exact: str
    exact_settings: dict[str, Any] = {}
    """Its settings: a method that is approximate with others, such as EAD, may be it."""
    within_budget: str | None = None
    exact_tokens_per_second: Positive = 0.0
    within_budget_tokens_per_second: Positive = 0.0
    plain_tokens_per_second: Positive = 0.0


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """[prices]: what a server asks for a million tokens."""

    read: Positive
    written: Positive
    currency: Annotated[str, Meta(max_length=8)] = ""


class Made(msgspec.Struct, frozen=True):
    """What identifies a model file: a profile holds for this one only."""

    fingerprint: str | None = None
    quantisation: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Profile:
    """A profile as read; it keeps everything that its file says."""

    name: str
    path: Path
    about: str = ""
    recommended: str | None = None
    models: Mapping[Role, str] = field(default_factory=dict)
    """By role, as the file names them."""
    made: Mapping[Role, Made] = field(default_factory=dict)
    """What the models were when it was made."""
    vocabulary: str | None = None
    settings: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """By strategy, not yet checked against the strategy's bounds."""
    learned: Mapping[str, Mapping[Role, dict[str, Any]]] = field(default_factory=dict)
    """By strategy and by the role that writes: settings and what they rest on."""
    machine: MeasuredOn = field(default_factory=MeasuredOn)
    costs: Costs | None = None
    budget: Budget | None = None
    choice: Recommendation | None = None
    prices: Prices | None = None
    """Of the server that the large model is behind."""
    signals: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    front: tuple[Mapping[str, Any], ...] = ()
    """The points that were run, as the file has them; whoever shows them checks them."""
    tables: Mapping[str, Any] = field(default_factory=dict)
    """The whole file."""

    def settings_of(self, strategy: str, assigned: Mapping[str, Any]) -> dict[str, Any]:
        """What the profile sets for a strategy, where `assigned` may say which model writes."""
        own = self.settings.get(strategy, {})
        writer = assigned.get("model", own.get("model", "large"))
        learned = self.learned.get(strategy, {}).get(writer, {})
        return {**per_writer(METHODS[strategy].settings, learned), **own}

    def model_path(self, role: Role) -> str | None:
        """The model of a role as `models.names.locate` takes it; None where none is named.

        Relative paths start at the profile's folder.
        """
        named = self.models.get(role)
        if named is None or named.startswith("practice:") or is_remote(named):
            return named
        return str(self.path.parent / typed_path(named))

    def check(self, header: ModelHeader) -> None:
        """Raise ProfileError when the profile was made for another vocabulary."""
        found = header.vocabulary.fingerprint
        if self.vocabulary is not None and self.vocabulary != found:
            raise ProfileError(
                f"profile {self.name} was made for another vocabulary: pair.vocabulary is "
                f"{self.vocabulary}, that of {header.info.name} is {found}",
                hint="its thresholds would mean nothing here; leave --pair out, or calibrate anew",
            )

    def other_models(self, models: Mapping[Role, ModelHeader]) -> list[str]:
        """One sentence per difference between the model files and those that were calibrated; it
        names the key. Any difference voids thresholds and proof."""
        found = []
        for role, header in models.items():
            made = self.made.get(role)
            if made is None or header.info.format == "table":
                continue
            if header.info.format == REMOTE_NAME:
                # few servers say anything that would tell their model from another of its name
                here = Made(made.fingerprint, made.quantisation, header.info.bytes or made.bytes)
            else:
                here = Made(
                    None if made.fingerprint is None else file_fingerprint(header.info.path),
                    header.info.quantisation,
                    header.info.bytes,
                )
            found += [
                f"pair.{role}_{name} is {before}, the file's is {getattr(here, name)}"
                for name in Made.__struct_fields__
                if (before := getattr(made, name)) not in (None, getattr(here, name))
            ]
        return found

    def other_machine(self, large: ModelHeader) -> list[str]:
        """Where this machine differs from the one that was measured, likewise. Times are void."""
        here = this_machine(large.info.format)
        return [
            f"machine.{name} is {before}, here it is {getattr(here, name)}"
            for name in ("system", "processor", "cores", "backend")
            if (before := getattr(self.machine, name)) not in (None, getattr(here, name))
        ]
