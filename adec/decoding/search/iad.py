"""Iterative agent decoding: rounds of whole answers, scored; later rounds see the best so far.

Chakraborty et al. 2025, "On the Role of Feedback in Test-Time Scaling of Agentic AI Workflows"
(IAD), arXiv 2504.01931.

    for each round
        the prompt: at first the question, later with the best and the worst answer so far
        candidates: whole answers to it, the very first one greedy, the others sampled
        a score each, by a verifier or by the large model's log-probability
    commit the answer of the greatest score

What is different here: the paper's prompts and its numbers of rounds and candidates were not at
hand, so those here are our own. With one round it is best-of-N. The best answer is never given up
for a worse one, and the first one is greedy (unless sampling is asked for), so the result never
scores below greedy decoding. A round reads its prompt once, and its answers start from that cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from time import perf_counter
from typing import Literal

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.search.looking import log_of
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Exchange, Limits, Prompt, engine_for
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.errors import AdecError
from adec.events.records import Attempt, Forward, Guarantee, Role, Step, Token
from adec.judging.verifiers import Rating
from adec.sampling import Sampler
from adec.signals import Scores

SHORT = 32
"""Tokens that a prompt with feedback must leave for the answer at least."""


@dataclass(frozen=True, slots=True)
class IadSettings:
    """`--set iad.NAME=VALUE`."""

    rounds: int = setting(3, "rounds at most; 1 is best-of-N", least=1, most=100)
    candidates: int = setting(4, "answers a round", least=1, most=1000)
    temperature: float = setting(
        0.7, "of all but the first answer, unless --temp is given", least=0, most=100
    )
    full: float = setting(1.0, "score of a verifier at which it ends")
    budget: int | None = setting(
        None, "tokens of answers after which none is begun; none: no limit", least=1
    )
    model: Literal["large", "small"] = setting("large", "which model of a pair writes")


class Iad:
    """IAD on one model, or on a pair whose large model judges.

    Without an exchange of texts there is no feedback: every round sees the prompt, and the large
    model judges.
    """

    name = "iad"
    paper = "arXiv 2504.01931"
    guarantee = Guarantee.APPROXIMATE

    def __init__(self, engines: Engines, settings: IadSettings, aids: Aids) -> None:
        """Raises UsageError when the small model shall write and there is none."""
        engine_for(engines, settings.model, f"iad.model={settings.model}")
        self._engines = engines
        self._settings = settings
        self._aids = aids

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """Yield a step an answer, without tokens; then one step with the best answer's tokens.

        Ends with the best so far when interrupted. Raises AdecError when the verifier could score
        no answer, with its feedback on the first. See also `Strategy.generate`.
        """
        nothing = Exchange("", lambda _: list(prompt.ids), lambda _: "")
        exchange = self._aids.exchange() or nothing
        return _Contest(self._engines, self._settings, exchange, prompt, limits).run()


@dataclass
class _Answer:
    """A whole answer that competes."""

    round: int
    tokens: list[Token]
    forwards: list[Forward]
    own_ms: float
    log: float | None
    """Sum of the tokens' log-probabilities (nats), if the judge wrote it and so knows them."""
    rating: Rating = field(default_factory=lambda: Rating(None))

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]

    @property
    def fed(self) -> int:
        return sum(forward.tokens for forward in self.forwards)

    @property
    def score(self) -> float:
        """For comparisons; -inf without a score."""
        return -math.inf if self.rating.score is None else self.rating.score


