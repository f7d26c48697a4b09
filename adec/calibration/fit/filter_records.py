"""Rows for the filter of Learn2PD: confidences of a block, and which proposals are final.

After W. Bao and others, arXiv 2509.25188: first the answer one position a forward, then again,
letting stand in every forward just what that answer has. Where nothing does, the rest of the block
is taken from the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adec.decoding.diffusion.canvas_answer import CanvasAnswer
from adec.decoding.diffusion.canvas_loop import CanvasSize
from adec.decoding.diffusion.learn2pd import confidences_of
from adec.decoding.diffusion.unmasking import Proposals
from adec.decoding.strategy import Limits, Prompt
from adec.engines.protocols import CanvasEngine
from adec.events.records import Token
from adec.parts.part import Array


@dataclass(frozen=True)
class FilterRows:
    """Of one answer, shapes (forwards, block): what the filter sees, what is right, what counts."""

    confidences: Array
    labels: Array
    weights: Array


def filter_rows(
    engine: CanvasEngine, prompt: Sequence[int], answer: Sequence[int], size: CanvasSize,
    limits: Limits,
) -> FilterRows:  # fmt: skip
    """The rows of a prompt whose `answer`, one position a forward, is known.

    Behind its end every position is taken for an end token.
    """
    filling = CanvasAnswer(
        Prompt(tuple(prompt)), limits, mask=engine.mask, context=engine.context,
        length=size.canvas, block=size.block,
    )  # fmt: skip
    end = min(limits.end, default=engine.mask)
    rows: list[tuple[Array, Array, Array]] = []
    step = 0
    while not filling.done:
        places = filling.open_places()
        scores = engine.canvas_scores(filling.canvas, positions=places)
        block = range(filling.first, filling.first + size.block)
        proposals = Proposals(scores, places, limits.sampler, step, block=block)
        final = [
            answer[place - filling.start] if place - filling.start < len(answer) else end
            for place in places
        ]
        right = [token == wanted for token, wanted in zip(proposals.tokens, final, strict=True)]
        labels, weights = np.ones(size.block, np.float32), np.zeros(size.block, np.float32)
        for place, good in zip(places, right, strict=True):
            labels[place - block.start], weights[place - block.start] = good, 1.0
        rows.append((confidences_of(proposals), labels, weights))
        stand = [i for i, good in enumerate(right) if good] or range(len(places))
        filling.fill({places[i]: Token(final[i], "large") for i in stand})
        step += 1
    confidences, labels, weights = (np.stack(column) for column in zip(*rows, strict=True))
    return FilterRows(confidences, labels, weights)
