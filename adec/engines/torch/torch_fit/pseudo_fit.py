"""Learns pseudo states for one frozen model, from texts that it wrote itself.

A text is read once, with pseudo positions behind a sample of its tokens, and only these learn. Two
losses, of the row at distance i, in nats:

    "states"   0.8^i KL(the model's own row where the pseudo position stands || row)
    "units"    cross-entropy of the token that the model wrote there, with a weight
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from time import monotonic
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from adec.engines.protocols import PseudoStates
from adec.engines.torch.pseudo.pseudo_engine import TorchPseudoEngine
from adec.engines.torch.pseudo.pseudo_run import PseudoTensors, lay_out
from adec.tree import TokenTree

DECAY = 0.8
CARRIERS = 64
"""Carriers of one text in one step, drawn anew each time."""
LONGEST = 512
"""Tokens of a text; of a longer prompt the beginning is left out."""
RATE = {"maps": 1e-3, "shifts": 3e-3, "adapters": 3e-3}
BATCH = 2
"""Texts of a step."""
WARM = 0.03
"""Share of the time in which rates rise."""

KEEP_SECONDS = 30.0
"""Between two moments at which what was learned is kept."""
STEPS = 100_000
"""Steps at most; the time ends before."""

Loss = Literal["states", "units"]


@dataclass(frozen=True)
class Text:
    """A prompt and the model's own answer to it."""

    tokens: tuple[int, ...]
    start: int
    """Where the answer starts."""
    weights: NDArray[np.float32] | None = None
    """For "units": by token and distance, shape (tokens, count), the weight of that row."""

    def cut(self, longest: int = LONGEST) -> Text:
        """At most `longest` tokens, with at least half of them of the answer where there are."""
        first = max(0, min(self.start - longest // 2, len(self.tokens) - longest))
        end = first + longest
        weights = None if self.weights is None else self.weights[first:end]
        return Text(self.tokens[first:end], self.start - first, weights)


@dataclass(frozen=True)
class Foreseen:
    """What was foreseen on texts, at every carrier that has all its distances in the text."""

    hits: NDArray[np.bool_]
    """(carriers, count): whether the likeliest token is the one that was written."""
    sure: NDArray[np.float32]
    """(carriers, count): the probability of the likeliest token."""
    loss: float


def fit_pseudo(
    engine: TorchPseudoEngine,
    begin: PseudoStates,
    texts: Sequence[Text],
    loss: Loss,
    *,
    seconds: float,
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
    keep: Callable[[PseudoStates], None] = lambda states: None,
) -> tuple[PseudoStates, int]:
    """The states after `seconds` or `STEPS` steps, and how many steps that were.

    `keep` gets the states after the first step, and then every `KEEP_SECONDS`. AdamW without decay,
    at rates that rise for a moment and then fall as a cosine.
    """
    rng = np.random.default_rng(seed)
    base = engine.pseudo_tensors(begin)
    parts = {
        "shifts": [base.shifts],
        "maps": [] if base.maps is None else [base.maps],
        "adapters": [tensor for pair in base.adapters.values() for tensor in pair],
    }
    with torch.inference_mode(False), torch.enable_grad():
        # learned in float32, whatever the model is in
        held = {name: [t.detach().float().clone().requires_grad_() for t in group]
                for name, group in parts.items()}  # fmt: skip
        groups = [{"params": group, "lr": RATE[name]} for name, group in held.items() if group]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98))
        rates = [group["lr"] for group in optimizer.param_groups]
        began, done, order = monotonic(), 0, list[int]()
        saved = began - KEEP_SECONDS
        while done < STEPS:
            spent = max(done / STEPS, (monotonic() - began) / seconds)
            tick(spent)
            if spent >= 1 and done:
                break
            factor = min(1.0, (spent + 0.1 * WARM) / WARM) * (0.52 + 0.48 * cos(pi * spent))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad()
            now = _assembled(base, held, begin, next(engine.module.parameters()).dtype)
            for _ in range(min(BATCH, len(texts))):
                order = order or rng.permutation(len(texts)).tolist()
                text = texts[order.pop()].cut()
                rows = _rows(engine, now, text, rng, CARRIERS)
                if rows is not None:
                    _loss(rows, text, loss).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
            if monotonic() - saved > KEEP_SECONDS:
                saved = monotonic()
                keep(_as_states(held, begin))
    return _as_states(held, begin), done


def foresee(
    engine: TorchPseudoEngine, states: PseudoStates, texts: Sequence[Text], loss: Loss = "states"
) -> Foreseen:
    """How often the states foresee what was written, and how sure they are of it."""
    rng = np.random.default_rng(0)
    pseudo = engine.pseudo_tensors(states)
    hits, sure, losses = [], [], []
    with torch.no_grad():
        for text in texts:
            text = text.cut()
            rows = _rows(engine, pseudo, text, rng, LONGEST)
            if rows is None:
                continue
            losses.append(float(_loss(rows, text, loss)))
            whole = rows.known.all(1)
            chances, likeliest = rows.ahead[whole].softmax(-1).max(-1)
            hits.append((likeliest == rows.wanted[whole]).cpu().numpy())
            sure.append(chances.float().cpu().numpy())
    empty = np.zeros((0, states.count))
    return Foreseen(
        np.concatenate([empty.astype(bool), *hits]),
        np.concatenate([empty.astype(np.float32), *sure]),
        float(np.mean(losses)) if losses else float("nan"),
    )


