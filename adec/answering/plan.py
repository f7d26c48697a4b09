"""Turns what a person names into a plan: models, strategy, settings and profile, all checked before
any weights are loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adec.answering.choice import Choice, choose_strategy, is_proved
from adec.answering.lost_gate import check_gate
from adec.decoding import settings as setting_values
from adec.decoding.method import Method
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import METHODS, check_method, find_method, shortcoming
from adec.engines.base import EngineName, ModelHeader
from adec.engines.opening import read_distant_header, read_header
from adec.engines.pair import Engines, check_pair
from adec.engines.remote import is_remote
from adec.errors import PairError, UsageError
from adec.events.records import Role
from adec.models.couples import AUTO, small_for
from adec.models.names import locate
from adec.profiles.find import find_profile, fitting_profile
from adec.profiles.schema import Profile

DEFAULT_PAIR = "practice"


@dataclass(frozen=True)
class Plan:
    """A choice that was resolved and can run. No weights are loaded yet."""

    models: Mapping[Role, ModelHeader]
    """By role; "large" is always there."""
    method: Method
    settings: Any
    profile: Profile | None
    remarks: tuple[str, ...]
    """Things worth a line that do not keep it from running."""
    hint: str | None = None
    """Advice for a person at a terminal."""
    curves: Curves | None = None
    """Forward times that a profile measured here; None: the strategy learns from its own."""
    bounded: bool = False
    """Whether a budget was proved for this strategy with these settings and these models."""
    threads: tuple[int, int] | None = None
    """Threads for forwards of one token and of several, as a profile found them fastest here."""
    unlike: str | None = None
    """Why the small model's ids are not the large one's; None where they are."""
    bitwise: bool = False
    """Whether exact strategies must run forwards that are bit for bit plain decoding's."""
    stop_when_lost: bool = False
    """Whether an answer ends as soon as it is probably going wrong, whatever the strategy."""

    def with_strategy(self, name: str, assignments: tuple[str, ...] = ()) -> Plan:
        """The same models with another strategy. Raises UsageError or PairError."""
        method = find_method(name)
        check_method(method, self.models)
        _check_text(method, self.unlike)
        _check_forwards(method, bitwise=self.bitwise)
        choice = Choice(strategy=name, assignments=assignments)
        settings = _settings(choice, method, self.profile)
        check_method(method, self.models, settings)
        if self.stop_when_lost:
            check_gate(method, self.models["large"], bitwise=self.bitwise)
        # what a profile proved, it proved of the strategy and settings that it chose
        return dataclasses.replace(self, method=method, settings=settings, bounded=False)

    def with_gate(self, on: bool) -> Plan:
        """The same with answers that end when they seem lost, or not. Raises as `plan` does."""
        if on:
            check_gate(self.method, self.models["large"], bitwise=self.bitwise)
        return dataclasses.replace(self, stop_when_lost=on, bounded=self.bounded and not on)

    def engines_for(self, engines: Engines) -> Engines:
        """Those that the strategy may use: a small model of another vocabulary is for few."""
        if self.unlike is None or self.method.by_text:
            return engines
        return Engines(**{role: engine for role, engine in engines.items() if role != "small"})


def plan_yardstick(choice: Choice) -> Plan:
    """The models with what every strategy on them is measured against. Raises as `plan`."""
    try:
        return plan(dataclasses.replace(choice, strategy="plain", assignments=()))
    except PairError:
        # a diffusion model has a yardstick of its own
        try:
            return plan(dataclasses.replace(choice, strategy="steps", assignments=()))
        except PairError:
            pass
        raise


