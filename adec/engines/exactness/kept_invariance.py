"""What was measured of a model's batch invariance, kept on this machine.

One file a model, with an entry for each number of threads and each number format:

{"schema": 3, "entries": [{"threads": 1, "dtype": null, "reaches": [{"length": 256, "chains": [2],
  "trees": [], "tried": [2, 3]}], "noise": [0.0, 0.1, 0.2, 0.4]}]}
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from adec.engines.base import Engine, LoadedModel, ModelHeader
from adec.engines.exactness.invariance import FARTHEST, QUANTILES, Invariance, Reach
from adec.engines.model_key import model_key
from adec.events.hostile_json import JsonReader, encode
from adec.places import kept_folder
from adec.whole_file import whole_file

FILE_BYTES = 64 * 1024
MOST_ENTRIES = 32
"""Kept for a model; the oldest go."""
_SCHEMA = 3

_Size = Annotated[int, msgspec.Meta(ge=2, le=1 << 16)]
_Sizes = Annotated[tuple[_Size, ...], msgspec.Meta(max_length=64)]
_Change = Annotated[float, msgspec.Meta(ge=0, le=2 * FARTHEST)]


class _KeptReach(msgspec.Struct, frozen=True):
    length: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
    chains: _Sizes
    trees: _Sizes
    tried: _Sizes


class KeptInvariance(msgspec.Struct, frozen=True):
    """One entry of a file: how the engine ran, and what was found."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None
    dtype: Annotated[str, msgspec.Meta(max_length=32)] | None
    reaches: Annotated[tuple[_KeptReach, ...], msgspec.Meta(min_length=1, max_length=16)]
    noise: Annotated[
        tuple[_Change, ...], msgspec.Meta(min_length=len(QUANTILES), max_length=len(QUANTILES))
    ]

    @property
    def found(self) -> Invariance:
        """The same without how it ran."""
        reaches = tuple(Reach(r.length, r.chains, r.trees, r.tried) for r in self.reaches)
        return Invariance(tuple(sorted(reaches, key=lambda reach: reach.length)), self.noise)


class _File(msgspec.Struct, frozen=True):
    schema: int
    entries: Annotated[tuple[KeptInvariance, ...], msgspec.Meta(max_length=MOST_ENTRIES)]


_FILE: JsonReader[_File] = JsonReader(_File)


def kept_entries(model: LoadedModel | ModelHeader) -> tuple[KeptInvariance, ...]:
    """All that is kept of a model on this machine; nothing where a file is none of ours."""
    path = kept_folder("exactness") / f"{model_key(model)}.json"
    try:
        if not path.is_file():
            return ()
        with path.open("rb") as file:
            kept = _FILE.read(file.read(FILE_BYTES))
    except (OSError, ValueError):
        return ()
    # files of older versions have other names, and what they say is measured anew
    return kept.entries if kept.schema == _SCHEMA else ()


def kept_invariance(engine: Engine) -> Invariance | None:
    """What was measured of this model, with these threads and this format; None if nothing was."""
    how = engine.threads, engine.dtype
    return next((e.found for e in kept_entries(engine) if (e.threads, e.dtype) == how), None)


def keep_invariance(engine: Engine, found: Invariance) -> None:
    """Keep it for later runs. If it cannot be written, it is measured again."""
    how = engine.threads, engine.dtype
    reaches = tuple(_KeptReach(r.length, r.chains, r.trees, r.tried) for r in found.reaches)
    others = [e for e in kept_entries(engine) if (e.threads, e.dtype) != how]
    entries = (*others[-(MOST_ENTRIES - 1) :], KeptInvariance(*how, reaches, found.noise))
    folder = kept_folder("exactness")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / f"{model_key(engine)}.json") as file:
            file.write(encode(_File(_SCHEMA, entries)))
    except OSError:
        return