class _Contest:
    """The answers to one question."""

    def __init__(
        self,
        engines: Engines,
        settings: IadSettings,
        texts: Exchange,
        prompt: Prompt,
        limits: Limits,
    ) -> None:
        self._role: Role = settings.model
        self._writer: Engine = engines[settings.model]
        self._large: Engine = engines["large"]
        self._context = engines.context
        self._settings = settings
        self._exchange = texts
        self._prompt = prompt
        self._limits = limits
        self._answers: list[_Answer] = []

    def run(self) -> Iterator[Step]:
        settings, limits = self._settings, self._limits
        for number in range(1, settings.rounds + 1):
            yield from self._round(number)
            full = self._exchange.verify is not None and self._best.score >= settings.full
            if full or self._spent or limits.interrupted():
                break
        best = self._best
        if best.rating.score is None and not limits.interrupted():
            why = self._answers[0].rating.feedback or "the verifier gave no number"
            raise AdecError(f"no answer could be scored: {why}")
        yield Step("write", tuple(best.tokens))

    def _round(self, number: int) -> Iterator[Step]:
        """The answers of one round, each scored.

        A verifier scores each as it is written, so that a full score ends the round. The large
        model judges all at the end, since its cache would have to be read anew for every answer; it
        does not read again what it wrote itself after the bare prompt.
        """
        answers, limits, verify = self._answers, self._limits, self._exchange.verify
        prompt = self._prompt if number == 1 else self._prompt_with_feedback()
        bare = prompt == self._prompt
        scores = yield from read_prompt(self._writer, self._role, prompt.ids, limits)
        judges = verify is None and self._writer is self._large and bare
        fresh: list[_Answer] = []
        for _ in range(self._settings.candidates):
            if answers and (self._spent or limits.interrupted()):
                break
            one = self._write(number, scores, prompt, judges=judges)
            answers.append(one)
            if limits.interrupted():
                # half an answer; it counts only if there is no other
                yield self._step(one)
                break
            if verify is None:
                fresh.append(one)
                continue
            yield self._verified(one)
            if one.score >= self._settings.full:
                return
        for place, one in enumerate(fresh):
            if one.log is not None:
                one.rating = Rating(one.log / len(one.tokens))
            else:
                held = bare if self._writer is self._large else number > 1
                self._judge(one, held=held or place > 0)
            yield self._step(one)

    def _write(self, number: int, scores: Scores, prompt: Prompt, *, judges: bool) -> _Answer:
        """One answer to `prompt`, whose last row is `scores`.

        `judges`: the writer is the judge, too, so the answer's log-probability is wanted.
        """
        engine, limits = self._writer, replace(self._limits, sampler=self._next_sampler())
        answer, meter = AnswerState(prompt, limits, self._context), limits.meter()
        meter.rewind(engine, self._role, len(prompt.ids))
        tokens: list[Token] = []
        log = 0.0
        while not answer.done:
            token = limits.sampler.pick(scores, 0, len(answer.sequence))
            tokens.append(answer.describe(scores, 0, token, self._role))
            answer.sequence.append(token)
            if judges:
                log += log_of(scores.probability(0, token))
            if answer.done or limits.interrupted():
                break
            scores = meter.forward(engine, self._role, "write", [token])
        step = meter.step("attempt")
        known = log if judges else None
        return _Answer(number, tokens, list(step.forwards), step.own_ms, known)

    def _verified(self, one: _Answer) -> Step:
        """Let the verifier score an answer, unless it has scored the same one before."""
        exchange = self._exchange
        assert exchange.verify is not None
        began = perf_counter()
        known = next((other for other in self._answers if other.ids == one.ids), one)
        one.rating = known.rating if known is not one else exchange.verify(exchange.text(one.ids))
        return self._step(one, 1000 * (perf_counter() - began))

    def _judge(self, one: _Answer, *, held: bool) -> None:
        """Score an answer by its mean log-probability, in one forward of the large model.

        `held`: the large model's cache begins with the prompt. If not, it may hold one with
        feedback, or nothing.
        """
        engine, ids, prompt, meter = self._large, one.ids, self._prompt.ids, self._limits.meter()
        known = len(prompt) - 1 if held else 0
        meter.rewind(engine, "large", known)
        unread = [*prompt[known:], *ids[:-1]]
        rows = meter.forward(engine, "large", "verify", unread, rows=len(ids))
        logs = [log_of(rows.probability(i, token)) for i, token in enumerate(ids)]
        one.rating = Rating(sum(logs) / len(logs))
        one.forwards += meter.forwards

    def _step(self, one: _Answer, verify_ms: float = 0.0) -> Step:
        ids, rating = one.ids, one.rating
        attempt = Attempt(
            one.round,
            tuple(ids),
            rating.score,
            one is self._best and rating.score is not None,
            rating.feedback,
            verify_ms,
            self._exchange.text(ids),
        )
        return Step("attempt", (), tuple(one.forwards), one.own_ms, detail=attempt)

    @property
    def _best(self) -> _Answer:
        """The answer of the greatest score, the earliest among equals; any score beats none."""
        return max(self._answers, key=lambda one: one.score)

    def _next_sampler(self) -> Sampler:
        """The run's own for the first answer; the others are sampled, each with other draws."""
        sampler, count = self._limits.sampler, len(self._answers)
        if count == 0:
            return sampler
        temperature = sampler.temperature or self._settings.temperature
        return replace(sampler, temperature=temperature, seed=(sampler.seed + count) % 2**64)

    @property
    def _spent(self) -> bool:
        """Whether no further answer may be begun; the same as long as the answers are the same."""
        answers, most = self._answers, self._exchange.budget
        if most is not None:
            fed = sum(one.fed for one in answers)
            left = (most - fed) / max(1.0, fed / len(answers))
            chance = Random(f"budget {self._limits.sampler.seed} {len(answers)}").random()
            return left < 1 and chance >= left
        budget = self._settings.budget
        return budget is not None and sum(len(one.tokens) for one in answers) >= budget

    def _prompt_with_feedback(self) -> Prompt:
        """The question with the best and the worst answer, or as much of that as leaves room."""
        exchange = self._exchange
        scored = [one for one in self._answers if one.rating.score is not None]
        if not exchange.question or not scored:
            return self._prompt
        best, worst = self._best, min(scored, key=lambda one: one.score)
        room = self._context - max(SHORT, 2 * len(best.tokens))
        for shown in ((best, worst), (best,)):
            if len(shown) == 2 and best.score == worst.score:
                continue
            parts = [(exchange.text(one.ids), one.rating) for one in shown]
            ids = exchange.encode(with_feedback(exchange.question, parts))
            if len(ids) <= room:
                return Prompt(tuple(ids))
        return self._prompt


def with_feedback(question: str, shown: Sequence[tuple[str, Rating]]) -> str:
    """The question, one or two earlier answers (best, then worst) with feedback, the task."""
    names = ("The best", "The worst") if len(shown) > 1 else ("An earlier answer",)
    parts = [question]
    for name, (text, rating) in zip(names, shown, strict=True):
        score = "none" if rating.score is None else f"{rating.score:.4g}"
        feedback = f"\n{rating.feedback}" if rating.feedback else ""
        parts.append(f"{name} (score {score}):\n{text}{feedback}")
    wish = "Write a better answer to the question. Keep what is right in the best one"
    parts.append(f"{wish}, avoid what makes the worst one worse." if len(shown) > 1 else f"{wish}.")
    return "\n\n".join(parts)
