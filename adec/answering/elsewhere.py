"""A plan that is carried to another machine, whose models lie on its own disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adec.answering.plan import Plan
from adec.decoding.registry import yardstick
from adec.decoding.settings import build
from adec.engines.base import EngineName
from adec.engines.opening import engine_of, read_header
from adec.engines.pair import check_pair
from adec.engines.remote import REMOTE_NAME
from adec.errors import ModelFileError, PairError, UsageError
from adec.events.records import Role
from adec.machine import file_fingerprint
from adec.models.stores import Surroundings, find_models
from adec.profiles.schema import Profile


@dataclass(frozen=True)
class ModelThere:
    """A model as another machine can find it again: where it lies here, and what it holds."""

    path: Path
    home: Path
    name: str
    fingerprint: str
    engine: EngineName | None = None


@dataclass(frozen=True)
class PlanThere:
    """The yardstick on the models of a plan, with its profile; picklable. Curves and threads stay
    here."""

    models: Mapping[Role, ModelThere]
    profile: Profile | None
    bitwise: bool = False

    def plan(self) -> Plan:
        """The plan on this machine. Raises ModelFileError where a model is missing or another."""
        headers = {
            role: read_header(find_again(model), model.engine)
            for role, model in self.models.items()
        }
        unlike = None
        if "small" in headers:
            try:
                check_pair(headers["small"], headers["large"])
            except PairError as error:
                unlike = error.message
        method = yardstick(headers)
        settings = build(method.settings, method.name)
        made = Plan(
            headers, method, settings, self.profile, (), unlike=unlike, bitwise=self.bitwise
        )
        if self.profile is None or self.profile.costs is None:
            return made
        if self.profile.other_models(headers) or self.profile.other_machine(headers["large"]):
            return made
        return dataclasses.replace(made, curves=self.profile.costs.curves)


def carried(plan: Plan) -> PlanThere:
    """What another machine needs to know of a plan. Raises UsageError for models on no disk."""
    for header in plan.models.values():
        if header.info.format == REMOTE_NAME:
            raise UsageError(
                f"{header.info.name} is behind a server, whose key and bill stay on this machine",
                hint="leave --ray out",
            )
        if not header.info.path.exists():
            raise UsageError(
                f"{header.info.name} lies on no disk, so workers cannot open it",
                hint="leave --ray and --jobs out",
            )
    models = {
        role: ModelThere(
            header.info.path.resolve(), Path.home(), header.info.path.name,
            file_fingerprint(header.info.path), engine_of(header),
        )
        for role, header in plan.models.items()
    }  # fmt: skip
    return PlanThere(models, plan.profile, plan.bitwise)


def find_again(model: ModelThere, around: Surroundings | None = None) -> Path:
    """The same model on this machine, whatever it is called here.

    Looked for at the same path, below this user's home folder, and among the models of this machine
    that have the same file name. Raises ModelFileError.
    """
    places = [model.path]
    if model.path.is_relative_to(model.home):
        places.append(Path.home() / model.path.relative_to(model.home))
    here = [place for place in places if _print_of(place) is not None]
    if not any(_print_of(place) == model.fingerprint for place in here):
        found = find_models(around or Surroundings())
        here += [known.path for known in found if known.path.name == model.name]
    for place in here:
        if _print_of(place) == model.fingerprint:
            return place
    if here:
        raise ModelFileError(
            f"{here[0]} is another model here: its fingerprint is {_print_of(here[0])}, "
            f"not {model.fingerprint}"
        )
    raise ModelFileError(
        f"{model.path} does not lie here", hint="copy it there, or name its folder in ADEC_MODELS"
    )


def _print_of(path: Path) -> str | None:
    try:
        return file_fingerprint(path) if path.exists() else None
    except OSError:
        return None
