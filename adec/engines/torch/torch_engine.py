"""A Hugging Face model folder on torch, through transformers' own modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from adec.engines.base import Capability, ModelHeader, OpenOptions
from adec.engines.checks import check_feed, check_growth, check_rewind
from adec.engines.torch.folder_tokenizer import FolderTokenizer
from adec.engines.torch.tensor_scores import TensorScores
from adec.engines.torch.torch_weights import Weights, engine_error
from adec.errors import EngineError
from adec.signals import ArrayScores, Scores
from adec.tree import TokenTree

if TYPE_CHECKING:
    from transformers import Cache

CONTEXT = 8192
"""Tokens of context where the caller names none."""
CHUNK = 1024
"""Tokens of one forward at most: longer inputs would need scratch memory in proportion."""


class TorchEngine:
    """One model folder and one sequence; see `Engine`.

    `layers`, `norm` and `head` are the model's own modules, for families that run parts of it; `cache` is
    what they write to.
    """

    def __init__(self, header: ModelHeader, options: OpenOptions, weights: Weights) -> None:
        self.info = header.info
        self.vocabulary = header.vocabulary
        self.tokenizer = FolderTokenizer(header.info.path, header.vocabulary)
        self.context = min(options.context or CONTEXT, header.info.context_limit)
        self.branches = options.branches
        self._weights = weights
        self._module: Any = weights.module
        self._device = weights.module.device
        self._options = options
        self._length = 0
        self._tree: TokenTree | None = None
        self._closed = False
        self._lost = False
        # tensors made under inference mode may only be written to under it
        with torch.inference_mode():
            self._positions = torch.arange(self.context, device=self._device).unsqueeze(0)
        self.cache, whole = self._new_cache()
        self.capabilities: frozenset[Capability] = header.capabilities
        if not whole:
            self.capabilities = header.capabilities - {"rewind", "tree"}

    @classmethod
    def open(cls, header: ModelHeader, options: OpenOptions) -> TorchEngine:
        """Load the weights, or share those that another engine holds on the same device in the same type.

        Raises EngineError when the device is not there, memory does not suffice or transformers refuses.
        """
        if options.context is not None and options.context < 1:
            raise EngineError(f"a context of {options.context} tokens holds nothing")
        device = _device(options.device)
        dtype = _dtype(options.dtype, device)
        weights = Weights.load(header.info.path, device, dtype)
        try:
            if "past_key_values" not in signature(type(weights.module).forward).parameters:
                raise EngineError(f"{header.info.name} keeps its state where adec cannot reach it")
            rows = cast(Any, weights.module).get_output_embeddings().weight.shape[0]
            if rows != header.info.vocabulary:
                raise EngineError(
                    f"{header.info.path} scores {rows} tokens, its config says {header.info.vocabulary}"
                )
            return cls(header, options, weights)
        except BaseException:
            weights.release()
            raise

    @property
    def length(self) -> int:
        return self._length

    @property
    def module(self) -> Any:
        """transformers' own module, shared with other engines on the same weights: read it, change nothing."""
        self._open()
        return self._module

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers, bottom up. Raises EngineError without the capability "layers"."""
        self._need("layers")
        layers: nn.ModuleList = self._module.model.layers
        return layers

    @property
    def norm(self) -> nn.Module:
        """What stands between the last layer and the head. Raises EngineError without "layers"."""
        self._need("layers")
        norm: nn.Module = self._module.model.norm
        return norm

    @property
    def head(self) -> nn.Module:
        """Hidden states (…, width) to logits (…, vocabulary)."""
        self._open()
        head: nn.Module = self._module.get_output_embeddings()
        return head

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        self._ready()
        check_feed(self, tokens, rows)
        parts: list[Tensor] = []
        with self._restoring(len(tokens)):
            step = self._step(len(tokens))
            for start in range(0, len(tokens), step):
                part = tokens[start : start + step]
                first = self._length + start
                wanted = min(len(part), max(0, start + len(part) - (len(tokens) - rows)))
                logits = self._run(
                    part, self._positions[:, first : first + len(part)], wanted, None
                )
                if wanted:
                    parts.append(logits)
        self._length += len(tokens)
        return self._scores(parts)

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        self._usable()
        if "tree" not in self.capabilities and not (
            "rewind" in self.capabilities and tree.is_chain
        ):
            raise EngineError(f"{self.info.name} runs no token trees")
        known = check_growth(self._tree, tree, first_row)
        check_feed(self, tree.tokens, len(tree) - first_row)
        wanted = len(tree) - first_row
        depths = torch.tensor([tree.depths()[known:]], device=self._device) + self._length
        self._tree = None  # a failure cuts the cache to the trunk
        with self._restoring(len(tree) - known):
            mask = None if tree.is_chain else self._tree_mask(tree, known)
            logits = self._run(tree.tokens[known:], depths, wanted, mask)
        self._tree = replace(tree, tokens=list(tree.tokens), parents=list(tree.parents))
        return self._scores([logits] if wanted else [])

    def keep(self, path: Sequence[int]) -> None:
        self._open()
        if self._tree is None:
            raise EngineError("keep without a pending tree")
        try:
            self._tree.check_path(path)
        except ValueError as error:
            raise EngineError(str(error)) from error
        from adec.engines.torch.torch_cache import gather

        self._tree = None
        with self._restoring(len(path)):
            gather(self.cache, self._length, path)
        self._length += len(path)

    def rewind(self, length: int) -> None:
        self._open()
        check_rewind(self, length)
        if length == 0:
            # a fresh start is possible for every model
            if "rewind" in self.capabilities:
                self._cut(0)
            else:
                self.cache, _ = self._new_cache()
            self._lost = False
        elif self._lost or "rewind" not in self.capabilities:
            if length < self._length or self._lost:
                raise EngineError(f"{self.info.name} cannot be rewound")
        else:
            self._cut(length)
        self._length = length
        self._tree = None

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._weights.release()
            del self._module, self.cache, self._positions
            self._weights.module = None  # type: ignore[assignment]

    def _new_cache(self) -> tuple[Cache, bool]:
        from adec.engines.torch.torch_cache import new_cache

        return new_cache(self._module.config, self.context)

    def _cut(self, length: int) -> None:
        from adec.engines.torch.torch_cache import cut

        cut(self.cache, length)

    def _step(self, count: int) -> int:
        """How many of `count` tokens go into one forward."""
        if "rewind" in self.capabilities:
            return CHUNK
        # with recurrent layers, some of transformers' models start from nothing at every forward of several
        return 1 if self._length else count

    def _run(
        self, tokens: Sequence[int], positions: Tensor, rows: int, mask: Tensor | None
    ) -> Tensor:
        """One forward; logits of the last `rows` tokens, shape (rows, vocabulary)."""
        ids = torch.tensor([tokens], device=self._device)
        inputs = {
            "input_ids": ids,
            "position_ids": positions,
            "past_key_values": self.cache,
            "attention_mask": mask,
            "use_cache": True,
        }
        if rows == 0:
            self._module.base_model(**inputs)
            return ids.new_empty((0, 0))
        logits: Tensor = self._module(**inputs, logits_to_keep=rows).logits
        return logits[0]

    def _tree_mask(self, tree: TokenTree, known: int) -> Tensor:
        """(1, 1, new nodes, trunk + nodes): a node sees the trunk, its ancestors and itself."""
        mask = torch.ones((len(tree) - known, self._length + len(tree)), dtype=torch.bool)
        mask[:, self._length :] = torch.from_numpy(tree.ancestor_mask()[known:])
        mask = mask.to(self._device)[None, None]
        if self._module.config._attn_implementation == "sdpa":
            return mask
        # eager attention adds its mask to the scores
        dtype = self._module.dtype
        return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)

    def _scores(self, parts: list[Tensor]) -> Scores:
        if not parts:
            return ArrayScores(np.empty((0, self.info.vocabulary), dtype=np.float32))
        logits = parts[0] if len(parts) == 1 else torch.cat(parts)
        if logits.device.type == "cpu":
            # the same memory, and numpy is two to ten times as fast on a few rows
            return ArrayScores(logits.float().numpy())
        return TensorScores(logits)

    @contextmanager
    def _restoring(self, count: int) -> Iterator[None]:
        """Inference mode and this engine's threads; on any failure the cache is as it was."""
        self._set_threads(count)
        try:
            with torch.inference_mode():
                yield
        except BaseException as error:
            if "rewind" in self.capabilities:
                self._cut(self._length)
            else:
                self._lost = True
            if isinstance(error, EngineError) or not isinstance(error, Exception):
                raise
            raise engine_error(f"{self.info.name} failed", error) from error

    def _set_threads(self, count: int) -> None:
        threads = self._options.threads
        if count > 1:
            threads = self._options.batch_threads or threads
        # the count is the process's, so another engine may have changed it
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def _need(self, capability: Capability) -> None:
        self._open()
        if capability not in self.capabilities:
            raise EngineError(f"{self.info.name} has no {capability}")

    def _open(self) -> None:
        if self._closed:
            raise EngineError(f"{self.info.name} is closed")

    def _ready(self) -> None:
        self._usable()
        if self._tree is not None:
            raise EngineError("a tree is pending: keep a path or rewind first")

    def _usable(self) -> None:
        self._open()
        if self._lost:
            raise EngineError(
                f"{self.info.name} lost its sequence in a failed forward", hint="rewind it to 0"
            )


def _device(name: str | None) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        # a tensor is the only proof that the device is there
        torch.empty(1, device=device)
    except Exception as error:
        raise engine_error(f"there is no device {name[:40]!r} here", error) from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise EngineError(f"adec does not run on {device.type}", hint="cpu, cuda and mps are there")
    return device


def _dtype(name: str | None, device: torch.device) -> torch.dtype | None:
    """The weights' type; None for the checkpoint's own."""
    if name is None:
        return torch.float32 if device.type == "cpu" else None
    if name not in ("float32", "bfloat16", "float16"):
        raise EngineError(f"weights cannot be of type {name[:40]}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype
