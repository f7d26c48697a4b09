"""The canvas model: the large practice model, made bidirectional and trained on by unmasking.

S. Nie and others, "Large Language Diffusion Models" (LLaDA), 2025, https://arxiv.org/abs/2502.09992:
of a reply a share t, drawn evenly, is masked, and the loss of the masked tokens is weighted by 1/t.
J. Ye and others, "Dream 7B", 2025, https://arxiv.org/abs/2508.15487, begin with the weights of an
autoregressive model, and keep its shift: the row of position i - 1 scores position i, as before.

Different here: most canvases are masked as decoding by blocks meets them (`canvas_masks.py`), and
the rate follows the clock (`clocked_trainer.py`).
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from adec import practice
from adec.practice.tasks import problems
from tools.train.canvas_data import MaskedBatch, fill_up, mask_rows, masked_chunk
from tools.train.clocked_trainer import ClockedTrainer, train_by_the_clock
from tools.train.llama_model import SHAPES, Llama
from tools.train.model_files import from_hugging_face_names
from tools.train.tokenizer import MASK, VOCABULARY, encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RATE = 6e-4
SHIFT = 1  # how far before a position the row lies that scores it
RISE_MINUTES = 1.5
SAVE_MINUTES = 6.0
WATCHED = 80  # held-out problems that are scored at every save


class CanvasTrainer(ClockedTrainer[Llama]):
    """The canvas model in training."""

    name = "canvas"
    rise_minutes = RISE_MINUTES
    save_minutes = SAVE_MINUTES

    def __init__(
        self, tokenizer: Tokenizer, *, seed: int, minutes: float, device: str = "cpu",
        chunk_size: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(tokenizer, seed=seed, minutes=minutes, rate=RATE, device=device)
        self._chunk = {} if chunk_size is None else {"size": chunk_size}

    def make_model(self) -> Llama:
        """See `ClockedTrainer.make_model`."""
        return Llama(SHAPES[self.name])

    def begin_with(self, folder: Path) -> None:
        """Take the weights of a model of this shape.

        One that knows no mask, a causal one, gets the mean of all embeddings for it.
        """
        state = from_hugging_face_names(load_file(folder / "model.safetensors"), SHAPES["canvas"])
        embedding = state["embedding.weight"]
        if len(embedding) == VOCABULARY:
            state["embedding.weight"] = torch.cat((embedding, embedding.mean(0, keepdim=True)))
        self.model.load_state_dict(state)

    def loss(self, batch: MaskedBatch) -> Tensor:
        """The mean over rows of the loss of a row: 1/t times its masked tokens' share."""
        logits = self._logits(batch)
        each = F.cross_entropy(logits, batch.targets.to(self.device), reduction="none")
        return (each * batch.weights.to(self.device)).sum() / batch.tokens.shape[0]

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
        with self._autocast():
            rows = batch.rows.to(self.device) - SHIFT
            return cast(Tensor, self.model(batch.tokens.to(self.device), rows)).float()

    def _chunk_of(self, number: int) -> list[MaskedBatch]:
        return masked_chunk(self.tokenizer, self.seed, number, **self._chunk)


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
    trainer = CanvasTrainer(canvas_tokenizer(), seed=seed, minutes=minutes, device=device)
    begin = begin or practice.large_folder()
    return train_by_the_clock(trainer, out, begin, resume=resume, threads=threads)
