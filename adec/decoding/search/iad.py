"""Iterative agent decoding: rounds of whole answers, scored by a verifier; later rounds see the best and the worst so far.

Chakraborty et al. 2025, "On the Role of Feedback in Test-Time Scaling of Agentic AI Workflows" (IAD), arXiv 2504.01931. The
paper's prompts and numbers of rounds and candidates were not at hand: those here are our own. With one round it is best-of-N.

The best answer is never given up for a worse one, and the first answer is the greedy one (unless sampling is asked for), so that the
result never scores below greedy decoding. A round reads its prompt once, and its answers start from that cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from time import perf_counter
from typing import Literal

from adec.decoding.answer import AnswerState
from adec.decoding.meter import Meter
from adec.decoding.prompt import read_prompt
from adec.decoding.search.looking import log_of
from adec.decoding.settings import setting
from adec.decoding.strategy import Limits
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.errors import AdecError, UsageError
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
    temperature: float = setting(0.7, "of all but the first answer, unless --temp is given", least=0, most=100)  # fmt: skip
    full: float = setting(1.0, "score of a verifier at which it ends")
    budget: int | None = setting(
        None, "tokens of answers after which none is begun; none: no limit", least=1
    )
    model: Literal["large", "small"] = setting("large", "which model of a pair writes")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the loop needs of the world of texts, given by the session: here, as everywhere in decoding, answers are ids."""

    question: str
    encode: Callable[[str], list[int]]
    """From a question to the ids of its prompt."""
    text: Callable[[Sequence[int]], str]
    """From the ids of an answer to its text."""
    verify: Callable[[str], Rating] | None = None
    """The score of an answer's text; None: its mean log-probability under the large model."""
    interrupted: Callable[[], bool] = lambda: False
    budget: int | None = None
    """Tokens fed for answers, on average over many questions; None: as the settings say. Unlike `iad.budget` it is not
    overshot: an answer for which a part of the budget is left is begun with the probability that is that part of the
    mean length so far, drawn by the sampler's seed."""


@dataclass
class _Answer:
    round: int
    tokens: list[Token]
    forwards: list[Forward]
    own_ms: float
    log: float | None = None
    """Sum of the tokens' log-probabilities (nats), where they are known from the writing."""
    rating: Rating = field(default_factory=lambda: Rating(None))

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]

    @property
    def fed(self) -> int:
        return sum(forward.tokens for forward in self.forwards)


