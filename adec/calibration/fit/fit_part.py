"""`adec calibrate MODEL --fit KIND`: learns a part of one model from its own answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.prompt import encode_prompt
from adec.calibration.fit.begun import Begun
from adec.calibration.fit.fit_exits import fit_exits
from adec.calibration.fit.fit_filter import fit_filter
from adec.calibration.fit.fit_first import fit_first
from adec.calibration.fit.fit_neurons import fit_neurons
from adec.calibration.fit.fit_sec import fit_sec
from adec.calibration.fit.fitting import FittedPart, Fitting, check_prompts
from adec.calibration.prompts import chosen_prompts
from adec.decoding.registry import shortcoming
from adec.display.progress import Progress
from adec.engines.base import Capability, EngineName, OpenOptions
from adec.engines.opening import open_engines
from adec.engines.protocols import LayerEngine
from adec.errors import PairError, UsageError
from adec.interrupts import INTERRUPTED, Interrupts
from adec.parts.kept_parts import check_place, keep_part, model_fingerprint, part_path


def _fit_transfer(fitting: Fitting) -> FittedPart:
    # it imports torch, which is there once a model runs on it
    from adec.calibration.fit.fit_transfer import fit_transfer

    return fit_transfer(fitting)


def _fit_ppd(fitting: Fitting) -> FittedPart:
    from adec.calibration.fit.fit_ppd import fit_ppd

    return fit_ppd(fitting)


def _fit_lexical(fitting: Fitting) -> FittedPart:
    from adec.calibration.fit.fit_lexical import fit_lexical

    return fit_lexical(fitting)


FITS: dict[str, Callable[[Fitting], FittedPart]] = {
    "exits": fit_exits,
    "sec": fit_sec,
    "first": fit_first,
    "neurons": fit_neurons,
    "filter": fit_filter,
    "ppd": _fit_ppd,
    "hidden-transfer": _fit_transfer,
    "lexical": _fit_lexical,
}
_LAYERS: frozenset[Capability] = frozenset({"layers", "rewind"})
_FORESEES: frozenset[Capability] = frozenset({"pseudo", "rewind", "tree"})
_VECTORS: frozenset[Capability] = frozenset({"vectors", "rewind", "tree"})
_CANVAS: frozenset[Capability] = frozenset({"canvas"})
_LAYERED = "give a Hugging Face folder of a Llama, Qwen, Mistral, Phi or SmolLM model"
NEEDS: dict[str, tuple[frozenset[Capability], str, str]] = {
    "exits": (_LAYERS, "plain", _LAYERED),
    "sec": (_LAYERS, "plain", _LAYERED),
    "first": (_LAYERS, "plain", _LAYERED),
    "neurons": (_LAYERS, "plain", _LAYERED),
    "ppd": (_VECTORS, "plain", "give a Llama, Qwen 2 or 3 or SmolLM model, as GGUF or as a folder"),
    "hidden-transfer": (_FORESEES, "plain", _LAYERED),
    "lexical": (_FORESEES, "plain", _LAYERED),
    "filter": (_CANVAS, "steps", "give a diffusion model: LLaDA, Dream or practice:canvas"),
}
"""What a model must be capable of, the strategy that writes its answers, and a hint."""


@dataclass(frozen=True)
class FitRequest:
    """What a person typed."""

    kind: str
    model: str
    prompts: Path | None
    seed: int
    seconds: float
    max_tokens: int
    keep: float
    form: str
    quiet: bool
    engine: EngineName | None = None
    """What runs the model; None: what its format asks for."""


def run_fit(request: FitRequest, options: OpenOptions, say: Callable[[str], None]) -> int:
    """The whole command; the exit code. Raises AdecError."""
    if not 0 < request.keep <= 1:
        raise UsageError(f"--keep {request.keep} is not above 0 and at most 1")
    needed, strategy, hint = NEEDS[request.kind]
    header = plan(Choice(model=request.model, engine=request.engine)).models["large"]
    why = shortcoming(header, needed)
    if why is not None:
        raise PairError(
            f"no {request.kind} can be learned for {header.info.name}: {why}", hint=hint
        )
    ready = plan(Choice(model=request.model, strategy=strategy, engine=request.engine))
    prompts = chosen_prompts(request.prompts, request.seed, answers=False)
    check_prompts(prompts)
    fingerprint = model_fingerprint(header.info) or ""
    check_place(request.kind, fingerprint)
    for remark in (*ready.remarks, *prompts.remarks):
        say(remark)
    try:
        with (
            Interrupts() as interrupts,
            Progress(sys.stderr, quiet=request.quiet) as bars,
            closing(open_engines(ready.models, options)) as engines,
        ):
            engine = cast(LayerEngine, engines["large"])
            fitting = Fitting(
                engine, prompts, fingerprint, request.seed, request.seconds, request.max_tokens,
                request.keep, request.form, encode=lambda text: encode_prompt(engine, text)[0],
                stage=lambda name: bars.stage(name, total=1.0),
                update=bars.update, interrupted=lambda: interrupts.asked, remark=say,
            )  # fmt: skip
            measured = FITS[request.kind](fitting)
    except KeyboardInterrupt:
        if Begun(request.kind, fingerprint).exists:
            say("interrupted; what was learned is kept, and the same command goes on from there")
        else:
            say("interrupted; no part was written")
        return INTERRUPTED
    path = keep_part(measured.part)
    sys.stdout.write("\n".join(measured.lines) + "\n")
    say(f"the part is {path}")
    assert path == part_path(request.kind, fingerprint)
    return 0
