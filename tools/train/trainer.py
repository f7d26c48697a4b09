"""One model in training: schedule, step, checkpoint, and a run from the first to the last step."""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F

from adec.practice.tasks import problems
from tools.train import tokenizer as tokens
from tools.train.llama_model import SHAPES, Llama, parameters_of
from tools.train.model_files import export
from tools.train.optimizer import Optimizer
from tools.train.team import Team
from tools.train.training_data import FIRST, LAST, LATE, Batch, chunk, rectangles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WARM_UP = 60
SAVE_EVERY = 50


@dataclass(frozen=True, slots=True)
class Fall:
    """A part of a run: the learning rate rises to `rate`, stays for `flat` steps, falls to zero."""

    steps: int
    rate: float
    flat: int
    rectangles: int  # batches per step


# The later falls are warm restarts (Loshchilov and Hutter 2017, arXiv 1608.03983).
PLANS = {
    "small": (Fall(1180, 1.0, 1003, 3),),
    "large": (Fall(2800, 1.0, 700, 2), Fall(700, 0.5, 0, 4)),
}
STEPS = {name: sum(fall.steps for fall in plan) for name, plan in PLANS.items()}
STAGES = {  # of the data, by their first chunk
    "small": {0: FIRST},
    "large": {0: FIRST, 15: LATE, 24: LAST},
}
WATCHED = 1200  # held-out problems that are scored at every save


