"""What a name on the command line means: a path, a built-in model, or a model on this machine."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from adec.errors import ModelFileError
from adec.models.listing import save_names
from adec.models.stores import PRACTICE, Found, Surroundings, built_in, find_models
from adec.places import typed_path

__all__ = ["PRACTICE", "choose", "locate"]

_SHOWN = 6


def locate(name: str, around: Surroundings | None = None) -> Path:
    """The path that `name` means.

    A path that exists wins, then the built-in models, then models on this machine by name. Raises
    ModelFileError when nothing is there or several are meant.
    """
    if name.startswith(PRACTICE):
        shipped = {model.name: model.path for model in built_in()}
        if name not in shipped:
            raise ModelFileError(
                f"{name} is no built-in model", hint=f"there are {', '.join(shipped)}"
            )
        return shipped[name]
    path = typed_path(name)
    try:
        if path.exists():
            return path
    except (OSError, ValueError):  # a name too long for a path, or with a NUL
        pass
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelFileError(
            f"{path} does not exist",
            hint="give a GGUF file or a Hugging Face folder that lies on this machine",
        )
    found = find_models(around or Surroundings())
    save_names(found)
    return choose(name, found).path


def choose(name: str, found: Sequence[Found]) -> Found:
    """The model that `name` means: by its whole name, else by how it begins, else by a part of it.

    Case does not matter. Raises ModelFileError when there is none, when several fit equally, or
    when the one that is meant is broken.
    """
    wanted = name.casefold()
    tests = (str.__eq__, str.startswith, str.__contains__)
    for test in tests if wanted else ():
        fitting = [
            model
            for model in found
            if any(test(known.casefold(), wanted) for known in (model.name, *model.aliases))
        ]
        if len({model.path for model in fitting}) > 1:
            raise ModelFileError(
                f"{name} could be any of {len(fitting)} models: {_listed(fitting)}",
                hint="give more of the name",
            )
        if fitting:
            if fitting[0].problem is not None:
                raise ModelFileError(f"{fitting[0].name} cannot be used: {fitting[0].problem}")
            return fitting[0]
    raise ModelFileError(
        f"{name} does not exist, neither as a file nor among the models on this machine",
        hint=_nearest(wanted, found),
    )


def _listed(models: Sequence[Found]) -> str:
    names = [model.name[:80] for model in models[:_SHOWN]]
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    return f"{', '.join(names)}{more}"


def _nearest(wanted: str, found: Sequence[Found]) -> str:
    by_name = {
        known.casefold(): model
        for model in found
        if model.problem is None
        for known in (model.name, *model.aliases)
    }
    near = difflib.get_close_matches(wanted[:200], by_name, n=3, cutoff=0.5)
    names = list(dict.fromkeys(by_name[key].name for key in near))
    if names:
        return f"did you mean {' or '.join(names)}?"
    return "those that are here: adec inspect models"
