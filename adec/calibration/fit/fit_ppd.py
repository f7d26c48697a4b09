"""Learns the prompt tokens of `ppd`, and counts how often they are right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date
from typing import Any, cast

import numpy as np

from adec.calibration.fit.begun import Begun
from adec.calibration.fit.fitting import FittedPart, Fitting
from adec.decoding.heads.ppd import Ppd, PpdSettings
from adec.decoding.heads.prompt_part import KIND
from adec.decoding.heads.rank_counts import RANKS
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids
from adec.engines.base import OpenOptions
from adec.engines.opening import open_engine, read_header
from adec.engines.pair import Engines
from adec.engines.protocols import EmbedEngine, Vectors
from adec.engines.torch.torch_fit.prompt_fit import Written, fit_prompt_tokens, prompt_ranks
from adec.errors import EngineError, ModelFileError
from adec.machine import memory
from adec.parts.part import Array, Fact, Part

STEPS = 3
"""Prompt tokens, as in the paper."""
RECORDED, LEARNED = 0.2, 0.65
"""Shares of the time for answers and for learning; the rest is for real answers."""
LEARNED_FROM = 0.8
"""Share of the answers that are learned from; on the others accuracies are counted."""
ASKED = "Next {} word"
"""What a prompt token begins as: the mean of this text's embeddings, as in the paper."""
COPIES = 6
"""Of the weights' bytes as floats: what learning needs besides, at most, for activations."""


def fit_ppd(fitting: Fitting) -> FittedPart:
    """The model's own answers, prompt tokens learned on torch, and answers for real.

    Raises UsageError where the time is enough for too few answers, EngineError where memory is not
    enough or torch does not run the model.
    """
    engine = cast(EmbedEngine, fitting.engine)
    needed = check_memory(engine)
    fitting.stage(f"answers (learning takes {needed / 2**20:.0f} MiB)")
    texts = [
        Written((*prompt, *answer), len(prompt), answer[-1] in fitting.end)
        for prompt, answer in fitting.answers(RECORDED * fitting.seconds)
    ]
    cut = max(1, round(LEARNED_FROM * len(texts)))
    learn, judge = texts[:cut], texts[cut:] or texts[-1:]
    fitting.stage("prompt tokens")
    begun = Begun(KIND, fitting.model)
    begin = _begun(begun, engine)
    if begin is None:
        begin = first_guess(engine, fitting.seed)
    with on_torch(engine) as module:
        embeddings, steps, loss = fit_prompt_tokens(
            module, begin, learn, seconds=LEARNED * fitting.seconds, seed=fitting.seed,
            tick=fitting.tick, keep=lambda rows: begun.keep({"embeddings": rows}),
        )  # fmt: skip
        ranks = prompt_ranks(module, embeddings, judge, RANKS)
    accuracy = accuracy_of(ranks)
    arrays = {"embeddings": embeddings, "accuracy": accuracy}
    part = Part(KIND, fitting.model, arrays, {}, date.today().isoformat())
    fitting.stage("answers for real")
    strategy = Ppd(Engines(large=engine), PpdSettings(), Aids(part=lambda kind: part))
    rest = (1 - RECORDED - LEARNED) * fitting.seconds
    real = fitting.try_out(strategy, Plain(engine), rest)
    facts: dict[str, Fact] = {
        "answers": len(texts),
        "steps": steps,
        "loss_nats": loss,
        "judged": len(ranks),
        "prompts": fitting.prompts.source,
        "tokens_a_forward": real.per_forward,
        "answers_same": real.same,
        "tested_prompts": real.prompts,
    }
    facts |= {f"right_{d}_further": float(row[0]) for d, row in enumerate(accuracy, 1)}
    lines = [
        f"ppd: {STEPS} prompt tokens of {engine.width} numbers, from {len(learn)} answers in"
        f" {steps} steps",
        f"right on {len(judge)} other answers: "
        + ", ".join(
            f"{100 * row[0]:.1f} % (of its {RANKS} likeliest {100 * row.sum():.1f} %)"
            f" {distance} further"
            for distance, row in enumerate(accuracy, 1)
        ),
        f"for real, on {real.tried}: {real.per_forward:.2f} tokens a forward,"
        f" {100 * real.same:.1f} % of the answers unchanged",
    ]
    begun.remove()
    return FittedPart(Part(KIND, fitting.model, arrays, facts, part.made), tuple(lines))


def check_memory(engine: EmbedEngine) -> int:
    """Bytes that learning takes at most. Raises EngineError where fewer are free."""
    info = engine.info
    weights = 4 * info.parameters
    rows = 2 * COPIES * 4 * info.vocabulary * 48 * STEPS
    needed = rows + (0 if engine.info.format == "safetensors" else weights)
    _, free = memory()
    if free is not None and needed > free:
        raise EngineError(
            f"learning prompt tokens for {info.name} needs {needed / 2**30:.1f} GiB more, and"
            f" {free / 2**30:.1f} GiB are free",
            hint="a part that was learned on another machine serves this model here, too",
        )
    return needed


@contextmanager
def on_torch(engine: EmbedEngine) -> Iterator[Any]:
    """The model's module on torch: its own, or made of the numbers in its file."""
    own = getattr(engine, "module", None)
    if own is not None:
        yield own
        return
    header = read_header(engine.info.path, "torch")
    options = OpenOptions(context=64, threads=engine.threads, dtype="float32")
    with closing(open_engine(header, options)) as other:
        yield cast(Any, other).module


def first_guess(engine: EmbedEngine, seed: int) -> Vectors:
    """What prompt tokens begin as, shape (STEPS, width).

    Means of a few embeddings are alike, so each is moved a little, in a direction of its own.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(STEPS):
        ids = engine.tokenizer.encode(ASKED.format(step + 2), special=False)
        found = engine.embeddings(ids)
        spread = float(found.std())
        rows.append(found.mean(0) + rng.normal(0, 0.1 * spread, engine.width))
    return np.array(rows, dtype=np.float32)


def _begun(begun: Begun, engine: EmbedEngine) -> Vectors | None:
    """What an earlier fit of this model got to; None where there is none, or a damaged one."""
    for part in begun.found(engine.info):
        with suppress(ModelFileError):
            return part.tensor("embeddings", STEPS, engine.width)
    return None


def accuracy_of(ranks: np.ndarray[Any, Any]) -> Array:
    """By distance and rank, how often that was what was written; (STEPS, RANKS).

    Half a trial more at each rank, so that none is taken to be impossible.
    """
    counts = np.stack([(ranks == rank).sum(0) for rank in range(RANKS)], 1) + 0.5
    accuracy: Array = (counts / (len(ranks) + 0.5 * (RANKS + 1))).astype(np.float32)
    return accuracy