class Iad:
    """IAD on one model, or on a pair whose large model judges."""

    name = "iad"
    paper = "arXiv 2504.01931"
    guarantee = Guarantee.APPROXIMATE

    def __init__(self, engines: Engines, settings: IadSettings) -> None:
        """Raises UsageError when the small model shall write and there is none."""
        self._writer: Engine = engines["large"]
        if settings.model == "small":
            if "small" not in engines:
                raise UsageError(
                    "iad.model=small needs a pair", hint="give --small and --large, or --pair"
                )
            self._writer = engines["small"]
        self._role: Role = settings.model
        self._large = engines["large"]
        self._context = engines.context
        self._settings = settings

    def generate(self, prompt: list[int], limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`. Without texts there is no feedback: every round sees the prompt, the large model judges."""
        nothing = Exchange("", lambda _: prompt, lambda _: "")
        return self.answer(nothing, prompt, limits)

    def answer(self, exchange: Exchange, prompt: list[int], limits: Limits) -> Iterator[Step]:
        """A step an answer, without tokens; then one step with the best answer's tokens.

        Raises AdecError when the verifier could score no answer, with what it said of the first.
        """
        chosen = self._settings
        answers: list[_Answer] = []
        for number in range(1, chosen.rounds + 1):
            asked = prompt if number == 1 else self._asked(exchange, prompt, answers)
            yield from self._round(exchange, prompt, asked, limits, answers, number)
            scored = best_of(answers)
            full = exchange.verify is not None and _score(scored) >= chosen.full
            if full or self._spent(exchange, limits, answers) or exchange.interrupted():
                break
        best = best_of(answers)
        if best.rating.score is None and not exchange.interrupted():
            raise AdecError(
                f"no answer could be scored: {answers[0].rating.feedback or 'the verifier gave no number'}"
            )
        yield Step("write", tuple(best.tokens))

    def _round(
        self,
        exchange: Exchange,
        prompt: list[int],
        asked: list[int],
        limits: Limits,
        answers: list[_Answer],
        number: int,
    ) -> Iterator[Step]:
        """The answers of one round. A verifier outside is asked after each, so that a full score ends it; the large model
        judges all at the end, since its cache would have to be read anew for every answer. What it wrote itself after the
        bare prompt it has judged in writing, and reads no more."""
        scores = yield from read_prompt(self._writer, self._role, asked, limits.chunk)
        fresh: list[_Answer] = []
        judges = exchange.verify is None and self._writer is self._large and asked == prompt
        for _ in range(self._settings.candidates):
            if answers and (self._spent(exchange, limits, answers) or exchange.interrupted()):
                break
            sampler = self._sampler(limits.sampler, len(answers))
            one = self._write(
                exchange, scores, asked, replace(limits, sampler=sampler), judges=judges
            )
            one.round = number
            answers.append(one)
            if exchange.interrupted():
                # half an answer; it counts only if there is no other
                yield self._step(exchange, one, best_of(answers), 0.0)
                break
            if exchange.verify is None:
                fresh.append(one)
                continue
            yield self._judged(exchange, one, answers)
            if _score(one) >= self._settings.full:
                return
        for place, one in enumerate(fresh):
            before = asked == prompt if self._writer is self._large else number > 1
            if one.log is not None:
                one.rating = Rating(one.log / len(one.tokens))
            else:
                self._likelihood(prompt, one, held=before or place > 0)
            yield self._step(exchange, one, best_of(answers), 0.0)

    def _write(
        self, exchange: Exchange, scores: Scores, asked: list[int], limits: Limits, *, judges: bool
    ) -> _Answer:
        """One answer to the prompt `asked`, whose last row is `scores`.

        `judges`: the writer is the judge, too, so the answer's log-probability is wanted.
        """
        engine, meter, answer = self._writer, Meter(), AnswerState(asked, limits, self._context)
        engine.rewind(len(asked))
        tokens: list[Token] = []
        log = 0.0
        while not answer.done:
            token = limits.sampler.pick(scores, 0, len(answer.sequence))
            tokens.append(answer.describe(scores, 0, token, self._role))
            answer.commit(tokens[-1:])
            if judges:
                log += log_of(scores.probability(0, token))
            if answer.done or exchange.interrupted():
                break
            scores = meter.forward(engine, self._role, "write", [token])
        step = meter.step("attempt")
        known = log if judges else None
        return _Answer(0, tokens, list(step.forwards), step.own_ms, known)

    def _judged(self, exchange: Exchange, one: _Answer, answers: list[_Answer]) -> Step:
        """Ask the verifier, unless it was asked about the same answer."""
        assert exchange.verify is not None
        began = perf_counter()
        known = next((other for other in answers if other.ids == one.ids), one)
        one.rating = known.rating if known is not one else exchange.verify(exchange.text(one.ids))
        ms = 1000 * (perf_counter() - began)
        return self._step(exchange, one, best_of(answers), ms)

    def _likelihood(self, prompt: list[int], one: _Answer, *, held: bool) -> None:
        """Score an answer by its mean log-probability after the prompt, in one forward of the large model.

        `held`: its sequence begins with the prompt; else it may hold one with feedback, or nothing.
        """
        engine, ids, meter = self._large, one.ids, Meter()
        known = len(prompt) - 1 if held else 0
        engine.rewind(known)
        unread = [*prompt[known:], *ids[:-1]]
        rows = meter.forward(engine, "large", "verify", unread, rows=len(ids))
        logs = [log_of(rows.probability(i, token)) for i, token in enumerate(ids)]
        one.rating = Rating(sum(logs) / len(logs))
        one.forwards += meter.forwards

    def _step(self, exchange: Exchange, one: _Answer, best: _Answer, ms: float) -> Step:
        ids = one.ids
        attempt = Attempt(
            one.round,
            tuple(ids),
            one.rating.score,
            one is best and one.rating.score is not None,
            one.rating.feedback,
            ms,
            exchange.text(ids),
        )
        return Step("attempt", (), tuple(one.forwards), one.own_ms, detail=attempt)

    def _sampler(self, sampler: Sampler, count: int) -> Sampler:
        """Of the answer after `count` others: the first as asked, the rest sampled, each with draws of its own."""
        if count == 0:
            return sampler
        temperature = sampler.temperature or self._settings.temperature
        return replace(sampler, temperature=temperature, seed=(sampler.seed + count) % 2**64)

    def _spent(self, exchange: Exchange, limits: Limits, answers: Sequence[_Answer]) -> bool:
        """Whether no further answer may be begun. The same for the same answers: it is asked twice between two rounds."""
        if exchange.budget is not None:
            fed = sum(one.fed for one in answers)
            left = (exchange.budget - fed) / max(1.0, fed / len(answers))
            chance = Random(f"budget {limits.sampler.seed} {len(answers)}").random()
            return left < 1 and chance >= left
        budget = self._settings.budget
        return budget is not None and sum(len(one.tokens) for one in answers) >= budget

    def _asked(
        self, exchange: Exchange, prompt: list[int], answers: Sequence[_Answer]
    ) -> list[int]:
        """The prompt of a later round: with best and worst, or as much of that as leaves room for an answer."""
        scored = [one for one in answers if one.rating.score is not None]
        if not exchange.question or not scored:
            return prompt
        best, worst = best_of(scored), min(scored, key=_score)
        room = self._context - max(SHORT, 2 * len(best.tokens))
        for shown in ((best, worst), (best,)):
            if len(shown) == 2 and _score(best) == _score(worst):
                continue
            parts = [(exchange.text(one.ids), one.rating) for one in shown]
            ids = exchange.encode(with_feedback(exchange.question, parts))
            if len(ids) <= room:
                return ids
        return prompt


def with_feedback(question: str, shown: Sequence[tuple[str, Rating]]) -> str:
    """The question, an earlier answer or two (best, then worst) with what was said of them, and what to do better."""
    names = ("The best", "The worst") if len(shown) > 1 else ("An earlier answer",)
    parts = [question]
    for name, (text, rating) in zip(names, shown, strict=True):
        said = f"\n{rating.feedback}" if rating.feedback else ""
        parts.append(f"{name} (score {_score_words(rating)}):\n{text}{said}")
    wish = "Write a better answer to the question. Keep what is right in the best one"
    parts.append(f"{wish}, avoid what makes the worst one worse." if len(shown) > 1 else f"{wish}.")
    return "\n\n".join(parts)


def best_of(answers: Sequence[_Answer]) -> _Answer:
    """The answer of the greatest score, the earliest of equals; one without a score only if none has any."""
    return max(answers, key=_score)


def _score(one: _Answer) -> float:
    score = one.rating.score
    return float("-inf") if score is None else score


def _score_words(rating: Rating) -> str:
    return "none" if rating.score is None else f"{rating.score:.4g}"
