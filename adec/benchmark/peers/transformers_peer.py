"""transformers' own `generate`, on the modules that adec's torch engines have loaded."""

from __future__ import annotations

from time import perf_counter

from adec.answering.prompt import encode_prompt
from adec.answering.session import Question
from adec.answering.text import text_of
from adec.benchmark.decoders import Interrupted, Reply, peak_bytes, reset_peak
from adec.benchmark.samples import BenchAnswer, RowHeader
from adec.engines.pair import Engines
from adec.errors import UsageError


class TransformersPeer:
    """One way of calling `generate`, which the row's name tells."""

    def __init__(
        self, header: RowHeader, engines: Engines, beams: int = 1, early_exit: int = 0
    ) -> None:
        self.header = header
        self._beams = beams
        self._early_exit = early_exit
        self._engines = engines

    def reply(self, question: Question, run: int, interrupted: Interrupted) -> Reply | None:
        from adec.engines.torch.torch_generate import generate

        began = perf_counter()
        large, context = self._engines["large"], self._engines.context
        prompt, _ = encode_prompt(large, question.text, system=question.system, raw=question.raw)
        if len(prompt) >= context:
            raise UsageError(
                f"the prompt has {len(prompt):,} tokens, the context holds {context:,}"
            )
        reset_peak()
        way = self.header.name
        drafts = way in ("transformers-assisted", "transformers-universal")
        made = generate(
            large,
            prompt,
            min(question.max_tokens, context - len(prompt)),
            question.sampler,
            assistant=self._engines["small"] if drafts else None,
            by_text=way == "transformers-universal",
            lookup=way == "transformers-lookup",
            beams=self._beams,
            early_exit=self._early_exit,
            interrupted=interrupted,
        )
        if made is None:
            return None
        seconds = perf_counter() - began
        text = text_of(large.vocabulary, made.tokens)
        answer = BenchAnswer(
            self.header.name, run, seconds, len(made.tokens), text,
            first_seconds=None if made.first is None else made.first - began,
            peak_bytes=peak_bytes(), large_fed=made.fed, small_fed=made.assistant_fed,
        )  # fmt: skip
        return Reply(answer, tuple(made.tokens))

    def close(self) -> None:
        """The modules belong to the engines."""
