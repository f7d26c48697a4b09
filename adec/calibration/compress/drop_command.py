"""`adec calibrate MODEL --fit drop`: a smaller model of the same file, and what it lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import cast

from adec.answering.choice import Choice
from adec.answering.plan import Plan, plan
from adec.answering.session import open_session
from adec.calibration.compress.drop_spaces import (
    DropSpace,
    blocks_to_leave_out,
    halves_to_leave_out,
)
from adec.calibration.compress.evopress import Candidate
from adec.calibration.compress.judge import Judge
from adec.calibration.compress.known_texts import KnownText, TextLoss
from adec.calibration.compress.loss_table import LEGEND
from adec.calibration.compress.own_answers import own_answers
from adec.calibration.compress.smaller_model import (
    DRAWN,
    Say,
    Search,
    SmallerModel,
    run_search,
    searching,
)
from adec.display.wording import size
from adec.engines.base import EngineName, ModelInfo, OpenOptions
from adec.engines.protocols import LayerEngine
from adec.errors import ModelFileError, UsageError

RANDOM = "Random: the mean of as many drawn by lot."


def run_drop(
    request: SmallerModel, left_out: str, options: OpenOptions, say: Say, *, halves: bool
) -> int:
    """Search, judge, write the file and print what it lost; the exit code. Raises AdecError.

    `left_out`: how many blocks, or what a person chose; see `drop_spaces.py`.
    """
    info = _on_torch(request.model)
    to, path, blocks = request.destination(info.path), info.path, info.layers
    if halves:
        half = halves_to_leave_out(left_out, blocks)
        half.check(path)
        return run_search(lambda: _drop(request, options, path, to, half, say), say)
    whole = blocks_to_leave_out(left_out, blocks)
    whole.check(path)
    return run_search(lambda: _drop(request, options, path, to, whole, say), say)


def _on_torch(model: str) -> ModelInfo:
    """The model, a GGUF file whose blocks torch can leave out. Raises AdecError."""
    info = plan(Choice(model=model, strategy="plain")).models["large"].info
    if info.format != "gguf":
        raise UsageError(f"{info.path} is no GGUF file, and blocks are left out of these only")
    try:
        return _plan(model, "torch").models["large"].info
    except ModelFileError as error:
        # its hint is about an option that nobody gave
        raise ModelFileError(f"candidates are judged on torch, and {error.message}") from None


def _drop(
    request: SmallerModel, options: OpenOptions, path: Path, to: Path, space: DropSpace[Candidate],
    say: Say,
) -> None:  # fmt: skip
    with searching("drop", request, path, say) as search:
        search.stage("answers")
        tokens = own_answers(  # llama.cpp writes them faster than torch
            _plan(request.model, "llama"), options, search.prompts, request.max_tokens,
            search.journal, search.tick,
        )  # fmt: skip
        with open_session(_plan(request.model, "torch"), options) as session:
            engine = cast(LayerEngine, session.engines["large"])
            fit_texts, held_texts = search.know(engine, tokens)
            fit = _judge(space, engine, fit_texts, "fit", search, lambda: search.tick(None))
            held = _judge(space, engine, held_texts, "held out", search, lambda: None)
            rules: dict[str, Candidate] = {}
            found = space.given
            if found is None:
                search.stage("simple rules")
                rules = space.rules(engine, fit_texts, fit, search)
                rng, starts = Random(f"search {request.seed}"), list(rules.values())
                found = search.best(fit, space.search(fit.texts, fit, rng, starts), starts)
            rng = Random(f"random {request.seed}")
            named: dict[str, Sequence[Candidate]] = {
                "whole model": [space.whole],
                "found" if space.given is None else "given": [found],
                **{rule: [one] for rule, one in rules.items()},
                "random": [space.draw(rng) for _ in range(DRAWN)],
            }
            text = search.table(held, named, found, space.column, space.name)
        search.stage("writing")
        space.write(path, to, found, search.tick)
    sys.stdout.write(f"{text}\n\n{LEGEND} {RANDOM}\n")
    before, after = path.stat().st_size, to.stat().st_size
    say(
        f"{to} has {space.kept(found)} and {size(after)} of {size(before)}; it drafts for the"
        f" whole one with --small {to} --large {path}"
    )


def _judge(
    space: DropSpace[Candidate],
    engine: LayerEngine,
    texts: Sequence[KnownText],
    name: str,
    search: Search,
    tick: Callable[[], None],
) -> Judge[Candidate]:
    def measure(left_out: Candidate, index: int) -> TextLoss:
        return space.lost(engine, texts[index], left_out)

    return Judge(measure, space.words, len(texts), name, search.journal, tick)


def _plan(model: str, engine: EngineName) -> Plan:
    return plan(Choice(model=model, strategy="plain", engine=engine))
