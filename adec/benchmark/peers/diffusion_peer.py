"""llama.cpp's own program for diffusion models: one process a prompt, a fixed number of steps.

The program fills its canvas to the end, block by block, whatever end tokens stand in it, and keeps
no keys and values. Its canvas is as long as the answer may be. It renders the question with the
model's chat template itself, so it gets the question and not the rendered prompt.

It has no greedy decoding in the order of confidences: with a temperature of 0 it draws from the
model's own distribution, and with the likeliest token alone (`--top-k 1`) all positions are equally
sure, so that it fills them from left to right. A low temperature comes nearest.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from adec.answering.prompt import encode_prompt
from adec.answering.session import Question
from adec.benchmark.decoders import Interrupted, Reply
from adec.benchmark.peers.llama_program import (
    ATTEMPTS,
    last_words,
    run_program,
    shared_options,
)
from adec.benchmark.samples import BenchAnswer, RowHeader
from adec.engines.base import OpenOptions
from adec.engines.pair import Engines
from adec.errors import EngineError

BLOCK = 32
"""Positions of a block, as adec's own by default."""
TEMPERATURE = 0.1
"""Of a greedy row: the likeliest token nearly always, and an order by the sharpened probability."""

_STEP = "diffusion step:"
"""What it says before each forward."""
_TIMED = re.compile(r"total time:\s*([\d.]+)\s*ms[^\n]*\n(?:\d+(?:\.\d+){3} [A-Z] (?=\n))?")
"""The time, and what newer builds put before each entry of the log: hours to microseconds and a
level. The answer, which is the next entry, begins on a line of its own."""


class DiffusionPeer:
    """The program on one GGUF file."""

    def __init__(
        self,
        header: RowHeader,
        program: str,
        engines: Engines,
        options: OpenOptions,
        a_step: int = 1,
    ) -> None:
        """`a_step`: positions that stand after each forward; a divisor of the block."""
        self.header = header
        self._program = program
        self._engines = engines
        self._options = options
        self._a_step = a_step

    def reply(self, question: Question, run: int, interrupted: Interrupted) -> Reply | None:
        """See `BenchDecoder.reply`. Raises EngineError."""
        large = self._engines["large"]
        if question.raw:
            raise EngineError(f"{self.header.name} renders every prompt as a question")
        ids, _ = encode_prompt(large, question.text, system=question.system)
        command = self._command(question, len(ids))
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(ATTEMPTS):
                done = run_program(self.header.name, command, Path(folder), interrupted)
                if done is None:
                    return None
                _, log, peak = done
                timed = _TIMED.search(log)
                if timed is not None:
                    break
            else:
                raise EngineError(f"{self.header.name} printed no times: {last_words(log)}")
        # end tokens are not printed, and what follows them is
        text = timed.string[timed.end() :].strip()
        tokens = min(question.max_tokens, len(large.tokenizer.encode(text, special=False)) + 1)
        seconds = float(timed[1]) / 1000
        # nothing of an answer is known before all of it is
        answer = BenchAnswer(
            self.header.name, run, seconds, tokens, text, finish="end",
            first_seconds=seconds, peak_bytes=peak, large_forwards=log.count(_STEP) or None,
        )  # fmt: skip
        return Reply(answer, None)

    def close(self) -> None:
        """Nothing stays between two prompts."""

    def _command(self, question: Question, prompt: int) -> list[str]:
        large, sampler = self._engines["large"], question.sampler
        # it counts blocks from the beginning of the prompt, and fills them from its end
        length = _rounded(prompt + _rounded(question.max_tokens, BLOCK), BLOCK)
        words = [
            self._program, "-m", str(large.info.path), "-p", question.text,
            "-c", str(length), "-b", str(length), "-ub", str(length),
            "--diffusion-steps", str(length // self._a_step),
            "--diffusion-block-length", str(BLOCK), "--diffusion-algorithm", "4",
            "--seed", str(sampler.seed),
            "--temp", str(TEMPERATURE if sampler.greedy else sampler.temperature),
            "--top-k", str(sampler.top_k), "--top-p", str(sampler.top_p),
            *shared_options(self._options),
        ]  # fmt: skip
        return words if question.system is None else [*words, "-sys", question.system]


def _rounded(count: int, block: int) -> int:
    """The next multiple of a block."""
    return -(-count // block) * block
