"""A part: what a method learned for one model, as named arrays and a few facts about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from adec.errors import ModelFileError

Array = npt.NDArray[np.float32]
Fact = str | int | float | bool
KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Part:
    """A small trained addition to one model."""

    kind: str
    """What it is for: "exits", "routers", …"""
    model: str
    """The fingerprint of the model file that it was learned for (`machine.file_fingerprint`)."""
    tensors: Mapping[str, Array]
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))
    """What it was learned from, how long that took, what it is worth: for people and `inspect`.
    A strategy may read its own thresholds and sizes here, and checks what it reads."""
    made: str = ""
    """The day on which it was made, as 2026-01-31."""

    def tensor(self, name: str, *shape: int | None) -> Array:
        """The array of a name; None in `shape` stands for any size. Raises ModelFileError."""
        array = self.tensors.get(name)
        if array is None:
            raise self.refused(f"the part {self.kind} has no {name!r}")
        fits = array.ndim == len(shape) and all(
            wanted is None or wanted == size
            for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = " x ".join("any" if size is None else str(size) for size in shape)
            held = " x ".join(map(str, array.shape))
            raise self.refused(f"{name!r} of the part {self.kind} is {held}, not {wanted}")
        return array

    def number(self, name: str, *, least: float, most: float) -> float:
        """The fact of a name as a number within bounds. Raises ModelFileError."""
        value = self.facts.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refused(f"the part {self.kind} has no number {name!r}")
        if not least <= value <= most:
            raise self.refused(
                f"{name!r} of the part {self.kind} is {value}, not from {least:g} to {most:g}"
            )
        return float(value)

    def refused(self, why: str) -> ModelFileError:
        """The error of a part that cannot be used, with what helps."""
        return ModelFileError(why, hint=f"learn it again: adec calibrate MODEL --fit {self.kind}")
