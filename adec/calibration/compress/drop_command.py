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
from adec.calibration.compress.block_sets import Blocks, random_set, search_blocks, words_of
from adec.calibration.compress.judge import Judge
from adec.calibration.compress.known_texts import KnownText, TextLoss, changes, lost
from adec.calibration.compress.loss_table import LEGEND, name_of
from adec.calibration.compress.own_answers import own_answers
from adec.calibration.compress.simple_rules import best_run, least_alone, least_change
from adec.calibration.compress.smaller_model import (
    DRAWN,
    Say,
    Search,
    SmallerModel,
    run_search,
    searching,
)
from adec.display.wording import many, size
from adec.engines.base import EngineName, OpenOptions
from adec.engines.llama.gguf.gguf_copy import check_plain_list, write_without
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError

RANDOM = "Random: the mean of as many blocks drawn by lot."


def run_drop(request: SmallerModel, left_out: str, options: OpenOptions, say: Say) -> int:
    """Search, judge, write the file and print what it lost; the exit code. Raises AdecError.

    `left_out`: a number of blocks, a share such as 1/8, or the blocks themselves: 3,10,11.
    """
    info = _plan(request.model, "torch").models["large"].info
    to, path, blocks = request.destination(info.path), info.path, info.layers
    check_plain_list(path)
    given, count = parse_left_out(left_out, blocks)
    return run_search(lambda: _drop(request, options, path, to, blocks, given, count, say), say)


def _drop(
    request: SmallerModel, options: OpenOptions, path: Path, to: Path, blocks: int,
    given: Blocks | None, count: int, say: Say,
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
            fit = _judge(engine, fit_texts, "fit", search, lambda: search.tick(None))
            held = _judge(engine, held_texts, "held out", search, lambda: None)
            rules: dict[str, Blocks] = {}
            if given is None:
                rules = _rules(engine, fit_texts, fit, blocks, count, search)
                rng, starts = Random(f"search {request.seed}"), list(rules.values())
                found = search.best(
                    fit, search_blocks(blocks, count, fit.texts, fit.kl, rng, starts=starts), starts
                )
            else:
                found = given
            rng = Random(f"random {request.seed}")
            named: dict[str, Sequence[Blocks]] = {
                "whole model": [frozenset()],
                "found" if given is None else "given": [found],
                **{rule: [one] for rule, one in rules.items()},
                "random": [random_set(blocks, count, rng) for _ in range(DRAWN)],
            }
            text = search.table(held, named, found, "blocks left out", name_of)
        search.stage("writing")
        write_without(path, to, found, search.tick)
    sys.stdout.write(f"{text}\n\n{LEGEND} {RANDOM}\n")
    before, after = path.stat().st_size, to.stat().st_size
    say(
        f"{to} has {many(blocks - len(found))} of {many(blocks)} blocks and {size(after)} of"
        f" {size(before)}; it drafts for the whole one with --small {to} --large {path}"
    )


def _judge(
    engine: LayerEngine,
    texts: Sequence[KnownText],
    name: str,
    search: Search,
    tick: Callable[[], None],
) -> Judge[Blocks]:
    def measure(left_out: Blocks, index: int) -> TextLoss:
        return lost(engine, texts[index], left_out)

    return Judge(measure, words_of, len(texts), name, search.journal, tick)


def _rules(
    engine: LayerEngine, texts: Sequence[KnownText], fit: Judge[Blocks], blocks: int, count: int,
    search: Search,
) -> dict[str, Blocks]:  # fmt: skip
    """What simpler rules leave out."""
    search.stage("simple rules")
    turned = changes(engine, texts[: max(2, len(texts) // 4)])
    return {
        "best run": best_run(blocks, count, fit.texts, fit.kl),
        "least alone": least_alone(
            blocks, count, range(min(2, fit.texts)), fit.kl,
            lambda block, _: search.tick((block + 1) / blocks),
        ),
        "least change (ShortGPT)": least_change(turned, count),
    }  # fmt: skip


def parse_left_out(text: str, blocks: int) -> tuple[Blocks | None, int]:
    """The blocks that a person named, None where only their number, and the number.

    Raises UsageError.
    """
    hint = "a number such as 4, a share such as 1/8, or blocks such as 3,10,11"
    try:
        if "," in text:
            chosen = frozenset(int(word) for word in text.split(",") if word.strip())
            if not chosen or not all(0 <= block < blocks for block in chosen):
                raise ValueError
            count = len(chosen)
        elif "/" in text:
            part, _, whole = text.partition("/")
            # half of a block counts as one
            chosen, count = None, (2 * blocks * int(part) + int(whole)) // (2 * int(whole))
        else:
            chosen, count = None, int(text)
        if not 1 <= count < blocks:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"--leave-out {text[:40]!r} leaves out no 1 to {blocks - 1} of the {blocks} blocks",
            hint=hint,
        ) from None
    return chosen, count


def _plan(model: str, engine: EngineName) -> Plan:
    return plan(Choice(model=model, strategy="plain", engine=engine))
