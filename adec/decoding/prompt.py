"""Reading the prompt, in chunks: between two of them progress can be shown and Ctrl-C heard."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from adec.decoding.meter import Meter
from adec.engines.base import Engine
from adec.events.records import Role, Step
from adec.signals import Scores


def read_prompt(
    engine: Engine, model: Role, prompt: Sequence[int], chunk: int
) -> Generator[Step, None, Scores]:
    """Empty the engine's sequence and feed `prompt`; yields a step a chunk, returns the last row.

    The row's scores predict the token after the prompt.
    """
    engine.rewind(0)
    meter = Meter()
    while True:
        meter.start()
        part = prompt[engine.length : engine.length + chunk]
        last = engine.length + len(part) == len(prompt)
        scores = meter.forward(engine, model, "prompt", part, rows=int(last))
        yield meter.step("prompt")
        if last:
            return scores
