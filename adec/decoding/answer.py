"""What every loop shares: the tokens committed so far, the room that is left, and when to stop.

An engine's `length` says how much of the sequence it has read. Between two steps every cache is a
prefix of the sequence, and the newest token is unread, so that the next forward has one to feed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

from adec.decoding.meter import Meter
from adec.decoding.strategy import Limits, Prompt
from adec.engines.base import Engine
from adec.engines.protocols import ReadsAhead
from adec.events.records import How, Role, Step, Token
from adec.signals import Scores

BLOCK = 16
"""Tokens of the widest step that CPU kernels show: a part of a prompt that ends within a block may
take as long as if it filled it."""


class AnswerState:
    """One answer in progress."""

    def __init__(self, prompt: Prompt, limits: Limits, context: int) -> None:
        """`context`: tokens that every engine at work can hold."""
        self.sequence = list(prompt.ids)
        """Prompt and answer."""
        self.limits = limits
        self._end = limits.end
        self._start = len(prompt.ids)
        self._last = min(self._start + limits.max_tokens, context)

    @property
    def written(self) -> int:
        """Tokens of the answer so far."""
        return len(self.sequence) - self._start

    @property
    def room(self) -> int:
        """Tokens that may still be committed, as far as the limit and the context go."""
        return self._last - len(self.sequence)

    @property
    def done(self) -> bool:
        """Whether the answer is full or has ended in an end token."""
        size = len(self.sequence)
        return size >= self._last or (size > self._start and self.sequence[-1] in self._end)

    def unread(self, engine: Engine) -> list[int]:
        """Committed tokens that the engine has not read yet."""
        return self.sequence[engine.length :]

    def describe(
        self, scores: Scores, row: int, token: int, source: str, how: How = "written"
    ) -> Token:
        """The record of a token that was chosen from a row.

        Entropy, margin and probability cost a pass over the row: they are left out where
        `limits.signals` says that nobody needs them.
        """
        if not self.limits.signals:
            return Token(token, source, how)
        return Token(
            token,
            source,
            how,
            scores.entropy(row),
            scores.margin(row),
            scores.probability(row, token),
        )

    def commit(self, tokens: Iterable[Token]) -> None:
        """Append tokens to the answer."""
        self.sequence += [token.id for token in tokens]

    def settle(self, meter: Meter, engine: Engine, model: Role) -> None:
        """Remove rejected drafts from a cache, and the newest token with them."""
        if engine.length >= len(self.sequence):
            meter.rewind(engine, model, len(self.sequence) - 1)


def expect(engine: Engine, tokens: int) -> None:
    """Tell an engine that reads ahead how many tokens it will probably be asked for one by one."""
    if isinstance(engine, ReadsAhead):
        engine.expect(tokens)


def unread_of_prompt(engine: Engine, ids: Sequence[int], limits: Limits) -> int:
    """Tokens of a prompt that an engine will have to read: all, or what it does not hold."""
    kept = min(engine.common(ids), len(ids) - 1) if limits.resume else 0
    if kept < engine.length and "rewind" not in engine.capabilities:
        kept = 0
    return len(ids) - kept


def begin_prompt(engine: Engine, ids: Sequence[int], limits: Limits) -> None:
    """Empty the engine's sequence, or keep what it may of `ids`, at most all but the last token."""
    engine.rewind(len(ids) - unread_of_prompt(engine, ids, limits))
    expect(engine, 1)


def read_prompt_but_last(
    engine: Engine, model: Role, ids: Sequence[int], limits: Limits
) -> Iterator[Step]:
    """Feed what is missing of `ids` without the last one, which the next forward has to feed."""
    begin_prompt(engine, ids, limits)
    if engine.length < len(ids) - 1:
        yield from read_prompt(engine, model, ids[:-1], limits, last_rows=0)


def read_prompt(
    engine: Engine,
    model: Role,
    ids: Sequence[int],
    limits: Limits,
    timed: Sequence[int] = (),
    *,
    last_rows: int = 1,
    ahead: int = 1,
) -> Generator[Step, None, Scores]:
    """Feed `ids` to an emptied engine, a step a chunk; returns the last row's scores.

    Where `limits.resume` allows it, what the engine holds of them already is not fed again.

    `timed`: sizes of forwards in which a part of the prompt is read, to learn what they cost;
    no token is read twice for that. Like a forward that verifies drafts, they give a row for
    every token. `last_rows`: rows of the last forward, 1 or none. `ahead`: see
    `expect`.
    """
    if limits.bitwise:
        timed = ()
    begin_prompt(engine, ids, limits)
    expect(engine, ahead)
    meter = limits.meter()
    count = len(ids) - engine.length
    middle = (count - sum(timed)) // 2 if timed else 0
    middle -= middle % (limits.chunk if middle >= limits.chunk else BLOCK)
    sizes = [*_chunks(middle, limits.chunk), *timed]
    sizes += _chunks(count - sum(sizes), limits.chunk)
    for number, size in enumerate(sizes, 1):
        meter.start()
        part = ids[engine.length : engine.length + size]
        rows = last_rows if number == len(sizes) else size if size in timed else 0
        scores = meter.forward(engine, model, "prompt", part, rows=rows)
        yield meter.step("prompt")
    return scores


def _chunks(count: int, size: int) -> list[int]:
    return [min(size, count - at) for at in range(0, count, size)]