def memory_needed(engine: TorchPseudoEngine, count: int) -> int:
    """Bytes that learning `count` pseudo positions takes at most, beside the weights.

    What every linear layer reads and gives is kept for the way back, and so are the weights of
    attention and the rows at the end, with their gradients.
    """
    positions, rows = LONGEST + CARRIERS * count, CARRIERS * (count + 2)
    linear = sum(map(sum, engine.linear_shapes().values()))
    heads: int = engine.module.config.num_attention_heads * engine.info.layers
    return 4 * (positions * linear + 2 * heads * positions**2 + 6 * rows * engine.info.vocabulary)


def probabilities(engine: TorchPseudoEngine, text: Text) -> NDArray[np.float32]:
    """By token of a text, how likely the model found it; 1 for the first."""
    ids = torch.tensor([text.tokens])
    with torch.no_grad():
        module = engine.module
        rows = module(ids.to(module.device), use_cache=False).logits[0, :-1].float().log_softmax(-1)
        of = rows.gather(1, ids[0, 1:, None].to(rows.device))[:, 0].exp().cpu().numpy()
    result: NDArray[np.float32] = np.concatenate([np.ones(1, np.float32), of])
    return result


@dataclass(frozen=True)
class _Rows:
    """Of one pass over a text: (carriers, count, …)."""

    carriers: Tensor
    ahead: Tensor
    """Logits of the pseudo positions."""
    model: Tensor
    """The model's own, where they stand."""
    wanted: Tensor
    """The tokens that were written there."""
    known: Tensor
    """Whether the text goes so far."""


def _rows(
    engine: TorchPseudoEngine,
    pseudo: PseudoTensors,
    text: Text,
    rng: np.random.Generator,
    most: int,
) -> _Rows | None:
    """One pass with pseudo positions behind at most `most` tokens; None where none has a next."""
    # the row at a carrier writes the next token, the nearest pseudo row the one after it
    places = np.arange(max(0, text.start - 1), len(text.tokens) - 2)
    if not len(places):
        return None
    if len(places) > most:
        places = np.sort(rng.choice(places, most, replace=False))
    tree = TokenTree.chain(text.tokens)
    device = pseudo.shifts.device
    states = engine.run_ahead(pseudo, lay_out(tree, places.tolist(), pseudo.count, 0, device))
    nodes, count = len(tree), pseudo.count
    logits = engine.logits_of(states[nodes:]).float()
    carriers = torch.from_numpy(places).to(device)
    stands = carriers[:, None] + torch.arange(1, count + 1, device=device)
    known = stands < nodes - 1
    stands = stands.clamp(max=nodes - 2)
    with torch.no_grad():
        model = engine.logits_of(states[:nodes].detach()).float()[stands]
    ids = torch.tensor(text.tokens, device=device)
    ahead = logits.view(count, len(places), -1).transpose(0, 1)
    return _Rows(carriers, ahead, model, ids[stands + 1], known)


def _loss(rows: _Rows, text: Text, loss: Loss) -> Tensor:
    """Nats a row that counts."""
    count = rows.ahead.shape[1]
    if loss == "states":
        target = rows.model.log_softmax(-1)
        each = F.kl_div(rows.ahead.log_softmax(-1), target, log_target=True, reduction="none")
        decay = DECAY ** torch.arange(count, device=each.device)
        weights = rows.known * decay
        each = each.sum(-1)
    else:
        each = F.cross_entropy(rows.ahead.transpose(1, 2), rows.wanted, reduction="none")
        weights = rows.known.float()
        if text.weights is not None:
            weights = weights * torch.from_numpy(text.weights).to(each.device)[rows.carriers]
    return (each * weights).sum() / weights.sum().clamp(min=1e-6)


def _assembled(
    base: PseudoTensors, held: dict[str, list[Tensor]], begin: PseudoStates, dtype: torch.dtype
) -> PseudoTensors:
    """What is learned, in the type of the model."""
    pairs = iter(tensor.to(dtype) for tensor in held["adapters"])
    adapters = {name: (next(pairs), next(pairs)) for name in begin.adapters}
    maps = held["maps"][0].to(dtype) if held["maps"] else None
    return PseudoTensors(base.depths, held["shifts"][0].to(dtype), maps, adapters)


def _as_states(held: dict[str, list[Tensor]], begin: PseudoStates) -> PseudoStates:
    arrays = {name: [t.detach().cpu().numpy() for t in group] for name, group in held.items()}
    pairs = iter(arrays["adapters"])
    adapters = {name: (next(pairs), next(pairs)) for name in begin.adapters}
    maps = arrays["maps"][0] if arrays["maps"] else None
    return PseudoStates(begin.depths, arrays["shifts"][0], maps, adapters)
