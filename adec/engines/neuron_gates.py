"""Which feed-forward neurons a token needs, as small gates say from the feed-forward's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class NeuronGates:
    """For every layer, logits of its neurons: outer (inner x) + bias, of rank r."""

    inner: NDArray[np.float32]
    """(layers, r, width)."""
    outer: NDArray[np.float32]
    """(layers, neurons, r)."""
    bias: NDArray[np.float32]
    """(layers, neurons)."""
    threshold: float
    """Logit from which a neuron is computed."""
    lot: int | None = None
    """A seed: as many neurons as the gates choose, but drawn by lot. None: those of the gates."""
