"""What a bench compares: decoders, which answer questions and say what an answer took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace as changed

from adec.answering.plan import Plan
from adec.answering.session import Question, Session
from adec.benchmark.samples import BenchAnswer, RowHeader
from adec.engines.pair import Engines
from adec.events.records import End, Forward, Step

Interrupted = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its token ids, which stay in memory only while the prompt is at hand."""

    answer: BenchAnswer
    ids: tuple[int, ...] | None
    """None where a peer does not tell."""


class BenchDecoder(Protocol):
    """What answers in one row. Not thread-safe."""

    @property
    def header(self) -> RowHeader: ...

    def reply(self, question: Question, run: int, interrupted: Interrupted) -> Reply | None:
        """Answer the question; None when interrupted. Raises AdecError."""
        ...

    def close(self) -> None: ...


class StrategyDecoder:
    """A strategy on loaded engines that it shares with other rows.

    Each of `runs` repetitions has a strategy object of its own: one that learns from its answers
    must not have seen this prompt before.
    """

    def __init__(
        self, name: str, plan: Plan, engines: Engines, runs: int, *, follows: str = ""
    ) -> None:
        self.engines = engines
        self._sessions = [Session(plan, engines, 0.0) for _ in range(runs)]
        guarantee = self._sessions[0].guarantee
        self.header = RowHeader(name, "strategy", plan.method.about, guarantee, follows)

    def reply(self, question: Question, run: int, interrupted: Interrupted) -> Reply | None:
        # what another row left in the caches would shorten the prompt
        for engine in self.engines.values():
            engine.rewind(0)
        knows_peak = reset_peak()
        steps: list[Step] = []
        remarks: list[str] = []
        session = self._sessions[run]
        for event in session.answer(question, interrupted=interrupted, remark=remarks.append):
            if isinstance(event, Step):
                steps.append(event)
            elif isinstance(event, End):
                if event.summary["finish"] == "interrupted":
                    return None
                peak = peak_bytes() if knows_peak else None
                ids = tuple(token.id for step in steps for token in step.tokens)
                answer = self._answer(run, event.summary, steps, peak)
                return Reply(changed(answer, remark="; ".join(remarks)[:300]), ids)
        raise AssertionError("an answer ends in an end event")

    def close(self) -> None:
        """The engines belong to whoever opened them."""

    def _answer(
        self, run: int, summary: dict[str, Any], steps: list[Step], peak: int | None
    ) -> BenchAnswer:
        forwards = [forward for step in steps for forward in step.forwards]
        prompt = _fed([forward for forward in forwards if forward.purpose == "prompt"])
        fed = _fed([forward for forward in forwards if forward.purpose != "prompt"])
        return BenchAnswer(
            row=self.header.name,
            run=run,
            seconds=summary["seconds"],
            tokens=summary["tokens"],
            text="".join(token.text for step in steps for token in step.tokens),
            guarantee=self.header.guarantee,
            finish=summary["finish"],
            first_seconds=summary["first_token_seconds"],
            large_tokens=summary["large_tokens"],
            large_fed=fed["large"],
            small_fed=fed["small"],
            total_fed=fed.total(),
            large_forwards=summary["large_forwards"],
            prompt_fed_work=self._work(prompt),
            fed_work=self._work(fed),
            forward_ms=sum(forward.ms for forward in forwards),
            draft_ms=summary["draft_ms"],
            pauses=summary["pauses"] or None,
            pause_ms=summary["pause_ms"] or None,
            pause_own_ms=summary["pause_own_ms"] or None,
            plain_ms=summary["plain_ms_per_token"],
            peak_bytes=peak,
        )

    def _work(self, fed: Counter[str]) -> int:
        return sum(self.engines[role].info.parameters * count for role, count in fed.items())


def _fed(forwards: list[Forward]) -> Counter[str]:
    """Tokens read by each model."""
    fed: Counter[str] = Counter()
    for forward in forwards:
        fed[forward.model] += forward.tokens
    return fed


def reset_peak() -> bool:
    """Forget the highest resident memory of this process so far.

    All strategies run in one process that holds the models of all: what a row shows is the most
    that was resident while it answered, not what it would need alone. Returns False where the
    system does not let a process forget its peak (only Linux does); there it stays unknown.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes(process: int | None = None) -> int | None:
    """Highest resident memory of this process since `reset_peak`, or of another since its start.

    None where it is unknown.
    """
    try:
        status = Path(f"/proc/{process or 'self'}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError, StopIteration):
        return None