@dataclass
class Position:
    """The steps done, and the next batch of the data."""

    step: int = 0
    chunk: int = 0
    batch: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Trainer:
    """A model in training; a run resumed by `state` and `restore` is the same to the bit."""

    def __init__(
        self, name: str, tokenizer: Tokenizer, *, seed: int, steps: int,
        device: str = "cpu", compiled: bool = True, chunk_size: int | None = None,
        team: Team | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        self.name, self.tokenizer, self.seed, self.steps = name, tokenizer, seed, steps
        self.device = device
        self.model = Llama(SHAPES[name]).to(device)
        self.team = team or Team()
        self.optimizer = Optimizer(self.model, self.team)
        self.at = Position()
        self.chunk_size = chunk_size
        self._batches: list[Batch] = []
        hidden = self.model.hidden
        self._hidden: Callable[[Tensor], Tensor] = (
            torch.compile(hidden, dynamic=False) if compiled else hidden
        )

    def step(self) -> float:
        """One update; returns the mean loss of the reply tokens, in nats."""
        start = time.monotonic()
        fall, _ = fall_at(self.name, self.at.step, self.steps)
        batches = [self._next() for _ in range(fall.rectangles)]
        whole = sum(float(batch.weights.sum()) for batch in batches)
        total = torch.zeros(())
        for batch in batches[self.team.rank :: self.team.size]:
            each = F.cross_entropy(
                self._logits(batch), batch.targets.to(self.device), reduction="none"
            )
            loss = (each * batch.weights.to(self.device)).sum() / whole
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach().cpu()
        self.team.add(
            [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        )
        self.team.add([total])
        self.optimizer.step(schedule(self.name, self.at.step, self.steps))
        self.at.step += 1
        self.at.tokens += sum(batch.tokens.numel() for batch in batches)
        self.at.seconds += time.monotonic() - start
        return float(total)

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        return {
            "name": self.name, "seed": self.seed, "steps": self.steps, "at": vars(self.at).copy(),
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "tokenizer": self.tokenizer.to_str(),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint of the same recipe. Raises ValueError for another one.

        While the rate has not begun to fall, the number of steps may change: the run is then the
        same as one that was started with it.
        """
        for key in ("name", "seed"):
            if state[key] != getattr(self, key):
                raise ValueError(
                    f"the checkpoint was made with {key} {state[key]}, not {getattr(self, key)}"
                )
        done, planned = state["at"]["step"], state["steps"]
        if any(
            schedule(self.name, step, planned) != schedule(self.name, step, self.steps)
            for step in range(done)
        ):
            raise ValueError(
                f"after {done} of {planned} steps it is too late to make it {self.steps}"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.at = Position(**state["at"])
        self._batches = []

    @torch.no_grad()
    def watch(self, count: int = WATCHED) -> dict[str, float]:
        """Share of held-out replies whose every token is the likeliest, by family and kind."""
        asked = list(islice(problems("test", self.seed), count))
        right: dict[str, list[bool]] = defaultdict(list)
        for indices, batch in rectangles(tokens.encode(self.tokenizer, asked), 64):
            with self._autocast():
                x = self.model(batch.tokens.to(self.device), batch.rows.to(self.device))
            good = (x.argmax(-1).cpu() == batch.targets).tolist()
            row_of = (batch.rows // batch.tokens.shape[1]).tolist()
            for row, index in enumerate(indices):
                problem = asked[index]
                hit = all(ok for ok, at in zip(good, row_of, strict=True) if at == row)
                right[problem.family].append(hit)
                right[f"{problem.family}: {problem.kind}"].append(hit)
        return {key: round(sum(hits) / len(hits), 3) for key, hits in sorted(right.items())}

    def _logits(self, batch: Batch) -> Tensor:
        with self._autocast():
            x = self._hidden(batch.tokens.to(self.device))
            x = x.flatten(0, 1)[batch.rows.to(self.device)]
            return F.linear(x, self.model.embedding.weight).float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def _next(self) -> Batch:
        while self.at.batch >= len(self._batches):
            if self._batches:
                self.at.chunk, self.at.batch = self.at.chunk + 1, 0
            size = {} if self.chunk_size is None else {"size": self.chunk_size}
            stages = STAGES[self.name]
            stage = stages[max(first for first in stages if first <= self.at.chunk)]
            self._batches = chunk(self.tokenizer, self.seed, self.at.chunk, stage=stage, **size)
        self.at.batch += 1
        return self._batches[self.at.batch - 1]


def fall_at(name: str, step: int, steps: int) -> tuple[Fall, int]:
    """The part of a run that a step is in, and the step within it.

    When a run has another number of steps than the recipe, its parts scale with it.
    """
    plan = PLANS[name]
    scale = steps / STEPS[name]
    end = 0
    for fall in plan:
        start, end = end, end + fall.steps
        first, last = round(start * scale), round(end * scale)
        if step < last or fall is plan[-1]:
            break
    scaled = replace(fall, steps=last - first, flat=round(fall.flat * scale))
    return scaled, step - first


def schedule(name: str, step: int, steps: int) -> float:
    """The factor of the learning rates at a step."""
    fall, at = fall_at(name, step, steps)
    rise = min(1.0, (at + 1) / WARM_UP)
    return fall.rate * rise * min(1.0, (fall.steps - at) / max(1, fall.steps - fall.flat))


@dataclass(frozen=True, slots=True)
class Run:
    """The training of one model, as the command line wants it."""

    name: str
    out: Path
    seed: int
    steps: int
    resume: bool
    device: str
    threads: int

    def __call__(self, team: Team) -> None:
        """The part of one process."""
        keep_memory()
        torch.set_num_threads(self.threads)
        trainer = train(self, team)
        if team.rank == 0:
            for path in export(trainer.state(), self.out / "models"):
                print(path)


def train(run: Run, team: Team) -> Trainer:
    """Train one model to its last step, with checkpoints in `<out>/<name>.pt`."""
    name, out, steps = run.name, run.out, run.steps
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        name, tokens.train(run.seed), seed=run.seed, steps=steps, device=run.device,
        team=team,
    )  # fmt: skip
    saved = out / f"{name}.pt"
    if run.resume and saved.exists():
        trainer.restore(torch.load(saved, map_location=run.device, weights_only=True))
    console = Console(stderr=True, quiet=team.rank > 0)
    columns = (
        TextColumn("{task.description}"), BarColumn(),
        TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]:.3f}, "
                   "{task.fields[rate]:,.0f} tokens/s"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(
            f"{name}, {parameters_of(trainer.model) / 1e6:.2f} M", total=steps,
            completed=trainer.at.step, loss=math.nan, rate=0.0,
        )  # fmt: skip
        mean = math.nan
        while trainer.at.step < steps:
            loss = trainer.step()
            mean = loss if math.isnan(mean) else 0.95 * mean + 0.05 * loss
            rate = trainer.at.tokens / max(trainer.at.seconds, 1e-9)
            bar.update(task, completed=trainer.at.step, loss=mean, rate=rate)
            due = trainer.at.step % SAVE_EVERY == 0 or trainer.at.step == steps
            if due and team.rank == 0:
                _save(trainer, saved)
                _log(trainer, out, mean)
    return trainer


def _save(trainer: Trainer, path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(trainer.state(), partial)
    os.replace(partial, path)


def _log(trainer: Trainer, out: Path, loss: float) -> None:
    line = {**vars(trainer.at), "loss": round(loss, 4), "right": trainer.watch()}
    with (out / f"{trainer.name}.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def keep_memory() -> None:
    """Make glibc reuse large blocks.

    Returning each to the system and faulting it in again takes more than half of the training time.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = cast(Any, ctypes.CDLL(None)).mallopt
    except (AttributeError, OSError):
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**28)
