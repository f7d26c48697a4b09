"""Learns prompt tokens for one frozen model, from texts that it wrote itself.

Chen et al. 2024, arXiv 2405.18628: after a token of the text a chain of prompt tokens is read, and
the i-th of them is to score what the model scores i tokens further on. Its loss:

    (1/n) sum_i 0.8^(i-1) KL(the model's row i tokens on || row of prompt token i)

Nothing attends to prompt tokens but later ones of their chain. So keys, values and rows of a text
are computed once and kept, and a step runs and differentiates the prompt tokens only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

DECAY = 0.8
CHAINS = 48
"""Chains of one text in one step, drawn anew each time."""
LONGEST = 512
"""Tokens of a text; of a longer prompt the beginning is left out."""
RATE = 3.0
"""Of AdamW, as a share of the root mean square of the model's embeddings; it falls as a cosine. The
paper's 1e-2 is about half of Vicuna's, for many more steps. On the large practice model 200 steps
at 0.3 foresaw 28 % of the tokens one further, 400 at 1 and 3 foresaw 38 and 41 %."""
KEPT = 1 << 30
"""Bytes of keys, values and rows that are kept from texts."""
KEEP_SECONDS = 30.0
STEPS = 1_000_000
"""Steps at most; the time ends before."""
BATCH = 2
"""Texts of a step; the paper's is 4 on each of 4 machines."""


