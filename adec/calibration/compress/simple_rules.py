"""Simpler ways to choose the blocks to leave out: what a search starts from and must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from adec.calibration.compress.block_sets import Blocks
from adec.calibration.compress.evopress import Loss
from adec.calibration.compress.half_sets import Halves

STAY = 3
"""Of runs of neighbouring blocks, how many are judged on every prompt."""


def best_run(blocks: int, left_out: int, prompts: int, loss: Loss[Blocks]) -> Blocks:
    """The run of neighbouring blocks that loses least: judged on one prompt, the best on all."""
    runs = [frozenset(range(at, at + left_out)) for at in range(blocks - left_out + 1)]
    best = sorted(runs, key=lambda run: loss(run, [0]))[:STAY]
    return min(best, key=lambda run: loss(run, range(prompts)))


def least_alone(
    blocks: int,
    left_out: int,
    prompts: Sequence[int],
    loss: Loss[Blocks],
    told: Callable[[int, float], None] = lambda block, nats: None,
) -> Blocks:
    """The blocks each of which alone loses least. `told` gets to know what each of them loses."""
    alone = {}
    for block in range(blocks):
        alone[block] = loss(frozenset([block]), prompts)
        told(block, alone[block])
    return frozenset(sorted(alone, key=alone.__getitem__)[:left_out])


def best_run_of_halves(blocks: int, left_out: int, prompts: int, loss: Loss[Halves]) -> Halves:
    """`best_run`: whole blocks, as many as there are parts of each kind."""
    run = best_run(
        blocks, left_out, prompts, lambda whole, indices: loss(Halves(whole, whole), indices)
    )
    return Halves(run, run)


def least_alone_by_halves(
    blocks: int,
    left_out: int,
    prompts: Sequence[int],
    loss: Loss[Halves],
    told: Callable[[int, float], None] = lambda block, nats: None,
) -> Halves:
    """Of each kind the parts each of which alone loses least."""
    attention = least_alone(
        blocks, left_out, prompts,
        # the lowest block's own is never left out alone
        lambda some, indices: loss(Halves(attention=some), indices) if 0 not in some else inf,
        told,
    )  # fmt: skip
    feed_forward = least_alone(
        blocks, left_out, prompts, lambda some, indices: loss(Halves(feed_forward=some), indices),
        told,
    )  # fmt: skip
    return Halves(attention, feed_forward)


def least_change_by_halves(
    changes: tuple[Sequence[float], Sequence[float]], left_out: int
) -> Halves:
    """`least_change` of each kind; the lowest block keeps its attention."""
    attention, feed_forward = changes
    return Halves(
        least_change([inf, *attention[1:]], left_out), least_change(feed_forward, left_out)
    )


def least_change(changes: Sequence[float], left_out: int) -> Blocks:
    """ShortGPT's rule: the blocks that turn their input least (arXiv 2403.03853)."""
    return frozenset(sorted(range(len(changes)), key=changes.__getitem__)[:left_out])
