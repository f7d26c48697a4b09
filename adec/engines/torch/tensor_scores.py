"""Scores over a tensor on an accelerator, computed there; rows move to the CPU on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from adec.signals import Row, Scores, total_variation

_BLOCK = 64
"""Rows per computation, since temporaries for a whole prompt would take several times its size."""


class TensorScores:
    """Scores over logits, shape (rows, vocabulary), that nobody writes to any more.

    The first use of a signal computes it for all rows, so that the device is asked once per forward
    rather than once per row. Ties go to the lowest id, as in ArrayScores.
    """

    __slots__ = ("_cache", "_logits")

    def __init__(self, logits: Tensor) -> None:
        if logits.ndim != 2:
            raise ValueError(f"scores need shape (rows, vocabulary), got {tuple(logits.shape)}")
        self._logits = logits.detach().float()
        self._cache: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return self._logits.shape[0]

    def row(self, index: int) -> Row:
        row: Row = self._logits[index].cpu().numpy()
        return row

    def argmax(self, index: int) -> int:
        return int(self._every("argmax", lambda rows: rows.argmax(dim=-1))[index])

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        row = self._logits[index]
        count = min(count, row.shape[0])
        if count < 1:
            return []
        with torch.inference_mode():
            last = row.topk(count, sorted=False).values.min()
            # topk breaks ties at random, so all ids that reach its last value are sorted stably
            ids = (row >= last).nonzero().squeeze(-1)
            order = row[ids].sort(descending=True, stable=True).indices[:count]
            ids = ids[order]
            chances = (row[ids] - self._log_total(index)).exp()
            return list(zip(ids.tolist(), chances.tolist(), strict=True))

    def entropy(self, index: int) -> float:
        return max(0.0, self._every("entropy", _entropies)[index])

    def margin(self, index: int) -> float:
        if self._logits.shape[1] < 2:
            return 1.0
        return self._every("margin", _margins)[index]

    def probability(self, index: int, token: int) -> float:
        return float((self._logits[index, token] - self._log_total(index)).exp())

    def distance(self, index: int, other: Scores, row: int) -> float:
        return total_variation(self.row(index), other.row(row))

    def _log_total(self, index: int) -> float:
        return self._every("total", lambda rows: rows.logsumexp(dim=-1))[index]

    def _every(self, name: str, function: Callable[[Tensor], Tensor]) -> list[float]:
        values = self._cache.get(name)
        if values is None:
            with torch.inference_mode():
                values = torch.cat([function(block) for block in self._blocks()]).tolist()
            self._cache[name] = values
        return values

    def _blocks(self) -> Iterator[Tensor]:
        for start in range(0, max(1, len(self)), _BLOCK):
            yield self._logits[start : start + _BLOCK]


def _entropies(rows: Tensor) -> Tensor:
    logs = rows.log_softmax(dim=-1)
    # a token at -inf adds nothing, but 0 * -inf is not a number
    return -(logs.exp() * logs.clamp_min(-1e30)).sum(dim=-1)


def _margins(rows: Tensor) -> Tensor:
    first, second = rows.topk(2, dim=-1).values.unbind(dim=-1)
    total = rows.logsumexp(dim=-1)
    return (first - total).exp() - (second - total).exp()
