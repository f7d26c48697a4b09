"""Training whose learning rate follows the clock, so that a run ends when it was planned to end.

However busy the machine is, the rate rises and falls within the minutes that were given. Hence two
runs are alike in kind, not to the bit.
"""

from __future__ import annotations

import json
import math
import os
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from tools.train.model_files import export
from tools.train.trainer import keep_memory

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Model = TypeVar("Model", bound=nn.Module)


@dataclass
class Progress:
    """What was done, and where in its fall the rate is."""

    step: int = 0
    chunk: int = 0
    batch: int = 0
    tokens: int = 0
    minutes: float = 0.0
    """Of the clock, pauses included, since the rate began to rise."""
    total_minutes: float = 0.0


def factor(minutes: float, whole: float, rise: float) -> float:
    """The factor of the learning rate: it rises for `rise` minutes, then falls as a cosine does."""
    share = min(1.0, minutes / whole)
    return min(1.0, (minutes + 0.01) / rise) * 0.5 * (1 + math.cos(math.pi * share))


class ClockedTrainer(ABC, Generic[Model]):
    """A model in training; `state` and `restore` carry it from one run to the next.

    A subclass says which model it is, what a chunk of data is, what is lost on a batch, and what is
    watched.
    """

    name: str
    """Of the model: of its checkpoint and its log."""
    rise_minutes: float
    save_minutes: float

    def __init__(
        self, tokenizer: Tokenizer, *, seed: int, minutes: float, rate: float, device: str = "cpu"
    ) -> None:
        """`rate`: the highest learning rate, as `make_optimizer` takes it."""
        self.tokenizer, self.seed, self.minutes, self.device = tokenizer, seed, minutes, device
        self.rate = rate
        self._halves = device != "cpu" or bfloat16_is_faster()
        torch.manual_seed(seed)
        self.model = self.make_model().to(device)
        self.optimizer: Any = self.make_optimizer()
        self.at = Progress()
        self._batches: list[Any] = []

    @abstractmethod
    def make_model(self) -> Model:
        """The model with its first weights, which follow from torch's seed."""

    def make_optimizer(self) -> Any:
        """What `update` steps with."""
        return torch.optim.AdamW(
            self.model.parameters(), lr=self.rate, betas=(0.9, 0.98), weight_decay=0.01
        )

    def update(self, factor: float) -> None:
        """Step by the gradients and clear them; `factor` is that of the rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        self.optimizer.step()
        self.optimizer.zero_grad()

    def export(self, out: Path) -> tuple[Path, Path]:
        """Write the model in both formats; returns the folder and the GGUF file."""
        return export(self.state(), out)

    @abstractmethod
    def begin_with(self, folder: Path) -> None:
        """Take the weights of a folder."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """What a step makes smaller, in nats a token."""

    @abstractmethod
    def watch(self) -> dict[str, Any]:
        """Figures on held-out problems, for the log."""

    @abstractmethod
    def _chunk_of(self, number: int) -> list[Any]:
        """The batches of a chunk of the data."""

    def step(self) -> float:
        """One update; returns the loss, in nats a token."""
        began = time.monotonic()
        batch = self._next()
        loss = self.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.update(factor(self.at.minutes, self.minutes, self.rise_minutes))
        self.at.step += 1
        self.at.tokens += batch.tokens.numel()
        self.add_minutes((time.monotonic() - began) / 60)
        return float(loss.detach())

    def add_minutes(self, minutes: float) -> None:
        """Let the clock go on, as for what is done between steps."""
        self.at.minutes += minutes
        self.at.total_minutes += minutes

    @property
    def done(self) -> bool:
        """Whether the rate has fallen to zero."""
        return self.at.minutes >= self.minutes

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        return {
            "name": self.name, "seed": self.seed, "at": vars(self.at).copy(),
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "tokenizer": self.tokenizer.to_str(),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint. One whose rate had fallen to zero rises again."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.at = Progress(**state["at"])
        self.seed = state["seed"]
        if self.done:
            self.at.minutes = 0.0
        self._batches = []

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self._halves)

    def _next(self) -> Any:
        while self.at.batch >= len(self._batches):
            if self._batches:
                self.at.chunk, self.at.batch = self.at.chunk + 1, 0
            self._batches = self._chunk_of(self.at.chunk)
        self.at.batch += 1
        return self._batches[self.at.batch - 1]


def train_by_the_clock(
    trainer: ClockedTrainer[Any], out: Path, begin: Path, *, resume: bool, threads: int
) -> tuple[Path, Path]:
    """Train until the minutes have passed, with checkpoints and a log in `out`; exports the model.

    Without a checkpoint to resume from it begins with the weights in `begin`. Returns the folder
    and the GGUF file.
    """
    keep_memory()
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    saved = out / f"{trainer.name}.pt"
    if resume and saved.exists():
        trainer.restore(torch.load(saved, map_location=trainer.device, weights_only=True))
    else:
        trainer.begin_with(begin)
    mean, last = math.nan, trainer.at.minutes
    while not trainer.done:
        loss = trainer.step()
        mean = loss if math.isnan(mean) else 0.98 * mean + 0.02 * loss
        if trainer.at.minutes - last >= trainer.save_minutes or trainer.done:
            last, now = trainer.at.minutes, time.monotonic()
            save_checkpoint(trainer.state(), saved)
            line = {**vars(trainer.at), "mean_loss": round(mean, 4), "watch": trainer.watch()}
            text = json.dumps(line)
            print(text, flush=True)
            with (out / f"{trainer.name}.jsonl").open("a", encoding="utf-8") as log:
                log.write(text + "\n")
            trainer.add_minutes((time.monotonic() - now) / 60)
    return trainer.export(out / "models")


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whole, or leave the one that is there."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def bfloat16_is_faster(size: int = 512) -> bool:
    """Whether this CPU multiplies in bfloat16; without the instructions it is far slower."""

    def best(kind: torch.dtype) -> float:
        a, times = torch.ones(size, size, dtype=kind), []
        for _ in range(3):
            began = time.perf_counter()
            torch.mm(a, a)
            times.append(time.perf_counter() - began)
        return min(times)

    return best(torch.bfloat16) < best(torch.float32)
