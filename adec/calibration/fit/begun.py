"""What an unfinished fit has learned so far: the next fit of the same kind goes on from there.

It is a part of a kind of its own, so it is written whole, bound to its model and read as anything
hostile is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date

from adec.engines.base import ModelInfo
from adec.errors import ModelFileError
from adec.parts.kept_parts import find_part, keep_part, part_path
from adec.parts.part import Array, Part


class Begun:
    """The begun part of a kind, for one model."""

    def __init__(self, kind: str, model: str) -> None:
        """`model`: its fingerprint."""
        self._kind = kind
        self._begun = f"{kind}_begun"
        self._model = model

    @property
    def exists(self) -> bool:
        """Whether something was kept."""
        return part_path(self._begun, self._model).exists()

    def keep(self, tensors: Mapping[str, Array]) -> None:
        """Write it. Raises ModelFileError where that cannot be, since the end could not either."""
        keep_part(Part(self._begun, self._model, tensors, {}, date.today().isoformat()))

    def check_room(self, tensors: Mapping[str, Array]) -> None:
        """Raise ModelFileError where so much cannot be written, long before it has to be."""
        self.keep(tensors)
        self.remove()

    def found(self, info: ModelInfo) -> list[Part]:
        """What to go on from, the best first: what was begun, else a part that is finished."""
        parts = []
        for kind in (self._begun, self._kind):
            # a damaged one is no reason not to learn it anew
            with suppress(ModelFileError):
                part = find_part(kind, info)
                if part is not None:
                    parts.append(part)
        return parts

    def remove(self) -> None:
        """Remove it: the fit is finished."""
        part_path(self._begun, self._model).unlink(missing_ok=True)
