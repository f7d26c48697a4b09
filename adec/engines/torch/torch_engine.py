"""Hugging Face folders on torch, through transformers' own modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from inspect import signature
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.sequence import SequenceEngine
from adec.engines.thread_count import ThreadCount
from adec.engines.torch.few_rows import turn, turned, turned_is_faster
from adec.engines.torch.folder_files import TensorEntry, read_tensors
from adec.engines.torch.folder_vocabulary import FolderTokenizer
from adec.engines.torch.format_choice import FORMATS, MEASURED_FROM, FormatTimes, format_times
from adec.engines.torch.format_probe import FormatProbe, layer_shapes
from adec.engines.torch.tensor_scores import TensorScores
from adec.engines.torch.torch_weights import Loader, Weights, engine_error
from adec.engines.vocabularies.vocabulary import Tokenizer
from adec.errors import EngineError
from adec.machine import others_running
from adec.signals import ArrayScores, Scores
from adec.tree import TokenTree

if TYPE_CHECKING:
    from transformers import Cache

CONTEXT = 8192
"""Tokens of context unless the caller wants another number."""
CHUNK = 1024
"""Most tokens of one forward, since scratch memory grows with them."""
DEFAULT_THREADS = torch.get_num_threads()
"""The processor's, or what OMP_NUM_THREADS asks for."""


