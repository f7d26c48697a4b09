"""Which strategy runs when none is named: what a profile recommends and has proved, else an exact
one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from adec.decoding import settings as setting_values
from adec.decoding.method import Method
from adec.decoding.registry import default_method
from adec.engines.base import EngineName, ModelHeader
from adec.errors import UsageError
from adec.events.records import Role
from adec.profiles.schema import Budget, Profile


@dataclass(frozen=True)
class Choice:
    """Models and strategy as a person names them. Naming nothing means the built-in pair."""

    pair: str | None = None
    small: str | None = None
    large: str | None = None
    model: str | None = None
    strategy: str | None = None
    """None or "auto": the one that the profile recommends, or that an assignment names."""
    assignments: tuple[str, ...] = ()
    keep: float | None = None
    """Quality that an automatic choice must have proved, 0 to 1; 1 means exact."""
    exactness: Literal["rounding", "bitwise"] = "rounding"
    """bitwise: exact strategies run only forwards whose rows are bit for bit plain decoding's."""
    engine: EngineName | None = None
    """What runs the models; None: what reads their files first."""
    stop_when_lost: bool = False
    """Whether an answer ends as soon as it is probably going wrong."""


@dataclass(frozen=True)
class Chosen:
    """The strategy that was chosen, by name."""

    strategy: str
    settings: Mapping[str, Any] | None = None
    """Its settings; None: those in the profile's table of that name."""
    remark: str | None = None
    """Why it is not what the user wanted."""
    hint: str | None = None
    """Advice for a person at a terminal."""


def choose_strategy(
    choice: Choice, profile: Profile | None, models: Mapping[Role, ModelHeader]
) -> Chosen:
    """Choose a strategy and say what is worth saying about the choice.

    A strategy named by `--strategy` or by a setting wins. Otherwise a profile decides, as far as it
    has proved what `--keep` demands. Without one it is the registry's default, which is exact.
    Raises UsageError.
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
    keep = 1.0 if choice.keep is None and choice.exactness == "bitwise" else choice.keep
    exact = default_method(models).name
    if profile is None or (profile.recommended is None and profile.choice is None):
        words = "SMALL LARGE" if "small" in models else "MODEL"
        missing = (
            "no profile for these models"
            if profile is None
            else f"profile {profile.name} recommends nothing"
        )
        if "canvas" in models["large"].capabilities:
            return Chosen(
                exact,
                hint=f"using {exact}, one position a forward. --strategy threshold fills all that "
                "the model is sure of, which promises nothing",
            )
        return Chosen(
            exact,
            hint=f"{missing}: using {exact}, which is exact. "
            f"`adec calibrate {words}` finds what pays here",
        )
    known = profile.choice
    fitted: Mapping[str, Any] | None = None
    if known is not None:
        exact, fitted = known.exact, known.exact_settings or None
    if keep is None:
        wanted = profile.recommended
        if wanted is None or (wanted == exact and (known is None or known.within_budget != exact)):
            return Chosen(exact, fitted)
        return Chosen(wanted)
    budget = profile.budget
    if keep < 1:
        if known is not None and known.within_budget is not None and _proves(budget, keep):
            return Chosen(known.within_budget)
        return Chosen(
            exact,
            fitted,
            f"profile {profile.name} has no proof for --keep {keep:g}; "
            "using an exact strategy instead",
        )
    return Chosen(exact, fitted)


def is_proved(profile: Profile, method: Method, settings: Any) -> bool:
    """Whether the profile proved its budget for this strategy with exactly these settings."""
    budget = profile.budget
    if budget is None or not budget.proved or budget.strategy != method.name:
        return False
    fitted = profile.settings.get(method.name, {})
    return bool(
        settings == setting_values.build(method.settings, method.name, (profile.name, fitted))
    )


def _proves(budget: Budget | None, keep: float) -> bool:
    return budget is not None and budget.proved and budget.keep >= keep
