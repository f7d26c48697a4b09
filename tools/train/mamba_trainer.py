"""The Mamba practice model: a Mamba 2 that learns from the large practice model, then from replies.

A. Bick and others, "Transformers to SSMs: Distilling Quadratic Knowledge to Subquadratic Models",
2024, https://arxiv.org/abs/2408.10189: first each layer learns what a layer of the teacher does to
the teacher's own states (their stage 2), then all of them learn together (stage 3). Here two layers
stand for one of the teacher: an SSM for its attention, whose values it begins with, and, behind it,
one for its feed-forward layer, whose gate it has, too.

G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", 2015,
https://arxiv.org/abs/1503.02531: in the second part the loss of a token is half that of the reply's
and half that of the large model's scores.

Matrices are trained by Muon as those of the pair (`optimizer.py`); the rate follows the clock, as
that of the canvas model does.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from adec import practice
from adec.practice.tasks import problems
from tools.train import tokenizer as tokens
from tools.train.clocked_trainer import ClockedTrainer, train_by_the_clock
from tools.train.llama_model import SHAPES, Block, Llama
from tools.train.mamba_files import export_mamba, mamba_weights
from tools.train.mamba_model import MAMBA, Mamba, MambaBlock, MambaShape, RunBlock
from tools.train.model_files import from_hugging_face_names
from tools.train.optimizer import Optimizer
from tools.train.training_data import FIRST, LAST, LATE, RECALL, Batch, Stage, chunk, rectangles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RATE = 1.0  # of the rates in `optimizer.py`
RISE_MINUTES = 2.0
SAVE_MINUTES = 8.0
TAUGHT = 0.5
"""The share of a token's loss that comes from the large model's scores."""
ALIGNED = 0.35
"""Share of the minutes in which layers learn one by one."""
Stages = tuple[tuple[float, Stage], ...]
STAGES: Stages = ((0.0, FIRST), (0.6, LATE), (0.85, LAST))
"""Of the data, by the share of the minutes that have passed: arithmetic first, then what lags."""
AGAIN: Stages = ((0.0, RECALL),)
"""Of the data, once a whole run has passed."""
RATE_AGAIN = 0.2
"""The highest rate then. At the first run's, what it learned in its last half hour was lost."""
CHUNK = 8192
TOKENS = 2048
WATCHED = 200  # held-out problems that are scored at every save


class MambaTrainer(ClockedTrainer[Mamba]):
    """The Mamba model in training."""

    name = "mamba"
    rise_minutes = RISE_MINUTES
    save_minutes = SAVE_MINUTES
    shape: MambaShape = MAMBA

    def __init__(
        self, tokenizer: Tokenizer, *, seed: int, minutes: float, device: str = "cpu",
        chunk_size: int = CHUNK, compiled: bool = False,
    ) -> None:  # fmt: skip
        """`compiled`: blocks are compiled, once for each shape of the rectangles."""
        super().__init__(tokenizer, seed=seed, minutes=minutes, rate=RATE, device=device)
        self.chunk_size = chunk_size
        self._aligned = False  # whether layers have learned one by one
        self._stages: Stages = STAGES
        self._run: RunBlock = (
            torch.compile(MambaBlock.forward, dynamic=False) if compiled else MambaBlock.forward
        )
        self.teacher = Llama(SHAPES["large"]).to(device).eval().requires_grad_(False)
        self.teacher.load_state_dict(_large())

    def make_model(self) -> Mamba:
        """See `ClockedTrainer.make_model`."""
        return Mamba(self.shape)

    def make_optimizer(self) -> Optimizer:
        """See `ClockedTrainer.make_optimizer`."""
        kind = torch.bfloat16 if self._halves else torch.float32
        return Optimizer(self.model, parts=self._matrices, kind=kind)

    def update(self, factor: float) -> None:
        """See `ClockedTrainer.update`."""
        cast(Optimizer, self.optimizer).step(self.rate * factor)

    def export(self, out: Path) -> tuple[Path, Path]:
        """See `ClockedTrainer.export`."""
        return export_mamba(self.state(), out, self.shape)

    def state(self) -> dict[str, Any]:
        """See `ClockedTrainer.state`."""
        again = self._stages is AGAIN
        return {**super().state(), "aligned": self._aligned, "again": again}

    def restore(self, state: dict[str, Any]) -> None:
        """See `ClockedTrainer.restore`."""
        super().restore(state)
        self._aligned = state["aligned"]
        if state["again"] or not self.at.minutes:  # the run before it was finished
            self._go_on()

    def begin_with(self, folder: Path) -> None:
        """Take the weights of a Mamba model, or begin as the large model."""
        if "mamba2" in (folder / "config.json").read_text(encoding="utf-8"):
            self.model.load_state_dict(mamba_weights(folder, self.shape))
            self._aligned = True
            self._go_on()
            return
        begin_as(self.model, self.teacher)

    def loss(self, batch: Batch) -> Tensor:
        """The mean over layers while they learn one by one, then over the reply's tokens."""
        self._aligned = self._aligned or self.at.minutes >= ALIGNED * self.minutes
        if not self._aligned:
            return self._alignment(batch)
        ids, rows = batch.tokens.to(self.device), batch.rows.to(self.device)
        shares = (batch.weights / batch.weights.sum()).to(self.device)
        targets = batch.targets.to(self.device)
        with self._autocast():
            logs = self.model(ids, rows, self._run).float().log_softmax(-1)
            with torch.no_grad():
                taught = self.teacher(ids, rows).float().softmax(-1)
        each = -(1 - TAUGHT) * logs.gather(1, targets[:, None])[:, 0]
        each = each - TAUGHT * (taught * logs).sum(-1)
        total: Tensor = (each * shares).sum()
        return total

    def _go_on(self) -> None:
        """Behind a whole run: a lower rate, and what lags."""
        self._stages, self.rate = AGAIN, RATE_AGAIN

    def _alignment(self, batch: Batch) -> Tensor:
        """By how much each pair of layers misses what a layer of the teacher adds, squared.

        As a share of the square of what is added; pads are left out.
        """
        ids = batch.tokens.to(self.device)
        real = (ids != tokens.PAD_ID)[..., None]
        total = torch.zeros((), device=self.device)
        with self._autocast():
            with torch.no_grad():
                states, cos, sin = self.teacher.begin(ids)
            for layer, theirs in enumerate(self.teacher.blocks):
                with torch.no_grad():
                    wanted = theirs(states, cos, sin)
                # a gradient that nobody wants, so that both layers of a pair run the same code
                found = states.clone().requires_grad_()
                for block in self.model.blocks[2 * layer : 2 * layer + 2]:
                    found = self._run(cast(MambaBlock, block), found)
                missed, added = ((other - wanted) * real for other in (found, states))
                total = total + missed.float().square().sum() / added.float().square().sum()
                states = wanted
        return total / len(self.teacher.blocks)

    @torch.no_grad()
    def watch(self, count: int = WATCHED) -> dict[str, Any]:
        """Share of held-out replies whose every token is the likeliest, by family.

        "tokens" is the share of single tokens.
        """
        asked = list(islice(problems("test", self.seed), count))
        families: dict[str, list[bool]] = defaultdict(list)
        right = seen = 0
        for indices, batch in rectangles(tokens.encode(self.tokenizer, asked), 16):
            with self._autocast():
                logits = self.model(batch.tokens.to(self.device), batch.rows.to(self.device))
            good = logits.argmax(-1).cpu() == batch.targets
            right, seen = right + int(good.sum()), seen + len(good)
            row_of = batch.rows // batch.tokens.shape[1]
            for row, index in enumerate(indices):
                families[asked[index].family].append(bool(good[row_of == row].all()))
        shares = {key: round(sum(hits) / len(hits), 3) for key, hits in sorted(families.items())}
        return {"tokens": round(right / seen, 4), **shares}

    def _chunk_of(self, number: int) -> list[Batch]:
        passed = min(1.0, self.at.minutes / self.minutes)
        stage = next(stage for start, stage in reversed(self._stages) if passed >= start)
        return chunk(
            self.tokenizer, self.seed, number, size=self.chunk_size, stage=stage, tokens=TOKENS
        )

    def _matrices(self, name: str, weight: Tensor) -> tuple[Tensor, ...]:
        if name.endswith("in_proj.weight"):
            return tuple(torch.split(weight, list(self.shape.projected)))
        return (weight,)


