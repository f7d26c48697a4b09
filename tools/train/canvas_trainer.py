"""The canvas model: the large practice model, made bidirectional and trained on by unmasking.

S. Nie and others, "Large Language Diffusion Models" (LLaDA), 2025, https://arxiv.org/abs/2502.09992:
of a reply a share t, drawn evenly, is masked, and the loss of the masked tokens is weighted by 1/t.
J. Ye and others, "Dream 7B", 2025, https://arxiv.org/abs/2508.15487, begin with the weights of an
autoregressive model, and keep its shift: the row of position i - 1 scores position i, as before.

Different here: most canvases are masked as decoding by blocks meets them (`canvas_masks.py`). The
rate follows the clock and not the steps, so that a run ends when it was planned to end, however
busy the machine is. Hence two runs are alike in kind, not to the bit.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from adec import practice
from adec.practice.tasks import problems
from tools.train.canvas_data import MaskedBatch, fill_up, mask_rows, masked_chunk
from tools.train.llama_model import SHAPES, Llama
from tools.train.model_files import export, from_hugging_face_names
from tools.train.tokenizer import MASK, VOCABULARY, encode
from tools.train.trainer import keep_memory

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RATE = 6e-4
SHIFT = 1  # how far before a position the row lies that scores it
RISE_MINUTES = 1.5
SAVE_MINUTES = 6.0
WATCHED = 80  # held-out problems that are scored at every save


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


class CanvasTrainer:
    """The model in training; `state` and `restore` carry it from one run to the next."""

    def __init__(
        self, tokenizer: Tokenizer, *, seed: int, minutes: float, device: str = "cpu",
        chunk_size: int | None = None,
    ) -> None:  # fmt: skip
        self.tokenizer, self.seed, self.minutes, self.device = tokenizer, seed, minutes, device
        torch.manual_seed(seed)
        self.model = Llama(SHAPES["canvas"]).to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.at = Progress()
        self._chunk = {} if chunk_size is None else {"size": chunk_size}
        self._batches: list[MaskedBatch] = []
        self._halves = device != "cpu" or bfloat16_is_faster()

    def begin_with(self, folder: Path) -> None:
        """Take the weights of a model of this shape.

        One that knows no mask, a causal one, gets the mean of all embeddings for it.
        """
        state = from_hugging_face_names(load_file(folder / "model.safetensors"), SHAPES["canvas"])
        embedding = state["embedding.weight"]
        if len(embedding) == VOCABULARY:
            state["embedding.weight"] = torch.cat((embedding, embedding.mean(0, keepdim=True)))
        self.model.load_state_dict(state)

    def step(self) -> float:
        """One update; returns the loss, in nats a token."""
        began = time.monotonic()
        batch = self._next()
        loss = self.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * factor(self.at.minutes, self.minutes, RISE_MINUTES)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.at.step += 1
        self.at.tokens += batch.tokens.numel()
        self.add_minutes((time.monotonic() - began) / 60)
        return float(loss.detach())

    def loss(self, batch: MaskedBatch) -> Tensor:
        """The mean over rows of the loss of a row: 1/t times its masked tokens' share."""
        logits = self._logits(batch)
        each = F.cross_entropy(logits, batch.targets.to(self.device), reduction="none")
        return (each * batch.weights.to(self.device)).sum() / batch.tokens.shape[0]

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
            "name": "canvas", "seed": self.seed, "at": vars(self.at).copy(),
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

    @torch.no_grad()
    def watch(self, count: int = WATCHED) -> dict[str, float]:
        """On held-out problems: share of masked tokens whose likeliest is right, by family.

        "loss" is over all of them. Half of each canvas is masked, always the same half.
        """
        right: dict[str, list[float]] = defaultdict(list)
        rng = Random(0)
        for problem in islice(problems("test", self.seed), count):
            row = fill_up(*encode(self.tokenizer, [problem])[0])
            if row is None:
                continue
            batch = mask_rows(rng, [row], self.tokenizer, share=0.5)
            logits = self._logits(batch)
            hits = (logits.argmax(-1).cpu() == batch.targets).float().mean()
            right[problem.family].append(float(hits))
            right["loss"].append(float(F.cross_entropy(logits, batch.targets.to(self.device))))
        return {key: round(sum(hits) / len(hits), 4) for key, hits in sorted(right.items())}

    def _logits(self, batch: MaskedBatch) -> Tensor:
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self._halves):
            rows = batch.rows.to(self.device) - SHIFT
            return cast(Tensor, self.model(batch.tokens.to(self.device), rows)).float()

    def _next(self) -> MaskedBatch:
        while self.at.batch >= len(self._batches):
            if self._batches:
                self.at.chunk, self.at.batch = self.at.chunk + 1, 0
            self._batches = masked_chunk(self.tokenizer, self.seed, self.at.chunk, **self._chunk)
        self.at.batch += 1
        return self._batches[self.at.batch - 1]


def factor(minutes: float, whole: float, rise: float = RISE_MINUTES) -> float:
    """The factor of the learning rate: it rises briefly, then falls to zero as a cosine does."""
    share = min(1.0, minutes / whole)
    return min(1.0, (minutes + 0.01) / rise) * 0.5 * (1 + math.cos(math.pi * share))


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


def canvas_tokenizer() -> Tokenizer:
    """The tokenizer of the pair with the mask token as its last."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(practice.large_folder() / "tokenizer.json"))
    tokenizer.add_special_tokens([MASK])
    return tokenizer


def train_canvas(
    out: Path, *, seed: int, minutes: float, resume: bool, threads: int, device: str,
    begin: Path | None = None,
) -> tuple[Path, Path]:  # fmt: skip
    """Train until `minutes` have passed, with checkpoints in `<out>/canvas.pt`; exports the model.

    `begin`: the folder whose weights it begins with; None: the large model's. Returns the folder
    and the GGUF file.
    """
    keep_memory()
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    trainer = CanvasTrainer(canvas_tokenizer(), seed=seed, minutes=minutes, device=device)
    saved = out / "canvas.pt"
    if resume and saved.exists():
        trainer.restore(torch.load(saved, map_location=device, weights_only=True))
    else:
        trainer.begin_with(begin or practice.large_folder())
    mean, last = math.nan, trainer.at.minutes
    while not trainer.done:
        loss = trainer.step()
        mean = loss if math.isnan(mean) else 0.98 * mean + 0.02 * loss
        if trainer.at.minutes - last >= SAVE_MINUTES or trainer.done:
            last, now = trainer.at.minutes, time.monotonic()
            save_checkpoint(trainer.state(), saved)
            line = {**vars(trainer.at), "mean_loss": round(mean, 4), "watch": trainer.watch()}
            text = json.dumps(line)
            print(text, flush=True)
            with (out / "canvas.jsonl").open("a", encoding="utf-8") as log:
                log.write(text + "\n")
            trainer.add_minutes((time.monotonic() - now) / 60)
    return export(trainer.state(), out / "models")


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whole, or leave the one that is there."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)
