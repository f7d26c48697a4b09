"""What a part says of prompt tokens: what they read, and how often they were right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adec.decoding.heads.prompt_trees import Accuracy
from adec.decoding.heads.rank_counts import RANKS
from adec.engines.protocols import Vectors
from adec.parts.part import Part

KIND = "ppd"
"""Of the part, and the name of the strategy."""
PROMPTS = 8
"""Prompt tokens of a chain at most."""


@dataclass(frozen=True)
class PromptTokens:
    """What a part holds."""

    embeddings: Vectors
    """Shape (prompt tokens, width)."""
    accuracy: Accuracy
    """See `prompt_trees.py`."""


def prompts_of(part: Part, width: int) -> PromptTokens:
    """The prompt tokens of a part. Raises ModelFileError where they do not fit the model."""
    embeddings = part.tensor("embeddings", None, width)
    count = len(embeddings)
    if not 1 <= count <= PROMPTS:
        raise part.refused(f"the part {KIND} has {count} prompt tokens, not 1 to {PROMPTS}")
    accuracy = part.tensor("accuracy", count, RANKS).astype(np.float64)
    if accuracy.min() < 0 or (accuracy.sum(1) > 1 + 1e-4).any():
        raise part.refused(f"the accuracies of the part {KIND} are no shares")
    return PromptTokens(embeddings, accuracy)
