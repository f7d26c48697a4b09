"""What a bench compares: anything that answers a question and says what it took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, get_args

from adec.answering.plan import Plan
from adec.answering.session import Question, Session
from adec.benchmark.memory import peak_bytes, reset_peak
from adec.benchmark.samples import BenchAnswer, RowHeader
from adec.engines.pair import Engines
from adec.events.records import End, Purpose, Step

Interrupted = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its token ids, which stay in memory only while the prompt is at hand."""

    answer: BenchAnswer
    ids: tuple[int, ...] | None
    """None where a peer does not say."""


class Contestant(Protocol):
    """One row. Not thread-safe."""

    @property
    def header(self) -> RowHeader: ...

    def reply(self, question: Question, run: int, interrupted: Interrupted) -> Reply | None:
        """Answer the question; None when interrupted. Raises AdecError."""
        ...

    def close(self) -> None: ...


class StrategyContestant:
    """A strategy on loaded engines that it shares with other rows.

    Each of `runs` repetitions has a strategy object of its own: one that learns from its answers must not have
    seen this prompt before.
    """

    def __init__(
        self, name: str, plan: Plan, engines: Engines, runs: int, *, follows: str = ""
    ) -> None:
        self._plan = plan
        self._engines = engines
        self._sessions = [Session(plan, engines, 0.0) for _ in range(runs)]
        guarantee = self._sessions[0].guarantee
        self.header = RowHeader(name, "strategy", plan.method.about, guarantee, follows)

    @property
    def engines(self) -> Engines:
        return self._engines

    def reply(self, question: Question, run: int, interrupted: Interrupted) -> Reply | None:
        # what another row left in the caches would shorten the prompt
        for engine in self._engines.values():
            engine.rewind(0)
        knows_peak = reset_peak()
        ids: list[int] = []
        texts: list[str] = []
        for event in self._sessions[run].answer(question, interrupted=interrupted):
            if isinstance(event, Step):
                ids += [token.id for token in event.tokens]
                texts += [token.text for token in event.tokens]
            elif isinstance(event, End):
                if event.summary["finish"] == "interrupted":
                    return None
                peak = peak_bytes() if knows_peak else None
                return Reply(self._answer(run, event.summary, "".join(texts), peak), tuple(ids))
        raise AssertionError("an answer ends in an end event")

    def close(self) -> None:
        """The engines belong to who opened them."""

    def _answer(
        self, run: int, summary: dict[str, object], text: str, peak: int | None
    ) -> BenchAnswer:
        def number(key: str) -> float:
            value = summary[key]
            return float(value) if isinstance(value, int | float) else 0.0

        def whole(key: str) -> int:
            return int(number(key))

        sizes = {role: engine.info.parameters for role, engine in self._engines.items()}
        work = sum(size * whole(f"{role}_fed") for role, size in sizes.items())
        prompt_work = sum(size * whole(f"{role}_prompt_fed") for role, size in sizes.items())
        kinds = [f"{purpose}_ms" for purpose in get_args(Purpose)]
        first, plain_ms = summary["first_token_seconds"], summary["plain_ms_per_token"]
        return BenchAnswer(
            row=self.header.name,
            run=run,
            seconds=number("seconds"),
            tokens=whole("tokens"),
            text=text,
            guarantee=self.header.guarantee,
            finish=str(summary["finish"]),
            first_seconds=first if isinstance(first, float) else None,
            large_tokens=whole("large_tokens"),
            large_fed=whole("large_fed"),
            small_fed=whole("small_fed"),
            large_forwards=whole("large_forwards"),
            prompt_fed_work=prompt_work,
            fed_work=work,
            forward_ms=sum(number(kind) for kind in kinds),
            draft_ms=number("draft_ms"),
            pauses=whole("pauses") or None,
            pause_ms=number("pause_ms") or None,
            pause_own_ms=number("pause_own_ms") or None,
            plain_ms=plain_ms if isinstance(plain_ms, float) else None,
            peak_bytes=peak,
        )
