"""Where the parts of models lie: beside the profiles, a file a kind and model."""

from __future__ import annotations

from pathlib import Path

from adec.engines.base import ModelInfo
from adec.errors import AdecError, ModelFileError, UsageError
from adec.machine import file_fingerprint
from adec.parts.part import KIND, Part
from adec.parts.part_file import read_part, write_part
from adec.places import user_parts
from adec.whole_file import check_room

MOST = 64
"""Parts of one model that are looked at."""


def part_path(kind: str, model: str) -> Path:
    """The file of the part of this kind for the model of a fingerprint."""
    if not KIND.fullmatch(kind):
        raise UsageError(f"{kind!r} is no kind of a part")
    return user_parts() / f"{kind}-{model}.safetensors"


def model_fingerprint(info: ModelInfo) -> str | None:
    """What a part of this model is bound to; None for a model that is no file here."""
    if info.format in ("table", "remote"):
        return None
    try:
        return file_fingerprint(info.path)
    except OSError as error:
        raise ModelFileError(f"cannot read {info.path}: {error.strerror or error}") from error


def check_place(kind: str, model: str) -> None:
    """Raise ModelFileError where such a part cannot be written: asked before it is learned."""
    path = part_path(kind, model)
    try:
        check_room(path.parent)
    except OSError as error:
        raise ModelFileError(
            f"the part {path} cannot be written: {error.strerror or error}",
            hint="ADEC_HOME moves the folder of all parts",
        ) from error


def keep_part(part: Part) -> Path:
    """Write a part to its place; returns the file. Raises ModelFileError."""
    path = part_path(part.kind, part.model)
    write_part(part, path)
    return path


def find_part(kind: str, info: ModelInfo) -> Part | None:
    """The part of a kind that was made for this model; None if there is none.

    Raises ModelFileError where the file is damaged or was made for another model.
    """
    model = model_fingerprint(info)
    if model is None:
        return None
    path = part_path(kind, model)
    try:
        there = path.exists()
    except OSError as error:  # a folder that may not be looked into
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    if not there:
        return None
    again = f"learn it again: adec calibrate {info.path} --fit {kind}"
    try:
        part = read_part(path)
    except ModelFileError as error:
        raise ModelFileError(error.message, hint=error.hint or again) from error
    if part.kind != kind or part.model != model:
        raise ModelFileError(
            f"{path} is a part {part.kind[:32]} of another model than {info.name}", hint=again
        )
    return part


def need_part(kind: str, info: ModelInfo) -> Part:
    """As `find_part`. Raises UsageError where there is none."""
    part = find_part(kind, info)
    if part is None:
        raise UsageError(
            f"{info.name} has no part {kind!r}, which this needs",
            hint=f"learn it: adec calibrate {info.path} --fit {kind}",
        )
    return part


def parts_of(info: ModelInfo) -> list[tuple[Path, Part | str]]:
    """The parts made for a model, each with its file; of a damaged one, what is wrong with it."""
    model = model_fingerprint(info)
    if model is None:
        return []
    try:
        paths = sorted(user_parts().glob(f"*-{model}.safetensors"))[:MOST]
    except OSError:
        return []
    found: list[tuple[Path, Part | str]] = []
    for path in paths:
        try:
            part = read_part(path)
        except AdecError as error:
            found.append((path, error.message))
            continue
        wrong = part.model != model or path.name != f"{part.kind}-{model}.safetensors"
        found.append((path, "made for another model, or renamed" if wrong else part))
    return found
