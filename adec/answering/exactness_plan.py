"""`--exactness bitwise`: what was measured of the large model decides in which forwards it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from adec.display.wording import count
from adec.engines.base import Engine
from adec.engines.exactness.bitwise import BitwiseEngine
from adec.engines.exactness.invariance import Invariance, measure_invariance, reach_of
from adec.engines.exactness.kept_invariance import keep_invariance, kept_invariance


class BitwisePlan:
    """The large model of a session, within the forwards that are bit for bit plain decoding's."""

    def __init__(self, large: Engine) -> None:
        self.engine = BitwiseEngine(large)
        """What strategies get in place of the model."""
        self._large = large
        self._found: Invariance | None = None
        self._said: str | None = None
        self._tainted = False

    def taint(self) -> None:
        """Another method runs the model: what it leaves in the cache must not be gone on from."""
        self._tainted = True

    def prepare(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        chunk: int,
        *,
        remark: Callable[[str], None],
        interrupted: Callable[[], bool],
    ) -> float:
        """Begin an answer; measure the model first where that was not done. Raises EngineError.

        Returns the seconds that measuring took. `remark` is told that it is measured, and where
        nothing but single tokens is bit for bit.
        """
        large = self._large
        last = min(len(prompt) + max_tokens, large.context)
        began, seconds = perf_counter(), 0.0
        if self._found is None:
            self._found = kept_invariance(large)
        if self._found is None or self._found.length < reach_of(last, large.context):
            self._found = measure_and_keep(
                large, prompt, last, remark=remark, interrupted=interrupted
            )
            seconds = perf_counter() - began
        if self._tainted:
            large.rewind(0)
            self._tainted = False
        self.engine.plan_within(self._found)
        self.engine.begin(prompt, chunk)
        limit = shortfall(large, self._found, len(prompt), last)
        if limit is not None and limit != self._said and not interrupted():
            remark(limit)
        self._said = limit
        return seconds


def measure_and_keep(
    engine: Engine,
    text: Sequence[int],
    last: int,
    *,
    remark: Callable[[str], None],
    interrupted: Callable[[], bool] = lambda: False,
) -> Invariance:
    """Measure up to sequences of `last` tokens, and keep it unless interrupted."""
    reach = reach_of(last, engine.context)
    remark(
        f"measuring once which forwards of {engine.info.path.name} are bit for bit, "
        f"up to {reach:,} tokens of text"
    )
    found = measure_invariance(engine, text, (), reach=reach, enough=interrupted)
    if not interrupted():
        keep_invariance(engine, found)
    return found


def shortfall(engine: Engine, found: Invariance, start: int, last: int) -> str | None:
    """From where on nothing but single tokens is bit for bit, as a line; None where drafts fit."""
    edges = [start, *(r.length for r in found.reaches if start < r.length < last)]
    bare = next((edge for edge in edges if not _drafts_fit(found, edge + 2)), None)
    if bare is None:
        return None
    beyond = "" if bare == start else f" beyond {bare:,} tokens"
    on = "" if engine.threads is None else f" on {count(engine.threads, 'thread')}"
    hint = "; --threads 1 may allow more" if (engine.threads or 1) > 1 else ""
    return (
        f"{engine.info.path.name}: only single tokens are known to be bit for bit{beyond}{on}, "
        f"so it goes on as plain decoding there{hint}"
    )


def _drafts_fit(found: Invariance, length: int) -> bool:
    reach = found.at(length)
    return reach is not None and bool(reach.chains)
