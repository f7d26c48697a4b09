"""What is masked of a canvas, and how much each masked token weighs.

Half of what LLaDA trains is never asked: decoding by blocks always sees whole blocks on the left,
masks alone on the right, and inside the block at work what was easiest first. `as_decoded` draws
such states, and learns the block at work alone. A token weighs less the more masks lie before it in
its block, after the context-adaptive weights of J. Ye and others, "Dream 7B", 2025, arXiv
2508.15487: far from what stands a token is mostly unknowable.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from random import Random

FADE = 0.6  # of the weight, for each mask before a token in its block
IN_ORDER = 0.7  # share of states in which the block is filled from the left
EASY_FIRST = 0.5  # share of those in which tokens that are no digits stand further on, too


@dataclass(frozen=True, slots=True)
class Masks:
    """Offsets in a canvas that are masked, and those that are learned with weights of sum one."""

    hidden: Sequence[int]
    learned: Sequence[int]
    weights: Sequence[float]


def spread(rng: Random, canvas: int, share: float) -> Masks:
    """A share of a canvas, drawn evenly; all of it is learned alike."""
    count = max(1, round(share * canvas))
    places = sorted(rng.sample(range(canvas), count))
    return Masks(places, places, [1.0 / count] * count)


def as_decoded(
    rng: Random, ids: Sequence[int], block: range, digits: Set[int], first: int | None = None
) -> Masks:
    """A state of decoding whose block at work is `block`, offsets in the canvas `ids`.

    `first`: all before it stands, and it does not; by default that is drawn.
    """
    if first is None and rng.random() >= IN_ORDER:
        share = 1.0 - rng.random()
        open_places = sorted(rng.sample(block, max(1, round(share * len(block)))))
    else:
        begin = rng.choice(block) if first is None else first
        easy = rng.random() if rng.random() < EASY_FIRST else 0.0
        open_places = [begin] + [
            place
            for place in range(begin + 1, block.stop)
            if ids[place] in digits or rng.random() >= easy
        ]
    weights = [FADE**before for before in range(len(open_places))]
    whole = sum(weights)
    return Masks(
        [*open_places, *range(block.stop, len(ids))],
        open_places,
        [weight / whole for weight in weights],
    )