@torch.no_grad()
def begin_as(model: Mamba, teacher: Llama) -> None:
    """Take from a Llama of the same width, of half as many layers, what a Mamba has a place for.

    That is the embedding and all norms; of attention, values and the output, each head in the first
    half of a Mamba head; of a feed-forward layer, everything. The state adds little at first.
    """
    model.embedding.weight.copy_(teacher.embedding.weight)
    model.norm.copy_(teacher.norm)
    shape = model.shape
    for layer, theirs in enumerate(cast(list[Block], teacher.blocks)):
        attention, feed_forward = cast(list[MambaBlock], model.blocks)[2 * layer : 2 * layer + 2]
        attention.norm.copy_(theirs.attention_norm)
        feed_forward.norm.copy_(theirs.hidden_norm)
        width, head = shape.width, theirs.shape.head
        fed = attention.in_proj.weight[shape.inner : 2 * shape.inner]
        values = theirs.qkv.weight[2 * width :].view(-1, head, width)
        fed.view(shape.heads, shape.head, width)[:, :head].copy_(values)
        attention.out_proj.weight.view(width, shape.heads, shape.head)[..., :head].copy_(
            theirs.out.weight.view(width, -1, head)
        )
        feed_forward.in_proj.weight[: 2 * shape.inner].copy_(theirs.gate_up.weight)
        feed_forward.in_proj.weight[2 * shape.inner : -shape.heads].mul_(0.1)
        feed_forward.out_proj.weight.copy_(theirs.down.weight)
        feed_forward.conv.zero_()
        feed_forward.conv[..., -1] = 1.0


def _large() -> dict[str, Tensor]:
    stored = load_file(practice.large_folder() / "model.safetensors")
    return from_hugging_face_names(stored, SHAPES["large"])


def train_mamba(
    out: Path, *, seed: int, minutes: float, resume: bool, threads: int, device: str
) -> tuple[Path, Path]:
    """Train until `minutes` have passed, with checkpoints in `<out>/mamba.pt`; exports the model.

    Without a checkpoint to resume from it begins with the built-in Mamba model if there is one, and
    with the large model's embedding else. Returns the folder and the GGUF file.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(practice.large_folder() / "tokenizer.json"))
    trainer = MambaTrainer(tokenizer, seed=seed, minutes=minutes, device=device, compiled=True)
    landed = practice.mamba_folder()
    begin = landed if landed.is_dir() else practice.large_folder()
    return train_by_the_clock(trainer, out, begin, resume=resume, threads=threads)