def plan(choice: Choice) -> Plan:
    """Find the models, read their headers, and check that the strategy can run on them.

    Raises UsageError, ProfileError, ModelFileError or PairError.
    """
    profile, small_name, large_name = _models(choice)
    models, remarks = _headers(small_name, large_name, choice.engine)
    if profile is None:
        profile = fitting_profile(models)
    else:
        profile.check(models["large"])
    others = [] if profile is None else profile.other_models(models)
    chosen = choose_strategy(choice, None if others else profile, models)
    remarks += [] if chosen.remark is None else [chosen.remark]
    method = find_method(chosen.strategy)
    check_method(method, models)
    _check_forwards(method, bitwise=choice.exactness == "bitwise")
    if choice.exactness == "bitwise" and is_remote(large_name):
        raise UsageError(
            "--exactness bitwise measures rows, and a server tells only the likeliest tokens",
            hint="leave the option away",
        )
    unlike = None
    if "small" in models:
        try:
            remarks += check_pair(models["small"], models["large"])
        except PairError as error:
            unlike = error.message
            _check_text(method, unlike)
            if method.by_text:
                remarks.append(f"what one writes is tokenised anew for the other: {unlike}")
            elif not method.yardstick:
                del models["small"]
                remarks.append(f"going on without the small model: {unlike}")
    for role in [role for role in method.uses if role in models]:
        why = shortcoming(models[role], method.uses[role])
        if why is not None:
            remarks.append(f"going on without {models.pop(role).info.name}: {why}")
    settings = _settings(choice, method, profile, chosen.settings)
    check_method(method, models, settings)
    gated = choice.stop_when_lost
    if gated:
        check_gate(method, models["large"], bitwise=choice.exactness == "bitwise")
    if profile is None:
        return Plan(
            models, method, settings, None, tuple(remarks), chosen.hint,
            unlike=unlike, bitwise=choice.exactness == "bitwise", stop_when_lost=gated,
        )  # fmt: skip
    stale = [*others, *profile.other_machine(models["large"])]
    if stale:
        void = "its thresholds and times are" if others else "its times are"
        more = f" (and {len(stale) - 1} more)" if len(stale) > 1 else ""
        remarks.append(
            f"profile {profile.name} is stale: {stale[0]}{more}; "
            f"{void} not to be relied on, run adec calibrate again"
        )
    single, several = profile.machine.threads, profile.machine.batch_threads
    return Plan(
        models,
        method,
        settings,
        profile,
        tuple(remarks),
        chosen.hint,
        curves=None if stale or profile.costs is None else profile.costs.curves,
        # a budget is proved of whole answers
        bounded=not others and not gated and is_proved(profile, method, settings),
        threads=(single, several) if single and several and not stale else None,
        unlike=unlike,
        bitwise=choice.exactness == "bitwise",
        stop_when_lost=gated,
    )


def _check_forwards(method: Method, *, bitwise: bool) -> None:
    """Raise UsageError where forwards cannot be kept to those that are bit for bit."""
    if bitwise and not method.needs["large"] <= {"rewind", "tree"}:
        raise UsageError(
            f"{method.name} runs no whole forwards, and --exactness bitwise knows no others",
            hint="take another strategy, or leave the option away",
        )


def _headers(
    small_name: str | None, large_name: str, engine: EngineName | None
) -> tuple[dict[Role, ModelHeader], list[str]]:
    """The headers of the models, the large one's first, and remarks about them."""
    if small_name is not None and is_remote(small_name):
        raise UsageError("the small model must lie on this machine", hint="give a file as --small")
    models: dict[Role, ModelHeader] = {}
    taken: list[str] = []
    if is_remote(large_name):
        if small_name == AUTO:
            raise UsageError("--small auto compares files, and the large model has none here")
        small = None if small_name is None else read_header(locate(small_name), engine)
        models["large"] = read_distant_header(large_name, small)
        if small is not None:
            models["small"] = small
    else:
        models["large"] = read_header(locate(large_name), engine)
        if small_name is not None:
            small_path, taken = small_for(small_name, models["large"].info.path)
            models["small"] = read_header(small_path, engine)
    large = models["large"]
    return models, [*(f"{large.info.path.name}: {words}" for words in large.remarks), *taken]


def _check_text(method: Method, unlike: str | None) -> None:
    """Raise PairError where a method needs ids that mean the same to both models."""
    if unlike is not None and method.pair and not method.by_text:
        able = ", ".join(other.name for other in METHODS.values() if other.by_text)
        raise PairError(
            f"{method.name} cannot run on this pair: {unlike}",
            hint=f"what goes by text: {able}",
        )


def _models(choice: Choice) -> tuple[Profile | None, str | None, str]:
    """The profile, and the names of the small and the large model."""
    given = [choice.pair is not None, bool(choice.small or choice.large), choice.model is not None]
    if sum(given) > 1:
        raise UsageError(
            "--pair, --small with --large, and --model exclude each other", hint="give one of them"
        )
    if choice.model is not None:
        return None, None, choice.model
    if choice.small or choice.large:
        if not (choice.small and choice.large):
            missing = "--large" if choice.small else "--small"
            raise UsageError(
                f"{missing} is missing: a pair is two models", hint="or give one model with --model"
            )
        return None, choice.small, choice.large
    profile = find_profile(choice.pair or DEFAULT_PAIR)
    large = profile.model_path("large")
    if large is None:
        raise UsageError(f"profile {profile.name} names no models", hint="give --small and --large")
    return profile, profile.model_path("small"), large


def _settings(
    choice: Choice,
    method: Method,
    profile: Profile | None,
    chosen: Mapping[str, Any] | None = None,
) -> Any:
    """`chosen`, or else what the profile fitted, overridden by the user's assignments."""
    assigned = setting_values.parse_assignments(choice.assignments)
    idle = [name for name in assigned if name != method.name]
    if idle:
        find_method(idle[0])
        raise UsageError(
            f"--set {idle[0]}.… has no effect: the strategy is {method.name}",
            hint=f"add --strategy {idle[0]}",
        )
    own = assigned.get(method.name, {})
    fitted: Mapping[str, Any] = {} if profile is None else profile.settings_of(method.name, own)
    if chosen is not None:
        fitted = chosen
    origin = "" if profile is None else f"profile {profile.name}"
    return setting_values.build(method.settings, method.name, (origin, fitted), ("--set", own))
