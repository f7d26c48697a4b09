"""Learn2PD: a small network, learned from the model's own answers, says what stands.

W. Bao and others, "Learning to Parallel: Accelerating Diffusion Large Language Models via Learnable
Parallel Decoding", 2025, arXiv 2509.25188.

The best parallel decoder would let a position stand as soon as its proposal is what decoding one by
one would write in the end. The filter f imitates it: from the confidences c of a block's B
positions, 0 to 1, two linear layers compute as many logits,

    f(c) = W2 relu(W1 c + b1) + b2,

and position j stands where sigmoid(f(c)_j) is above `probability` (0.96 in the paper's script), and
the surest in any case. End-of-text prediction (EoTP) cuts the canvas behind an end token.

What is different here: positions that stand already count as 1, since nothing scores them. The
released EoTP reacts to an end token that is merely the likeliest at any mask; here one must be
likely enough (`end`), and then stands. The paper's largest gains come from not computing what lies
behind the end, which every strategy here leaves out. The part is learned by `adec calibrate MODEL
--fit filter`, for one block length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adec.decoding.diffusion.canvas_loop import CanvasSettings, CanvasStrategy, canvas_engine
from adec.decoding.diffusion.unmasking import Proposals, surest
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.errors import UsageError
from adec.parts.part import Array, Part

KIND = "filter"
WIDEST = 4096
"""Hidden numbers of a filter that is believed."""


@dataclass(frozen=True, slots=True)
class Learn2pdSettings(CanvasSettings):
    """`--set learn2pd.NAME=VALUE`."""

    probability: float = setting(
        0.96, "how sure the filter must be; the paper's script has 0.96", least=0, most=1
    )
    end: float = setting(
        0.9, "an end token as likely stands, wherever it is, and cuts the rest; 1: never",
        least=0, most=1,
    )  # fmt: skip


@dataclass(frozen=True)
class UnmaskingFilter:
    """Two linear layers, from the confidences of a block to chances that they are final."""

    inner: Array
    """Shape (hidden, block)."""
    inner_bias: Array
    outer: Array
    """Shape (block, hidden)."""
    outer_bias: Array

    @property
    def block(self) -> int:
        """The block length that it was learned for."""
        return int(self.inner.shape[1])

    def chances(self, confidences: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sigmoid of f; shapes (…, block)."""
        hidden = np.maximum(0, confidences @ self.inner.T + self.inner_bias)
        logits = np.clip(hidden @ self.outer.T + self.outer_bias, -60, 60)
        result: NDArray[np.float32] = 1 / (1 + np.exp(-logits))
        return result


def filter_of(part: Part) -> UnmaskingFilter:
    """The filter in a part. Raises ModelFileError where its shapes do not fit together."""
    inner = part.tensor("inner", None, None)
    hidden, block = inner.shape
    return UnmaskingFilter(
        inner,
        part.tensor("inner_bias", hidden),
        part.tensor("outer", block, hidden),
        part.tensor("outer_bias", block),
    )


class Filtered:
    """What the filter lets stand, the surest position, and an end token that is likely enough."""

    sees_canvas = True

    def __init__(
        self, filter_: Callable[[], UnmaskingFilter], probability: float, end: float
    ) -> None:
        self._load = filter_
        self._filter: UnmaskingFilter | None = None
        self._probability = probability
        self._end = end

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`. Raises UsageError for another block length."""
        if self._filter is None:
            self._filter = self._load()
        block = proposals.block
        if len(block) != self._filter.block:
            raise UsageError(
                f"the filter was learned for blocks of {self._filter.block}, not {len(block)}",
                hint=f"--set learn2pd.block={self._filter.block}",
            )
        chances = self._filter.chances(confidences_of(proposals))
        inside = range(proposals.inside)
        best = surest([proposals.confidence(i) for i in inside])[:1]
        found = {
            i for i in inside if chances[proposals.places[i] - block.start] > self._probability
        }
        ends = [
            i
            for i in range(len(proposals))
            if proposals.tokens[i] in proposals.end and proposals.confidence(i) > self._end
        ]
        return sorted({*best, *found, *ends})


def confidences_of(proposals: Proposals) -> NDArray[np.float32]:
    """Of every position of the block at work; 1 where it stands, or lies behind the end."""
    result = np.ones(len(proposals.block), dtype=np.float32)
    for i in range(proposals.inside):
        result[proposals.places[i] - proposals.block.start] = proposals.confidence(i)
    return result


def parts(settings: Learn2pdSettings) -> tuple[str, ...]:
    """The parts that it needs."""
    return (KIND,)


def build(engines: Engines, settings: Learn2pdSettings, aids: Aids) -> CanvasStrategy:
    """The strategy on the large model."""
    rule = Filtered(lambda: filter_of(aids.part(KIND)), settings.probability, settings.end)
    return CanvasStrategy("learn2pd", "arXiv 2509.25188", canvas_engine(engines), rule, settings)
