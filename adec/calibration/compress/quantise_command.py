"""`adec calibrate MODEL --fit quantise`: a type for each tensor, and what that lost."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from adec.answering.choice import Choice
from adec.answering.plan import Plan, plan
from adec.answering.session import open_session
from adec.calibration.compress.judge import Judge
from adec.calibration.compress.known_texts import KnownText
from adec.calibration.compress.loss_table import LEGEND
from adec.calibration.compress.mixed_types import Choices, Types, even, random_types, search_types
from adec.calibration.compress.own_answers import own_answers
from adec.calibration.compress.smaller_model import (
    DRAWN,
    Say,
    Search,
    SmallerModel,
    run_search,
    searching,
)
from adec.calibration.compress.typed_files import Candidates, TypedFiles, words_of
from adec.display.wording import size
from adec.engines.base import ModelInfo, OpenOptions
from adec.engines.llama.llama_library import default_threads
from adec.engines.llama.quantiser import MIXES
from adec.errors import UsageError

NEAR = {"Q2_K": 3.2, "Q3_K_M": 3.9, "Q4_K_M": 4.9, "Q5_K_M": 5.7, "Q6_K": 6.6}
"""Bits a weight that llama.cpp's mixes take about, to choose the one to compare with."""
ORIGINALS = frozenset({"F32", "F16", "BF16"})
BITS_BESIDE = 56
"""Bits a weight of all types and of a mix together, at most, where rows fit only larger types."""
RANDOM = "Random: the mean of as many files of this size."


def run_quantise(request: SmallerModel, size_in_bits: str, options: OpenOptions, say: Say) -> int:
    """Search, judge, write the file and print what it lost; the exit code. Raises AdecError.

    `size_in_bits`: bits a weight, or a mix of llama.cpp whose size it shall have.
    """
    bits, mix = parse_bits(size_in_bits)
    ready = plan(Choice(model=request.model, strategy="plain"))
    info = ready.models["large"].info
    if info.format != "gguf":
        raise UsageError(f"{info.path} is no GGUF file, and llama.cpp quantises nothing else")
    to = request.destination(info.path)
    _check_room(to, info)
    if info.quantisation not in ORIGINALS:
        say(f"{info.path.name} is quantised ({info.quantisation}): what that lost stays lost")
    return run_search(lambda: _quantise(request, options, ready, to, bits, mix, say), say)


def _quantise(
    request: SmallerModel, options: OpenOptions, ready: Plan, to: Path, bits: float | None,
    mix: str, say: Say,
) -> None:  # fmt: skip
    info = ready.models["large"].info
    with (
        searching("quantise", request, info.path, say, mix) as search,
        TemporaryDirectory(prefix=".adec-", dir=to.parent) as folder,
    ):
        search.stage("answers")
        tokens = own_answers(
            ready, options, search.prompts, request.max_tokens, search.journal, search.tick
        )
        search.stage("quantising")
        threads = options.threads or default_threads(info.parameters)
        files = TypedFiles(info.path, Path(folder), mix, threads, search.tick)
        choices = files.choices(bits)
        with open_session(ready, options) as session:
            fit_texts, held_texts = search.know(session.engines["large"], tokens)
        found, text = _search(search, options, files, choices, mix, fit_texts, held_texts)
        search.stage("writing")
        files.write(found, to, search.tick)
    sys.stdout.write(f"{text}\n\n{LEGEND} {RANDOM}\n")
    before, after = info.path.stat().st_size, to.stat().st_size
    say(f"{to} takes {size(after)} of {size(before)}, {files.bits(found):.2f} bits a weight")


def _search(
    search: Search, options: OpenOptions, files: TypedFiles, choices: Choices, mix: str,
    fit_texts: list[KnownText], held_texts: list[KnownText],
) -> tuple[Types, str]:  # fmt: skip
    """The types that lose least, and the table."""
    seed, of_mix = search.request.seed, files.of_mix()
    starts = [of_mix] if choices.size(of_mix) <= choices.budget else []
    with closing(Candidates(files, options, [*fit_texts, *held_texts])) as candidates:
        fit = Judge(
            candidates.lost, words_of, len(fit_texts), "fit", search.journal,
            lambda: search.tick(None),
        )  # fmt: skip
        held = Judge(
            lambda types, index: candidates.lost(types, len(fit_texts) + index),
            words_of, len(held_texts), "held out", search.journal, lambda: None,
        )  # fmt: skip
        generations = search_types(
            choices, fit.texts, fit.kl, Random(f"search {seed}"), starts=starts
        )
        found = search.best(fit, generations, [*starts, even(choices)])
        rng = Random(f"random {seed}")
        named: dict[str, Sequence[Types]] = {
            "whole model": [files.of_source()],
            "found": [found],
            f"llama.cpp's {mix}": [of_mix],
            "even": [even(choices)],
            "random": [random_types(choices, rng) for _ in range(DRAWN)],
        }
        words = "bits a weight"
        return found, search.table(held, named, found, words, lambda t: f"{files.bits(t):.2f}")


def parse_bits(text: str) -> tuple[float | None, str]:
    """Bits a weight, None for as many as the mix takes, and the mix. Raises UsageError."""
    if text.upper() in MIXES:
        return None, text.upper()
    try:
        bits = float(text)
        if not 1 <= bits <= 16:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"--bits {text[:40]!r} is neither a number from 1 to 16 nor a type of llama.cpp",
            hint=f"such as 4.5, or one of {', '.join(MIXES)}",
        ) from None
    return bits, min(NEAR, key=lambda mix: abs(NEAR[mix] - bits))


def _check_room(to: Path, info: ModelInfo) -> None:
    """There must be room for the model in all types, a mix, a candidate, and what is written."""
    free = shutil.disk_usage(to.parent).free
    wanted = info.parameters * BITS_BESIDE // 8 + 2 * info.path.stat().st_size
    if free < wanted:
        raise UsageError(
            f"{to.parent} has {size(free)} free, and the search needs up to {size(wanted)} there",
            hint="write to another disk: -o",
        )
