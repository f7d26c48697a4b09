"""llama.cpp's own quantiser: a GGUF file with fewer bits a weight."""

from __future__ import annotations

import os
from pathlib import Path

from adec.engines.llama.llama_library import failure, library, log
from adec.errors import EngineError

PURE = {"Q2_K": 10, "Q3_K": 11, "Q4_K": 14, "Q5_K": 16, "Q6_K": 18, "Q8_0": 7}
"""Types that all tensors of a file may have, by llama.cpp's number of such a file. A tensor whose
rows such a type cannot hold gets the next larger type that can."""

MIXES = {
    "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15,
    "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
}  # fmt: skip
"""llama.cpp's mixes: more bits for some tensors, by their names and places."""


def quantise(path: Path, to: Path, kind: int, *, pure: bool, threads: int) -> None:
    """Write the model at `path` as a file of llama.cpp's number `kind`; `pure`: without its mix.

    A file that is quantised already is quantised anew, from what it holds. Raises EngineError.
    """
    module = library()
    parameters = module.llama_model_quantize_default_params()
    parameters.nthread = threads
    parameters.ftype = kind
    parameters.allow_requantize = True
    parameters.pure = pure
    log.take_error()
    failed = module.llama_model_quantize(os.fsencode(path), os.fsencode(to), parameters)
    if failed or not to.exists():
        raise failure(f"llama.cpp cannot quantise {path}")
    if to.stat().st_size == 0:
        raise EngineError(f"llama.cpp wrote nothing for {path}")
