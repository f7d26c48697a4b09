"""Which grade of exactness an answer has: bit for bit, or up to rounding, and of what size.

A row that is computed in a larger forward may differ from plain decoding's in its last bits. So it
matters in which forwards the large model read, and what was measured of it (`invariance.py`).
"""

from __future__ import annotations

from typing import Any

from adec.engines.base import Engine
from adec.engines.exactness.invariance import ONE_THREAD_CELLS
from adec.engines.exactness.kept_invariance import kept_invariance
from adec.events.records import Step, TreeRecord


class ExactnessWatch:
    """Follows the large model through one answer of an exact strategy."""

    def __init__(self, large: Engine, prompt: int, chunk: int) -> None:
        """`prompt`: its tokens. `chunk`: tokens of a forward in which plain decoding reads it."""
        self._large = large
        self._expected = [min(chunk, prompt - at) for at in range(0, prompt, chunk)]
        self._prompt: list[int] = []
        self._chain = 1
        self._tree = 1

    def add(self, step: Step) -> None:
        """Take in a step."""
        tree = isinstance(step.detail, TreeRecord) and _branches(step.detail)
        for forward in step.forwards:
            if forward.model != "large" or forward.purpose == "rewind":
                continue
            if forward.purpose == "prompt":
                self._prompt.append(forward.tokens)
            elif tree and forward.purpose == "verify":
                self._tree = max(self._tree, forward.tokens)
            else:
                self._chain = max(self._chain, forward.tokens)

    def summary(self, *, threads_changed: bool, planned: bool = False) -> dict[str, Any]:
        """Keys of the summary: `exactness`, and `exactness_noise`, None if it was never measured.

        The noise is the largest change seen of the gap between the two best logits. `planned`: the
        model ran only forwards that were measured to be bit for bit.
        """
        large = self._large
        # torch's products may be split over threads at any length
        cells = 0 if large.info.format in ("safetensors", "gguf-torch") else ONE_THREAD_CELLS
        steady = not threads_changed or large.length <= cells
        if planned and steady:
            return {"exactness": "bitwise", "exactness_noise": 0.0}
        as_plain = self._prompt == self._expected
        if as_plain and max(self._chain, self._tree) == 1:
            return {"exactness": "bitwise", "exactness_noise": 0.0}
        found = kept_invariance(large)
        if found is None:
            return {"exactness": "rounding", "exactness_noise": None}
        if (
            as_plain
            and steady
            and large.in_order
            and found.is_bitwise(self._chain, self._tree, large.length)
        ):
            return {"exactness": "bitwise", "exactness_noise": 0.0}
        return {"exactness": "rounding", "exactness_noise": found.most}


def _branches(record: TreeRecord) -> bool:
    return any(parent != node - 1 for node, parent in enumerate(record.parents))
