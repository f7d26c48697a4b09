"""transformers' `generate` on the module of a loaded engine, as a peer for comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from adec.engines.base import Engine
from adec.engines.torch.torch_engine import TorchEngine
from adec.engines.torch.torch_weights import engine_error, quiet_transformers
from adec.errors import EngineError
from adec.sampling import Sampler

LOOKUP_TOKENS = 10
"""Draft length of prompt lookup, from transformers' documentation."""


@dataclass(frozen=True, slots=True)
class Generated:
    """An answer of `generate`."""

    tokens: tuple[int, ...]
    first: float | None
    """`perf_counter` at the first token."""
    fed: int
    """Tokens that the module read after the prompt, in all rows of a batch."""
    assistant_fed: int


def generate(
    engine: Engine,
    prompt: Sequence[int],
    max_tokens: int,
    sampler: Sampler,
    *,
    assistant: Engine | None = None,
    by_text: bool = False,
    lookup: bool = False,
    beams: int = 1,
    early_exit: int = 0,
    interrupted: Callable[[], bool] = lambda: False,
) -> Generated | None:
    """Call `generate`, perhaps with an assistant, prompt lookup or beams. None when interrupted.

    `early_exit`: so many of the model's own lowest layers are its assistant
    (`assistant_early_exit`). `by_text`: the assistant speaks another vocabulary, and drafts go over
    as text: what transformers calls universal assisted generation, here greedy.

    The engine's sequence stays as it is. Raises EngineError when an engine is not torch's, or when
    transformers fails.
    """
    if not isinstance(engine, TorchEngine) or not isinstance(assistant, TorchEngine | None):
        raise EngineError("transformers' generate needs Hugging Face folders")
    transformers = quiet_transformers()
    watch = _Watch(len(prompt), interrupted)
    options: dict[str, Any] = {
        "max_new_tokens": max_tokens,
        "do_sample": sampler.temperature > 0,
        "eos_token_id": sorted(engine.vocabulary.end) or None,
        "pad_token_id": min(engine.vocabulary.end, default=0),
        "stopping_criteria": transformers.StoppingCriteriaList([watch]),
    }
    if sampler.temperature > 0:
        options |= {
            "temperature": sampler.temperature, "top_k": sampler.top_k or None,
            "top_p": sampler.top_p, "min_p": sampler.min_p or None,
        }  # fmt: skip
        torch.manual_seed(sampler.seed)
    if assistant is not None:
        options["assistant_model"] = assistant.module
        if by_text:
            options["tokenizer"] = _Words(engine)
            options["assistant_tokenizer"] = _Words(assistant)
    if lookup:
        options["prompt_lookup_num_tokens"] = LOOKUP_TOKENS
    if early_exit:
        options["assistant_early_exit"] = early_exit
    if beams > 1:
        options["num_beams"] = beams
    ids = torch.tensor([list(prompt)], device=engine.module.device)
    config = engine.module.base_model.config
    whole = config.num_hidden_layers
    drafter = engine if early_exit else assistant
    try:
        with (
            _Count(engine, whole) as own,
            _Count(drafter, early_exit) as other,
            torch.inference_mode(),
        ):
            made = engine.module.generate(ids, attention_mask=torch.ones_like(ids), **options)
    except Exception as error:
        raise engine_error("transformers' generate failed", error) from error
    finally:
        # to leave early transformers changes the number, and a failure would leave it so
        config.num_hidden_layers = whole
    if watch.stopped:
        return None
    tokens = made[0, len(prompt) :].tolist()
    end = next((i for i, token in enumerate(tokens) if token in engine.vocabulary.end), None)
    if end is not None:
        tokens = tokens[: end + 1]  # shorter hypotheses are padded to the longest one
    return Generated(tuple(tokens), watch.first, own.tokens, other.tokens)


class _Words:
    """As much of a tokenizer as universal assisted generation asks for, on an engine's own.

    A GGUF model has no other. Control tokens are left out of the text, as transformers wants it.
    """

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine

    def decode(self, ids: torch.Tensor, **_: Any) -> list[str]:
        vocabulary = self._engine.vocabulary
        silent = vocabulary.control | vocabulary.end
        texts = []
        for row in ids.reshape(-1, ids.shape[-1]).tolist():
            known = (token for token in row if token < len(vocabulary) and token not in silent)
            text = b"".join(vocabulary.pieces[token] for token in known)
            texts.append(text.decode("utf-8", "replace"))
        return texts

    def __call__(self, texts: list[str], **_: Any) -> dict[str, torch.Tensor]:
        vocabulary, (text,) = self._engine.vocabulary, texts
        ids = self._engine.tokenizer.encode(text, special=False)
        if vocabulary.adds_begin and vocabulary.begin is not None:
            ids.insert(0, vocabulary.begin)
        return {"input_ids": torch.tensor([ids], dtype=torch.long)}


class _Count:
    """Counts the tokens that a module reads after its first forward, which is the prompt's.

    With `layers` only forwards through so many of them count.
    """

    def __init__(self, engine: TorchEngine | None, layers: int = 0) -> None:
        self._engine = engine
        self._layers = layers
        self._hook: Any = None
        self._first = True
        self.tokens = 0

    def __enter__(self) -> _Count:
        if self._engine is not None:
            self._hook = self._engine.module.register_forward_pre_hook(self._add, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()

    def _add(self, module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self._layers and module.base_model.config.num_hidden_layers != self._layers:
            return
        ids = named.get("input_ids", args[0] if args else None)
        if ids is None or self._first:
            self._first = ids is None
            return
        self.tokens += int(ids.numel())


class _Watch:
    """A stopping criterion that notes the first token and stops when interrupted.

    A streamer would do, but does not work with assisted decoding.
    """

    def __init__(self, prompt: int, interrupted: Callable[[], bool]) -> None:
        self._prompt = prompt
        self._interrupted = interrupted
        self.first: float | None = None
        self.stopped = False

    def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        if self.first is None and ids.shape[1] > self._prompt:
            self.first = perf_counter()
        self.stopped = self.stopped or self._interrupted()
        return torch.full((ids.shape[0],), self.stopped, device=ids.device, dtype=torch.bool)
