"""The depth model: the large practice model with every block cut in two, trained to exit early.

M. Elhoushi and others, "LayerSkip: Enabling Early Exit Inference and Self-Speculative Decoding",
2024, https://arxiv.org/abs/2404.16710: layers are dropped with a rate that grows with their depth,
and all exits share one norm and head, whose losses take turns (a rotational curriculum). M.
Valipour and others, "SortedNet", 2023, https://arxiv.org/abs/2309.00255: what is learned is a model
nested in a model, for every depth.

Different here: it begins with the weights of the large model, cut. A block becomes two: one with
its attention and the half of its neurons that weighs more, and one with the other half, whose
attention begins with an output of zero. Early exits learn from the scores of the last layer besides
the replies, and weigh as much as they are deep, not as the square of it: drafts come from the
lowest. Matrices are trained by Muon, as those of the pair (`optimizer.py`). The rate follows the
clock, as that of the canvas model does.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from adec import practice
from adec.practice.tasks import problems
from tools.train import tokenizer as tokens
from tools.train.clocked_trainer import ClockedTrainer, train_by_the_clock
from tools.train.llama_model import SHAPES, Block, Llama
from tools.train.model_files import from_hugging_face_names
from tools.train.optimizer import Optimizer
from tools.train.training_data import FIRST, LATE, RECALL, Batch, chunk, rectangles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RATE = 0.35  # of the rates in `optimizer.py`
RISE_MINUTES = 2.0
DROPPED = 0.1
"""The share of rows that the last layer is left out for; the paper's when training goes on."""
EXIT_SCALE = 1.0
"""How much the losses of the early exits weigh; the paper's value when a trained model goes on."""
TURN = 4
"""Every so many layers an exit is scored in a step, and the next step moves on by one."""
TAUGHT = 0.5
"""The share of an early exit's loss that comes from the last layer's scores, the rest being the
reply's."""
STAGES = (FIRST, LATE, RECALL)
"""Of the data, one chunk after the other: early exits have all of it to learn."""
CHUNK = 4096
TOKENS = 2048
SAVE_MINUTES = 8.0
WATCHED = 200  # held-out problems that are scored at every save


@dataclass(frozen=True, slots=True)
class Curriculum:
    """Which layers are dropped and which exits are scored in a step; layers count from one."""

    layers: int
    dropped: float = DROPPED
    scale: float = EXIT_SCALE
    turn: int = TURN

    def drop_rate(self, layer: int) -> float:
        """p(l) = p_max (exp(l ln 2 / (L - 1)) - 1) for l from 0: none for the first layer."""
        return self.dropped * (math.exp((layer - 1) * math.log(2) / (self.layers - 1)) - 1)

    def exit_weights(self, step: int) -> dict[int, float]:
        """The weights of the exits of a step; they sum to one and the last is always there.

        e(l) = scale * l below the last, and L for it.
        """
        last = self.layers
        weights = {
            layer: self.scale * layer
            for layer in range(1, last)
            if (layer - 1 - step) % self.turn == 0
        }
        weights[last] = float(last)
        whole = sum(weights.values())
        return {layer: weight / whole for layer, weight in weights.items()}


class DepthTrainer(ClockedTrainer[Llama]):
    """The depth model in training."""

    name = "depth"
    rise_minutes = RISE_MINUTES
    save_minutes = SAVE_MINUTES

    def __init__(
        self, tokenizer: Tokenizer, *, seed: int, minutes: float, device: str = "cpu",
        chunk_size: int = CHUNK, rate: float = RATE, compiled: bool = False,
    ) -> None:  # fmt: skip
        """`compiled`: blocks are compiled, once for each shape of the rectangles."""
        super().__init__(tokenizer, seed=seed, minutes=minutes, rate=rate, device=device)
        self.chunk_size = chunk_size
        self._run = torch.compile(Block.forward, dynamic=False) if compiled else Block.forward
        self.curriculum = Curriculum(SHAPES[self.name].layers)

    def make_model(self) -> Llama:
        """See `ClockedTrainer.make_model`."""
        return Llama(SHAPES[self.name])

    def make_optimizer(self) -> Optimizer:
        """See `ClockedTrainer.make_optimizer`."""
        return Optimizer(self.model, kind=torch.bfloat16 if self._halves else torch.float32)

    def update(self, factor: float) -> None:
        """See `ClockedTrainer.update`."""
        cast(Optimizer, self.optimizer).step(self.rate * factor)

    def begin_with(self, folder: Path) -> None:
        """Take the weights of a large model, cut in two, or those of a depth model as they are."""
        stored = load_file(folder / "model.safetensors")
        shape = SHAPES["depth"]
        if f"model.layers.{shape.layers - 1}.input_layernorm.weight" in stored:
            self.model.load_state_dict(from_hugging_face_names(stored, shape))
        else:
            whole = from_hugging_face_names(stored, SHAPES["large"])
            self.model.load_state_dict(cut_blocks(whole, SHAPES["large"].layers))

    def loss(self, batch: Batch) -> Tensor:
        """The weighted mean over the exits of this step, each a mean over the reply's tokens."""
        rng = Random(f"drop {self.seed} {self.at.total_minutes} {self.at.step}")
        weights = self.curriculum.exit_weights(self.at.step)
        shares = (batch.weights / batch.weights.sum()).to(self.device)
        rows, targets = batch.rows.to(self.device), batch.targets.to(self.device)
        with self._autocast():
            states = self._exits(batch.tokens.to(self.device), rows, list(weights), rng)
            total = torch.zeros((), device=self.device)
            taught: Tensor | None = None
            for layer, weight in sorted(weights.items(), reverse=True):
                logs = self.model.scores(states[layer]).float().log_softmax(-1)
                each = -logs.gather(1, targets[:, None])[:, 0]
                if taught is None:
                    taught = logs.detach().exp()
                else:
                    each = (1 - TAUGHT) * each - TAUGHT * (taught * logs).sum(-1)
                total = total + weight * (each * shares).sum()
        return total

    @torch.no_grad()
    def watch(self, count: int = WATCHED) -> dict[str, Any]:
        """Share of held-out replies whose every token is the likeliest: by exit, and by family.

        "tokens" is the share of single tokens, by exit.
        """
        asked = list(islice(problems("test", self.seed), count))
        layers = list(range(1, self.curriculum.layers + 1))
        whole: dict[int, int] = defaultdict(int)
        single: dict[int, int] = defaultdict(int)
        families: dict[str, list[bool]] = defaultdict(list)
        seen = 0
        for indices, batch in rectangles(tokens.encode(self.tokenizer, asked), 24):
            rows = batch.rows.to(self.device)
            with self._autocast():
                states = self._exits(batch.tokens.to(self.device), rows, layers, None)
            row_of = batch.rows // batch.tokens.shape[1]
            seen += len(row_of)
            for layer in layers:
                good = self.model.scores(states[layer]).argmax(-1).cpu() == batch.targets
                single[layer] += int(good.sum())
                hits = [bool(good[row_of == row].all()) for row in range(len(indices))]
                whole[layer] += sum(hits)
                if layer == layers[-1]:
                    for index, hit in zip(indices, hits, strict=True):
                        families[asked[index].family].append(hit)
        return {
            "right": [round(whole[layer] / count, 3) for layer in layers],
            "tokens": [round(single[layer] / seen, 3) for layer in layers],
            **{key: round(sum(hits) / len(hits), 3) for key, hits in sorted(families.items())},
        }

    def _exits(
        self, ids: Tensor, rows: Tensor, layers: Sequence[int], rng: Random | None
    ) -> dict[int, Tensor]:
        """The states above each of `layers` at the flat positions `rows`.

        `rng` drops layers, for each sequence of the batch by itself.
        """
        x, cos, sin = self.model.begin(ids)
        states = {}
        # what is watched has shapes of its own
        run = Block.forward if rng is None else self._run
        for layer, block in enumerate(cast(list[Block], self.model.blocks), 1):
            above = run(block, x, cos, sin)
            if rng is not None:
                rate = self.curriculum.drop_rate(layer)
                # dropped rows are computed, too: a compiled block has few shapes
                kept = torch.tensor([rng.random() >= rate for _ in ids], device=x.device)
                above = torch.where(kept[:, None, None], above, x)
            x = above
            if layer in layers:
                states[layer] = x.flatten(0, 1)[rows]
        return states

    def _chunk_of(self, number: int) -> list[Batch]:
        return chunk(
            self.tokenizer, self.seed, number, size=self.chunk_size,
            stage=STAGES[number % len(STAGES)], tokens=TOKENS,
        )  # fmt: skip


def cut_blocks(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The weights of a model with twice as many blocks as `layers`, of half the neurons each.

    The first of two has the neurons of the largest product of norms, of the weights into a neuron
    and out of it, so that little of what a block adds comes late.
    """
    cut = {key: state[key] for key in ("embedding.weight", "norm")}
    for layer in range(layers):
        old = f"blocks.{layer}."
        gate, up = state[old + "gate_up.weight"].chunk(2)
        down = state[old + "down.weight"]
        order = (up.norm(dim=1) * down.norm(dim=0)).argsort(descending=True)
        for half, neurons in enumerate(order.chunk(2)):
            new = f"blocks.{2 * layer + half}."
            for key in ("attention_norm", "hidden_norm", "qkv.weight"):
                cut[new + key] = state[old + key].clone()
            cut[new + "out.weight"] = state[old + "out.weight"] * (1 - half)
            cut[new + "gate_up.weight"] = torch.cat((gate[neurons], up[neurons]))
            cut[new + "down.weight"] = down[:, neurons].contiguous()
    return cut


def train_depth(
    out: Path, *, seed: int, minutes: float, resume: bool, threads: int, device: str,
    rate: float = RATE,
) -> tuple[Path, Path]:  # fmt: skip
    """Train until `minutes` have passed, with checkpoints in `<out>/depth.pt`; exports the model.

    Without a checkpoint to resume from it begins with the built-in depth model if there is one, and
    with the large model else. Returns the folder and the GGUF file.
    """
    trainer = DepthTrainer(
        depth_tokenizer(), seed=seed, minutes=minutes, device=device, rate=rate, compiled=True
    )
    landed = practice.depth_folder()
    begin = landed if landed.is_dir() else practice.large_folder()
    return train_by_the_clock(trainer, out, begin, resume=resume, threads=threads)


def depth_tokenizer() -> Tokenizer:
    """The tokenizer of the large model, which the depth model keeps."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(practice.large_folder() / "tokenizer.json"))