@dataclass(frozen=True)
class Written:
    """A prompt and the model's own answer to it."""

    tokens: tuple[int, ...]
    start: int
    """Where the answer starts."""
    ended: bool
    """Whether its last token ends it, so that nothing follows."""

    def cut(self, longest: int = LONGEST) -> Written:
        """At most `longest` tokens, with half of them of the answer where it has so many."""
        first = max(0, min(self.start - longest // 2, len(self.tokens) - longest))
        tokens = self.tokens[first : first + longest]
        ended = self.ended and first + longest >= len(self.tokens)
        return Written(tokens, max(0, self.start - first), ended)


def fit_prompt_tokens(
    module: Any,
    begin: NDArray[np.float32],
    texts: Sequence[Written],
    *,
    seconds: float,
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
    keep: Callable[[NDArray[np.float32]], None] = lambda embeddings: None,
    steps: int | None = None,
) -> tuple[NDArray[np.float32], int, float]:
    """The embeddings after `seconds` or `steps`, how many steps that were, and the latest loss.

    `steps`: None stands for `STEPS`.
    `module`: transformers' own, frozen. `begin`: shape (prompt tokens, width). `tick` gets the
    share of the work that is done, and may raise to end it. `keep` gets the embeddings after the
    first step, and then every `KEEP_SECONDS`. The loss is in nats.
    """
    steps = STEPS if steps is None else steps
    rng = np.random.default_rng(seed)
    kept = _Kept(module, [text.cut() for text in texts])
    rms = float(module.get_input_embeddings().weight.float().pow(2).mean().sqrt())
    with torch.inference_mode(False), torch.enable_grad():
        learned = torch.tensor(begin, device=module.device).requires_grad_()
        optimizer = torch.optim.AdamW([learned], lr=RATE * rms, weight_decay=0.0)
        began, done, order, recent = monotonic(), 0, list[int](), 0.0
        saved = began - KEEP_SECONDS
        while done < steps:
            spent = max(done / steps, (monotonic() - began) / seconds)
            tick(spent)
            if spent >= 1 and done:
                break
            optimizer.param_groups[0]["lr"] = RATE * rms * (0.51 + 0.49 * cos(pi * spent))
            optimizer.zero_grad()
            total = 0.0
            for _ in range(min(BATCH, len(texts))):
                order = order or rng.permutation(len(texts)).tolist()
                loss = _loss(module, learned, kept.of(order.pop()), rng)
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
            optimizer.step()
            done += 1
            # at once, too: where nothing can be written there is nothing to learn for
            if monotonic() - saved > KEEP_SECONDS:
                saved = monotonic()
                keep(learned.detach().cpu().numpy().copy())
            total /= min(BATCH, len(texts))
            recent += (total - recent) / min(done, 20)
    return learned.detach().cpu().numpy(), done, recent


def prompt_ranks(
    module: Any, embeddings: NDArray[np.float32], texts: Sequence[Written], most: int
) -> NDArray[np.int64]:
    """The rank of what the model wrote in each row of a chain, shape (chains, prompt tokens).

    0 is the likeliest token, `most` stands for that and any higher rank. One chain after each token
    of an answer that all its prompt tokens look at a token of the text from.
    """
    kept = _Kept(module, [text.cut() for text in texts])
    learned = torch.tensor(embeddings, device=module.device)
    found = [np.zeros((0, len(embeddings)), np.int64)]
    with torch.no_grad():
        for index in range(len(texts)):
            text = kept.of(index)
            places = _places(text.written, len(embeddings), whole=True)
            if not len(places):
                continue
            logits, _ = _run(module, learned, text, places)
            tokens = torch.tensor(text.written.tokens, device=logits.device)
            wanted = tokens[_stands(places, len(embeddings), logits.device) + 1]
            above = (logits > logits.gather(-1, wanted[..., None])).sum(-1)
            found.append(above.clamp(max=most).cpu().numpy())
    return np.concatenate(found)


@dataclass
class _Read:
    """A text that was read by the model."""

    written: Written
    layers: list[tuple[Tensor, Tensor]]
    """Keys and values of each layer, shape (1, heads, tokens, head width)."""
    rows: Tensor
    """The model's log-probabilities after each token from `first` on."""
    first: int

    @property
    def bytes(self) -> int:
        tensors = [self.rows, *(tensor for pair in self.layers for tensor in pair)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class _Kept:
    """Texts as the model read them, kept as far as memory goes."""

    def __init__(self, module: Any, texts: Sequence[Written]) -> None:
        self._module, self._texts = module, texts
        self._read: dict[int, _Read] = {}
        self._bytes = 0

    def of(self, index: int) -> _Read:
        """The text of this index."""
        if index in self._read:
            return self._read[index]
        read = self._new(self._texts[index])
        if self._bytes + read.bytes <= KEPT:
            self._read[index] = read
            self._bytes += read.bytes
        return read

    def _new(self, text: Written) -> _Read:
        from transformers import DynamicCache

        module = self._module
        cache: Any = DynamicCache()
        first = max(0, text.start - 1)
        with torch.no_grad():
            ids = torch.tensor([text.tokens], device=module.device)
            rows = module(
                input_ids=ids, past_key_values=cache, use_cache=True,
                logits_to_keep=len(text.tokens) - first,
            ).logits[0]  # fmt: skip
            layers = [(layer.keys, layer.values) for layer in cache.layers]
            # half precision: rows are compared to a few digits
            return _Read(text, layers, rows.float().log_softmax(-1).half(), first)


def _places(text: Written, count: int, *, whole: bool) -> NDArray[np.int64]:
    """Tokens that a chain may follow: from the prompt's last one on, as long as a row is known.

    `whole`: as long as all rows of the chain have a token of the text that they look at.
    """
    last = len(text.tokens) - 1 - (text.ended or whole)
    return np.arange(max(0, text.start - 1), last - (count if whole else 1) + 1)


def _stands(places: NDArray[np.int64], count: int, device: torch.device) -> Tensor:
    """Positions of the chains' prompt tokens, shape (chains, prompt tokens)."""
    return torch.from_numpy(places).to(device)[:, None] + torch.arange(1, count + 1, device=device)


def _loss(module: Any, learned: Tensor, text: _Read, rng: np.random.Generator) -> Tensor:
    count = len(learned)
    places = _places(text.written, count, whole=False)
    if not len(places):
        return (learned * 0).sum()
    if len(places) > CHAINS:
        places = np.sort(rng.choice(places, CHAINS, replace=False))
    logits, stands = _run(module, learned, text, places)
    # the row after an end token foresees nothing
    last = text.first + len(text.rows) - 1 - text.written.ended
    known = stands <= last
    target = text.rows[stands.clamp(max=last) - text.first].float()
    each = F.kl_div(logits.float().log_softmax(-1), target, log_target=True, reduction="none")
    weights = known * DECAY ** torch.arange(count, device=logits.device)
    total: Tensor = (each.sum(-1) * weights).sum() / (count * len(places))
    return total


def _run(
    module: Any, learned: Tensor, text: _Read, places: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Logits of the chains after `places`, shape (chains, prompt tokens, …), and their positions.

    A prompt token sees the text up to its chain's place, the chain before it, and itself.
    """
    from transformers import DynamicCache

    count, chains, device = len(learned), len(places), learned.device
    stands = _stands(places, count, device)
    size = len(text.written.tokens)
    seen = torch.arange(size, device=device) <= torch.from_numpy(places).to(device)[:, None]
    mask = torch.zeros((chains, count, size + chains * count), dtype=torch.bool, device=device)
    mask[:, :, :size] = seen[:, None]
    own = torch.ones((count, count), dtype=torch.bool, device=device).tril()
    for chain in range(chains):
        at = size + chain * count
        mask[chain, :, at : at + count] = own
    mask = mask.view(1, 1, chains * count, -1)
    dtype = module.get_input_embeddings().weight.dtype
    additive = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(text.layers):
        cache.update(keys, values, layer)
    logits = module(
        inputs_embeds=learned.to(dtype).repeat(chains, 1)[None],
        position_ids=stands.view(1, -1),
        attention_mask=additive,
        past_key_values=cache,
        use_cache=True,
    ).logits[0]
    return logits.view(chains, count, -1), stands
