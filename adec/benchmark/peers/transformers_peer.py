"""transformers' own `generate` as rows, on the modules that adec's torch engines have loaded."""

from __future__ import annotations

from time import perf_counter

from adec.answering.prompt import encode_prompt
from adec.answering.session import Question
from adec.answering.text import TextStream
from adec.benchmark.decoders import Interrupted, Reply
from adec.benchmark.memory import peak_bytes, reset_peak
from adec.benchmark.samples import BenchAnswer, RowHeader
from adec.engines.pair import Engines
from adec.errors import UsageError


class TransformersPeer:
    """One way of calling `generate`; which one the row's name says."""

    def __init__(self, header: RowHeader, engines: Engines, beams: int = 1) -> None:
        self.header = header
        self._beams = beams
        self._engines = engines

    def reply(self, question: Question, run: int, interrupted: Interrupted) -> Reply | None:
        from adec.engines.torch.torch_generate import generate

        began = perf_counter()
        large, small = self._engines["large"], self._engines.get("small")
        prompt, _ = encode_prompt(large, question.text, system=question.system, raw=question.raw)
        if len(prompt) >= self._engines.context:
            raise UsageError(
                f"the prompt has {len(prompt):,} tokens, the context holds {self._engines.context:,}"
            )
        reset_peak()
        way = self.header.name
        made = generate(
            large,
            prompt,
            min(question.max_tokens, self._engines.context - len(prompt)),
            question.sampler,
            assistant=small if way == "transformers-assisted" else None,
            lookup=way == "transformers-lookup",
            beams=self._beams,
            interrupted=interrupted,
        )
        if made is None:
            return None
        seconds = perf_counter() - began
        text = _text(self._engines, made.tokens)
        answer = BenchAnswer(
            self.header.name, run, seconds, len(made.tokens), text,
            first_seconds=None if made.first is None else made.first - began,
            peak_bytes=peak_bytes(), large_fed=made.fed, small_fed=made.assistant_fed,
        )  # fmt: skip
        return Reply(answer, tuple(made.tokens))

    def close(self) -> None:
        """The modules belong to the engines."""


def _text(engines: Engines, ids: tuple[int, ...]) -> str:
    from adec.events.records import Step, Token

    stream = TextStream(engines["large"].vocabulary)
    steps = stream.read([Step("write", tuple(Token(token, "large") for token in ids))])
    return "".join(token.text for step in steps for token in step.tokens)
