"""The automatic choice of a strategy: a profile's recommendation, as far as it is proved; without one, exact speculation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adec.decoding import settings as setting_values
from adec.decoding.registry import Method, remaining
from adec.engines.base import ModelHeader
from adec.errors import UsageError
from adec.events.records import Role
from adec.profiles.schema import Budget, Profile


@dataclass(frozen=True)
class Choice:
    """Which models and which strategy, as a person names them. Nothing named means the built-in pair."""

    pair: str | None = None
    small: str | None = None
    large: str | None = None
    model: str | None = None
    strategy: str | None = None
    """None or "auto": as the profile recommends, or as an assignment names it."""
    assignments: tuple[str, ...] = ()
    keep: float | None = None
    """The least quality that an automatic choice must have proved; 1: exact."""


@dataclass(frozen=True)
class Chosen:
    """A strategy by name."""

    strategy: str
    settings: Mapping[str, Any] | None = None
    """Its settings, where they are not those of the profile's table of that name."""
    remark: str | None = None
    """Why it is not what was asked for."""
    hint: str | None = None
    """Advice for a person at a terminal."""


def choose_strategy(
    choice: Choice, profile: Profile | None, models: Mapping[Role, ModelHeader]
) -> Chosen:
    """The strategy, and what is worth saying about the choice.

    A strategy that is named counts, in `--strategy` or in a setting. Else a profile decides, as far as it has proved what `--keep`
    asks for. Without one it is exact speculation, which stops by itself where it does not pay. Raises UsageError.
    """
    if choice.keep is not None and not 0 < choice.keep <= 1:
        raise UsageError(f"--keep {choice.keep} is not above 0 and at most 1", hint="1 means exact")
    named = list(setting_values.parse_assignments(choice.assignments))
    if choice.strategy not in (None, "auto"):
        if choice.keep is not None:
            raise UsageError(
                "--keep chooses the strategy, and --strategy names one", hint="give one of them"
            )
        return Chosen(choice.strategy)
    if len(named) == 1 and choice.strategy is None and choice.keep is None:
        return Chosen(named[0])
    exact = "speculate" if "speculate" in remaining(models) else "plain"
    if profile is None or (profile.recommended is None and profile.choice is None):
        words = "SMALL LARGE" if "small" in models else "MODEL"
        missing = (
            "no profile for these models"
            if profile is None
            else f"profile {profile.name} recommends nothing"
        )
        return Chosen(
            exact,
            hint=f"{missing}: exact, by {exact}. `adec calibrate {words}` finds what pays here",
        )
    known = profile.choice
    fitted: Mapping[str, Any] | None = None
    if known is not None:
        exact, fitted = known.exact, known.exact_settings or None
    if choice.keep is None:
        wanted = profile.recommended
        if wanted is None or (wanted == exact and (known is None or known.within_budget != exact)):
            return Chosen(exact, fitted)
        return Chosen(wanted)
    budget = profile.budget
    if choice.keep < 1:
        if known is not None and known.within_budget is not None and _proves(budget, choice.keep):
            return Chosen(known.within_budget)
        return Chosen(
            exact,
            fitted,
            f"profile {profile.name} has proved nothing for --keep {choice.keep:g}: exact",
        )
    return Chosen(exact, fitted)


def is_proved(profile: Profile, method: Method, settings: Any) -> bool:
    """Whether the profile's budget was proved for this strategy with these very settings."""
    budget = profile.budget
    if budget is None or not budget.proved or budget.strategy != method.name:
        return False
    fitted = profile.settings.get(method.name, {})
    return bool(
        settings == setting_values.build(method.settings, method.name, (profile.name, fitted))
    )


def _proves(budget: Budget | None, keep: float) -> bool:
    return budget is not None and budget.proved and budget.keep >= keep
