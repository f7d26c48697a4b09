"""Every row answers every prompt, in an order drawn anew for each: all see the same machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from msgspec.structs import replace as changed

from adec.answering.prompt import encode_prompt
from adec.answering.session import Question
from adec.benchmark.decoders import BenchDecoder, Interrupted, Reply
from adec.benchmark.samples import PLAIN, BenchAnswer, Difference, PromptResult
from adec.benchmark.tasks.task import Task
from adec.engines.base import Engine
from adec.engines.exactness.invariance import logit_gap, measure_invariance, reach_of
from adec.engines.exactness.kept_invariance import keep_invariance, kept_invariance
from adec.engines.pair import Engines
from adec.errors import AdecError, UsageError
from adec.machine import load_average
from adec.sampling import Sampler

WARM_TOKENS = 24
"""Tokens of a warm-up answer: enough that caches, threads and kernels are ready."""


@dataclass(frozen=True)
class BenchSettings:
    """How each prompt is run; the same for all rows."""

    runs: int = 1
    seed: int = 0
    max_tokens: int = 256
    sampler: Sampler = field(default_factory=Sampler)
    system: str | None = None
    raw: bool = False
    stop: tuple[str, ...] = ()
    allow_exec: bool = False


class Bench:
    """Rows ready to run. One of them should be named "plain"; without it there are no ratios."""

    def __init__(
        self,
        decoders: Sequence[BenchDecoder],
        settings: BenchSettings,
        *,
        engines: Engines | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.decoders = list(decoders)
        self.remarks: list[str] = []
        self._settings = settings
        self._engines = engines
        self._close = close
        self._noise: float | None = None  # of the large model's logits, once it is needed

    def close(self) -> None:
        """Free every row and the engines."""
        for decoder in self.decoders:
            decoder.close()
        self._close()

    def warm(self, task: Task, interrupted: Interrupted) -> None:
        """Let every row answer the words of `task` in reverse order, which helps no later answer.

        A peer that fails is left out, with a remark. Raises AdecError when a strategy fails.
        """
        question = replace(self._question(task, 0), text=" ".join(task.prompt.split()[::-1]))
        question = replace(question, max_tokens=min(WARM_TOKENS, question.max_tokens), budget=1)
        working = []
        for decoder in self.decoders:
            try:
                for run in range(self._settings.runs):
                    if not interrupted():
                        decoder.reply(question, run, interrupted)
            except UsageError:
                pass  # a prompt too long for the context: the run itself will say so
            except AdecError as error:
                if decoder.header.kind == "strategy":
                    raise
                self.remarks.append(f"{decoder.header.name} is left out: {error}")
                decoder.close()
                continue
            working.append(decoder)
        self.decoders = working

    def run(self, task: Task, interrupted: Interrupted) -> PromptResult | None:
        """Let all rows answer a prompt, `runs` times each; None when interrupted half way."""
        answers: list[BenchAnswer] = []
        load = machine_load()
        for run in range(self._settings.runs):
            order = list(self.decoders)
            Random(f"{self._settings.seed} {task.index} {run}").shuffle(order)
            # a row that may spend what another spent comes after it
            order.sort(key=lambda decoder: bool(decoder.header.follows))
            question = self._question(task, run)
            replies: dict[str, Reply] = {}
            for decoder in order:
                name = decoder.header.name
                try:
                    followed = replies.get(decoder.header.follows)
                    budget = None if followed is None else followed.answer.fed
                    reply = decoder.reply(replace(question, budget=budget), run, interrupted)
                except AdecError as error:
                    reply = Reply(BenchAnswer(name, run, 0.0, 0, "", error=str(error)[:300]), None)
                if reply is None or interrupted():
                    return None
                replies[name] = reply
            answers += [
                self._judged(task, question, c, replies[c.header.name], replies.get(PLAIN))
                for c in self.decoders
            ]
        return PromptResult(
            task.index, task.group, task.kind, tuple(answers), task.dependence_nats, load
        )

    def _question(self, task: Task, run: int) -> Question:
        own = self._settings
        seed = (own.seed + 7919 * task.index + run) % 2**32
        return Question(
            task.prompt,
            system=own.system,
            raw=own.raw,
            max_tokens=own.max_tokens,
            sampler=replace(own.sampler, seed=seed),
            stop=own.stop,
            signals=False,
        )

    def _judged(
        self,
        task: Task,
        question: Question,
        decoder: BenchDecoder,
        reply: Reply,
        plain: Reply | None,
    ) -> BenchAnswer:
        answer = reply.answer
        if answer.error is not None:
            return answer
        right = task.judge(answer.text, allow_exec=self._settings.allow_exec)
        answer = changed(answer, right=right)
        if plain is None or plain.answer.error is not None or plain.ids is None:
            return answer
        if reply.ids is None:
            return changed(answer, same=answer.text.strip() == plain.answer.text.strip())
        same = reply.ids == plain.ids
        answer = changed(answer, same=same, leading=common(plain.ids, reply.ids))
        # when sampling, exact means an equal distribution, not equal tokens
        greedy = self._settings.sampler.greedy
        exact = decoder.header.kind == "strategy" and decoder.header.guarantee == "exact"
        if same or not (greedy and exact) or self._engines is None:
            return answer
        large = self._engines["large"]
        if "canvas" in large.capabilities:  # there is no row of a next token to compare
            return answer
        prompt, _ = encode_prompt(large, question.text, system=question.system, raw=question.raw)
        if self._noise is None:
            reach = reach_of(len(prompt) + len(plain.ids), large.context)
            found = measure_invariance(large, prompt, plain.ids, reach=reach)
            known = kept_invariance(large)
            if known is None or known.length <= found.length:
                keep_invariance(large, found)
            self._noise = found.most if known is None else max(found.most, known.most)
        difference = first_difference(large, prompt, plain.ids, reply.ids)
        return changed(answer, difference=difference and changed(difference, noise=self._noise))


def machine_load() -> float | None:
    """Processes that want to run, per core; None where the system does not say."""
    load = load_average()
    return None if load is None else load / (os.cpu_count() or 1)


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """Leading tokens that two answers share."""
    for position, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return position
    return min(len(first), len(second))


def first_difference(
    large: Engine, prompt: Sequence[int], plain: Sequence[int], other: Sequence[int]
) -> Difference | None:
    """Where `other` leaves the tokens of `plain`; None when they are equal.

    Runs the large model once over what they share. Raises EngineError.
    """
    if tuple(plain) == tuple(other):
        return None
    position = common(plain, other)
    ends = [tuple(ids[position : position + 1]) for ids in (plain, other)]
    names = [large.vocabulary.name(end[0]) if end else "nothing" for end in ends]
    large.rewind(0)
    scores = large.forward([*prompt, *plain[:position]], rows=1)
    best = scores.top(0, 2)
    gap = logit_gap(scores, 0, ends[0][0], ends[1][0]) if all(ends) else None
    best_gap = logit_gap(scores, 0, best[0][0], best[1][0]) if len(best) == 2 else None
    large.rewind(0)
    return Difference(position, names[0], names[1], gap, best_gap)
