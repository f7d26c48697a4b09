"""Processes that train one model together; each does a share of every step.

On a CPU, several processes of one thread are faster than one process of several threads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Team:
    """The rank of a process among `size` of them."""

    rank: int = 0
    size: int = 1

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the team, the same to the bit in every process."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def together(size: int, work: Callable[[Team], None]) -> None:
    """Run `work`, which must be picklable, in this process and in `size - 1` others."""
    if size == 1:
        work(Team())
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder, "meeting").as_uri()
        context = mp.get_context("spawn")
        others = [
            context.Process(target=_member, args=(meeting, rank, size, work), daemon=True)
            for rank in range(1, size)
        ]
        for other in others:
            other.start()
        _join(meeting, 0, size, work)
        for other in others:
            other.join()


def _member(meeting: str, rank: int, size: int, work: Callable[[Team], None]) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C goes to the first process alone; its end ends the others
    _join(meeting, rank, size, work)


def _join(meeting: str, rank: int, size: int, work: Callable[[Team], None]) -> None:
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
    try:
        work(Team(rank, size))
    finally:
        dist.destroy_process_group()