class TorchEngine(SequenceEngine):
    """One model folder and one sequence; see `adec.engines.base.Engine` for the contract."""

    cache_argument = "past_key_values"
    """What the module calls its cache."""

    def __init__(self, header: ModelHeader, options: OpenOptions, weights: Weights) -> None:
        super().__init__(
            header,
            self._open_tokenizer(header),
            context=context_of(header, options),
            branches=options.branches,
        )
        self._weights = weights
        self._module: Any = weights.module
        self._device = weights.module.device
        self._options = options
        self._threads: ThreadCount | None = None
        self.dtype = str(self._module.dtype).removeprefix("torch.")
        # other formats have other code for few rows
        on_processor = self._device.type == "cpu" and self.dtype == "float32"
        self._turned = on_processor and turned_is_faster()
        if self._turned:
            turn(self._module)
        self.threads = options.threads
        # tensors made under inference mode may only be written to under it
        with torch.inference_mode():
            self._positions = torch.arange(self.context, device=self._device).unsqueeze(0)
        self._cache, whole = self._new_cache()
        if not whole:
            self.capabilities = header.capabilities - {"rewind", "tree"}

    @classmethod
    def open(cls, header: ModelHeader, options: OpenOptions) -> TorchEngine:
        """Load the weights, or share those loaded on the same device in the same type.

        Raises EngineError when the device is missing, memory runs out or transformers refuses.
        """
        if options.context is not None and options.context < 0:
            raise EngineError(f"a context of {options.context} tokens holds nothing")
        device = device_of(options.device)
        times = cls._measured(header, options) if device.type == "cpu" else None
        name = options.dtype if times is None else options.dtype or times.format
        dtype = dtype_of(name, device)
        weights = Weights.load(header.info.path, device, dtype, cls._loader())
        try:
            if cls.cache_argument not in signature(type(weights.module).forward).parameters:
                raise EngineError(f"{header.info.name} keeps its state where adec cannot reach it")
            rows = cast(Any, weights.module).get_output_embeddings().weight.shape[0]
            if rows != header.info.vocabulary:
                raise EngineError(
                    f"{header.info.path} scores {rows} tokens,"
                    f" its config says {header.info.vocabulary}"
                )
            engine = cls(header, options, weights)
        except BaseException:
            weights.release()
            raise
        if device.type == "cpu" and options.threads is None:
            start = None if times is None else times.threads(str(engine.dtype))
            engine.threads = start or DEFAULT_THREADS
            if options.adapts and options.batch_threads is None and DEFAULT_THREADS > 1:
                engine.adapt_threads(DEFAULT_THREADS, start)
        return engine

    @classmethod
    def _loader(cls) -> Loader | None:
        """What builds the module; None: transformers does, from a folder."""
        return None

    def _open_tokenizer(self, header: ModelHeader) -> Tokenizer:
        return FolderTokenizer(header.info.path, header.vocabulary)

    @classmethod
    def stored(cls, header: ModelHeader) -> tuple[Mapping[str, TensorEntry], bool]:
        """Types and shapes of the weights, and whether bfloat16 may be chosen for them."""
        tensors, _ = read_tensors(header.info.path)
        # weights of another type would be rounded
        return tensors, all(entry.dtype == "BF16" for entry in tensors.values())

    @classmethod
    def _measured(cls, header: ModelHeader, options: OpenOptions) -> FormatTimes | None:
        """How fast the model is in the formats it may run in; None if that decides nothing here."""
        if header.info.parameters < MEASURED_FROM or (options.dtype and options.threads):
            return None
        tensors, may_round = cls.stored(header)
        formats = FORMATS if may_round else FORMATS[:1]
        shapes = layer_shapes(tensors)
        if not shapes or (not may_round and options.threads):
            return None
        return format_times(
            header,
            lambda: FormatProbe(shapes, formats),
            formats,
            DEFAULT_THREADS,
            f"torch {torch.__version__}",
        )

    def adapt_threads(
        self,
        most: int,
        start: int | None = None,
        others: Callable[[], int | None] = others_running,
    ) -> None:
        """Choose the number of threads as it runs, at most `most`; `start` is the first one.

        `others`: how many threads of other programs want a core.
        """

        def apply(count: int) -> None:
            self.threads = count

        self.threads = most
        self._threads = ThreadCount(most, apply, others, start=start)
        self.thread_changes = self._threads.changes

    @property
    def module(self) -> Any:
        """transformers' own module, for `torch_generate`, which compares with transformers.

        Engines on the same weights share it: call it, with a cache of your own, but change nothing.
        Decoding methods never see a module; they use the protocols of `adec.engines.protocols`.
        """
        self._check_open()
        return self._module

    def _append(self, tokens: Sequence[int], rows: int) -> Scores:
        parts: list[Tensor] = []
        with self._inference(len(tokens)):
            step = self._step(len(tokens))
            for start in range(0, len(tokens), step):
                part = tokens[start : start + step]
                first = self.length + start
                wanted = min(len(part), max(0, start + len(part) - (len(tokens) - rows)))
                logits = self._run(
                    part, self._positions[:, first : first + len(part)], wanted, None
                )
                if wanted:
                    parts.append(logits)
        return self._scores(parts)

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> Scores:
        wanted = len(tree) - first_row
        depths = torch.tensor([tree.depths()[known:]], device=self._device) + self.length
        with self._inference(len(tree) - known):
            mask = None if tree.is_chain else self._tree_mask(tree, known)
            logits = self._run(tree.tokens[known:], depths, wanted, mask, known)
        return self._scores([logits] if wanted else [])

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        from adec.engines.torch.torch_cache import gather

        with self._inference(len(path)):
            gather(self._cache, self.length, path)

    def _cut(self, length: int) -> None:
        if "rewind" in self.capabilities:
            from adec.engines.torch.torch_cache import cut

            cut(self._cache, length)
        elif length == 0:  # a fresh start is possible for every model
            self._cache, _ = self._new_cache()

    def _restore(self, length: int) -> bool:
        whole = "rewind" in self.capabilities or length == 0
        self._cut(length if whole else 0)
        return whole

    def _free(self) -> None:
        self._weights.release()
        del self._module, self._cache, self._positions
        self._weights.module = None

    def _new_cache(self) -> tuple[Cache, bool]:
        from adec.engines.torch.torch_cache import new_cache

        return new_cache(self._module.config, self.context)

    def _step(self, count: int) -> int:
        """Tokens per forward, of `count`."""
        if "rewind" in self.capabilities:
            return CHUNK
        # some of transformers' recurrent models start a forward of several tokens from a zero state
        return 1 if self.length else count

    def _run(
        self,
        tokens: Sequence[int],
        positions: Tensor,
        rows: int,
        mask: Tensor | None,
        node: int = 0,
    ) -> Tensor:
        """One forward; logits of the last `rows` tokens, shape (rows, vocabulary).

        `node`: of a tree, the node of the first token.
        """
        ids = torch.tensor([tokens], device=self._device)
        inputs = {
            **self._entry(ids, node),
            "position_ids": positions,
            self.cache_argument: self._cache,
            "attention_mask": mask,
            "use_cache": True,
        }
        if rows == 0:
            self._module.base_model(**inputs)
            return ids.new_empty((0, 0))
        began = perf_counter()
        logits: Tensor = self._module(**inputs, logits_to_keep=rows).logits
        if self._threads is not None:
            self._threads.record(1000 * (perf_counter() - began), len(tokens))
        return logits[0]

    def _entry(self, ids: Tensor, node: int) -> dict[str, Tensor]:
        """What the module reads for ids of shape (1, tokens); `node`: see `_run`."""
        return {"input_ids": ids}

    def _tree_mask(self, tree: TokenTree, known: int) -> Tensor:
        """(1, 1, new nodes, trunk + nodes): a node sees the trunk, its ancestors and itself."""
        mask = torch.ones((len(tree) - known, self.length + len(tree)), dtype=torch.bool)
        mask[:, self.length :] = torch.from_numpy(tree.ancestor_mask()[known:])
        return self._as_mask(mask.to(self._device)[None, None])

    def _as_mask(self, mask: Tensor) -> Tensor:
        """A mask of what is seen, in the form that the model's attention takes."""
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
    def _inference(self, count: int) -> Iterator[None]:
        """Inference mode with the threads for `count` tokens; failures become EngineErrors."""
        self._set_threads(count)
        try:
            with torch.inference_mode(), turned() if self._turned else nullcontext():
                yield
        except EngineError:
            raise
        except Exception as error:
            raise engine_error(f"{self.info.name} failed", error) from error

    def _set_threads(self, count: int) -> None:
        threads = self.threads
        if count > 1:
            threads = self._options.batch_threads or threads
        # the setting is global, so another engine may have changed it
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def context_of(header: ModelHeader, options: OpenOptions) -> int:
    """Tokens of context to reserve."""
    limit = header.info.context_limit
    wanted = CONTEXT if options.context is None else options.context or limit
    return min(wanted, limit)


def device_of(name: str | None) -> torch.device:
    """The device of that name, or the best one. Raises EngineError when it is not there."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        # only allocating a tensor proves that the device exists
        torch.empty(1, device=device)
    except Exception as error:
        raise engine_error(f"there is no device {name[:40]!r} here", error) from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise EngineError(f"adec does not run on {device.type}", hint="choose cpu, cuda or mps")
    return device


def dtype_of(name: str | None, device: torch.device) -> torch.dtype | None:
    """The type of the weights; None for the checkpoint's own."""
    if name is None:
        return torch.float32 if device.type == "cpu" else None
    if name not in ("float32", "bfloat16", "float16"):
        raise EngineError(f"weights cannot be of type {name[:40]}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype
