"""Every row answers every prompt, one after the other in an order drawn anew for each, so that all see the same machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from msgspec.structs import replace as changed

from adec.answering.prompt import encode_prompt
from adec.answering.session import Question
from adec.benchmark.decoders import Contestant, Interrupted, Reply
from adec.benchmark.divergence import common, first_difference
from adec.benchmark.samples import PLAIN, BenchAnswer, PromptResult
from adec.benchmark.tasks.task import Task
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
        contestants: Sequence[Contestant],
        settings: BenchSettings,
        *,
        engines: Engines | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.contestants = list(contestants)
        self.remarks: list[str] = []
        self._settings = settings
        self._engines = engines
        self._close = close

    def close(self) -> None:
        """Free every row and the engines."""
        for contestant in self.contestants:
            contestant.close()
        self._close()

    def warm(self, task: Task, interrupted: Interrupted) -> None:
        """A short answer of every row to the words of `task` in reverse order: nothing in it helps later.

        A peer that fails is left out, with a remark. Raises AdecError when a strategy fails.
        """
        question = replace(self._question(task, 0), text=" ".join(task.prompt.split()[::-1]))
        question = replace(question, max_tokens=min(WARM_TOKENS, question.max_tokens), budget=1)
        working = []
        for contestant in self.contestants:
            try:
                for run in range(self._settings.runs):
                    if not interrupted():
                        contestant.reply(question, run, interrupted)
            except UsageError:
                pass  # a prompt too long for the context: the run itself will say so
            except AdecError as error:
                if contestant.header.kind == "strategy":
                    raise
                self.remarks.append(f"{contestant.header.name} is left out: {error}")
                contestant.close()
                continue
            working.append(contestant)
        self.contestants = working

    def run(self, task: Task, interrupted: Interrupted) -> PromptResult | None:
        """All rows on one prompt, `runs` times; None when interrupted: a prompt is done wholly or not at all."""
        answers: list[BenchAnswer] = []
        load = machine_load()
        for run in range(self._settings.runs):
            order = list(self.contestants)
            Random(f"{self._settings.seed} {task.index} {run}").shuffle(order)
            # a row that may spend what another spent comes after it
            order.sort(key=lambda contestant: bool(contestant.header.follows))
            question = self._question(task, run)
            replies: dict[str, Reply] = {}
            for contestant in order:
                name = contestant.header.name
                try:
                    asked = self._with_budget(question, replies.get(contestant.header.follows))
                    reply = contestant.reply(asked, run, interrupted)
                except AdecError as error:
                    reply = Reply(BenchAnswer(name, run, 0.0, 0, "", error=str(error)[:300]), None)
                if reply is None or interrupted():
                    return None
                replies[name] = reply
            answers += [
                self._judged(task, question, c, replies[c.header.name], replies.get(PLAIN))
                for c in self.contestants
            ]
        return PromptResult(
            task.index, task.group, task.kind, tuple(answers), task.dependence_nats, load
        )

    def _with_budget(self, question: Question, followed: Reply | None) -> Question:
        """The question to a row that may be fed as many tokens as the one that it follows."""
        fed = None if followed is None else followed.answer.fed
        return question if fed is None else replace(question, budget=fed)

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
        contestant: Contestant,
        reply: Reply,
        plain: Reply | None,
    ) -> BenchAnswer:
        answer = reply.answer
        if answer.error is not None:
            return answer
        answer = changed(
            answer, right=task.judge(answer.text, allow_exec=self._settings.allow_exec)
        )
        if plain is None or plain.answer.error is not None or plain.ids is None:
            return answer
        if reply.ids is None:
            return changed(answer, same=answer.text.strip() == plain.answer.text.strip())
        same = reply.ids == plain.ids
        answer = changed(answer, same=same, leading=common(plain.ids, reply.ids))
        if same or not self._must_be_same(contestant) or self._engines is None:
            return answer
        large = self._engines["large"]
        prompt, _ = encode_prompt(large, question.text, system=question.system, raw=question.raw)
        return changed(answer, difference=first_difference(large, prompt, plain.ids, reply.ids))

    def _must_be_same(self, contestant: Contestant) -> bool:
        """Greedy answers of an exact strategy; when sampling, exact is a matter of distributions."""
        header = contestant.header
        greedy = self._settings.sampler.temperature == 0
        return greedy and header.kind == "strategy" and header.guarantee == "exact"


def machine_load() -> float | None:
    """Processes that want to run, per core; None where the system does not say."""
    load = load_average()
    return None if load is None else load / (os.cpu_count() or 1)
