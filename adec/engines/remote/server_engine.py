"""A model behind a server as an engine: its sequence is kept here, and the server keeps none.

A rewind costs nothing, and no token is sent before a row is asked for. One row is the next token of
what the server writes by itself, read as it arrives (`read_ahead.py`): as long as the caller takes
the likeliest token, the next row needs no request. Several rows are one request that scores the
tokens given, where the server can. It tells the likeliest tokens only: see `LikeliestScores`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from adec.engines.base import LoadedModel, ModelHeader, OpenOptions
from adec.engines.protocols import Piece
from adec.engines.remote.api_key import read_key
from adec.engines.remote.bill import Bill
from adec.engines.remote.dialects import Dialect, Prompt
from adec.engines.remote.http_client import PAUSES_S, HttpClient
from adec.engines.remote.likeliest_scores import LikeliestRow, LikeliestScores
from adec.engines.remote.piece_ids import PieceIds
from adec.engines.remote.read_ahead import ReadAhead
from adec.engines.remote.remote_header import RemoteHeader
from adec.engines.remote.replies import ServerReply
from adec.engines.sequence import SequenceEngine
from adec.errors import EngineError, RemoteError, UsageError
from adec.sampling import Sampler
from adec.tree import TokenTree

DEFAULT_CONTEXT = 8192
"""Tokens, where a server does not say how many it takes."""


class ServerEngine(SequenceEngine):
    """One model behind one server; also a `Generator`, if its vocabulary is not of interest."""

    @classmethod
    def open(cls, header: ModelHeader, options: OpenOptions) -> ServerEngine:
        """Connect. Raises UsageError for a bad key file, EngineError for a context too large."""
        if not isinstance(header, RemoteHeader):
            raise EngineError(f"{header.info.name} has no address")
        limit = header.info.context_limit
        context = min(limit, DEFAULT_CONTEXT) if options.context is None else options.context
        context = limit if context == 0 else context
        if not 1 <= context <= limit:
            raise EngineError(
                f"{header.info.name} has no context of {context} tokens",
                hint=f"it reads 1 to {limit}",
            )
        client = HttpClient(header.address, read_key())
        # the first answer shall not wait for a connection
        client.warm_up()
        return cls(header, client, context, options.budget_tokens)

    def __init__(
        self,
        header: RemoteHeader,
        client: HttpClient,
        context: int,
        budget: int | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use `open`. `pause`: waits before a broken stream is gone on with."""
        super().__init__(header, header.tokenizer or _NoTokenizer(), context=context, branches=1)
        self._client = client
        self._dialect: Dialect = header.abilities.dialect_on(client, by_id=header.speaks_ids)
        self._speaks_ids = header.speaks_ids
        self._pause = pause
        self.bill = Bill(budget)
        """What was bought since the engine was opened."""
        self._header = header
        self._reader = PieceIds(self, by_id=self._speaks_ids)
        self._ahead: ReadAhead | None = None
        self._expected = 1
        self.most_ahead: int | None = None
        """Most tokens asked for in one request; None: as many as are expected."""
        self._unaligned: list[int] | None = None

    def borrow_tokenizer(self, model: LoadedModel) -> None:
        """Tokenize as the model here does, whose vocabulary this one speaks."""
        self.tokenizer = model.tokenizer
        self._reader = PieceIds(self, by_id=self._speaks_ids)

    # ---- Engine

    def expect(self, tokens: int) -> None:
        """See `ReadsAhead`."""
        self._expected = max(1, tokens)

    def settle(self) -> None:
        """End the request that is under way, so that the bill is complete. What it told stays."""
        if self._ahead is not None:
            self._ahead.close()

    def known_rows(self, sequence: Sequence[int], rows: int) -> LikeliestScores | None:
        """See `ReadsAhead`."""
        ahead, last = self._ahead, len(sequence)
        if ahead is None or not ahead.covers(list(sequence)):
            return None
        found = [ahead.known_row(length) for length in range(last - rows + 1, last + 1)]
        return None if None in found else LikeliestScores(found, self.info.vocabulary)

    def _append(self, tokens: Sequence[int], rows: int) -> LikeliestScores:
        return self._rows_after([*self._held, *tokens], rows)

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> LikeliestScores:
        # a chain: `SequenceEngine` refuses others
        return self._rows_after([*self._held, *tree.tokens], len(tree) - first_row)

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        pass

    def _cut(self, length: int) -> None:
        if length == 0:
            # another answer, which costs what it costs whatever came before
            self._drop_ahead()
            self._unaligned = None

    def _restore(self, length: int) -> bool:
        self._drop_ahead()
        return True

    def _free(self) -> None:
        self._drop_ahead()
        self._client.close()

    # ---- Generator

    @property
    def takes_ids(self) -> bool:
        return self._speaks_ids

    @property
    def scores_prompts(self) -> bool:
        return self._dialect.scores_prompts

    def write(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int,
        sampler: Sampler,
        stop: Sequence[str] = (),
        top: int = 0,
    ) -> Iterator[Piece]:
        """See `Generator.write`; greedy only, and the caller looks for stop strings."""
        if not sampler.greedy:
            raise EngineError("a server's own draws cannot be followed", hint="use --temp 0")
        self._drop_ahead()
        asked = self.bill.ask(len(prompt), max_tokens)
        self.bill.requests += 1
        for reply in self._dialect.write(prompt, asked):
            self.bill.written += len(reply.pieces)
            yield from reply.pieces

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[Piece]:
        """See `Generator.score`."""
        reply = self._scored([*prompt, *continuation])
        told = reply.prompt[len(reply.prompt) - len(continuation) :] if continuation else []
        if len(told) != len(continuation):
            raise EngineError("the server scores other tokens than those given")
        return [piece or Piece("") for piece in told]

    # ---- several rows

    def _rows_after(self, sequence: list[int], rows: int) -> LikeliestScores:
        size = self.info.vocabulary
        if rows == 0:
            return LikeliestScores([], size)
        first = len(sequence) - rows + 1

        def fetch(index: int) -> LikeliestRow:
            return self._next(sequence[: first + index])

        if rows == 1:
            return LikeliestScores([fetch(0)], size, end=lambda index: self._end_row(sequence))
        if not self._dialect.scores_prompts or self._is_unaligned(sequence):
            return LikeliestScores([fetch(0), *[None] * (rows - 1)], size, fetch)
        return LikeliestScores(self._scored_rows(sequence, rows), size, fetch)

    def _end_row(self, sequence: list[int]) -> LikeliestRow | None:
        """The row at which the server ended its answer, which it does not tell by itself.

        None where it cannot be had: nothing is drawn from such a server.
        """
        if not self._speaks_ids:
            return None
        self.bill.ask(len(sequence), 1)
        self.bill.requests += 1
        reply = self._dialect.not_ended(self._prompt(sequence))
        self.bill.read += len(sequence)
        self.bill.written += len(reply.pieces)
        if not reply.pieces or not reply.pieces[0].top:
            raise EngineError(
                f"{self._client.address.place}: it does not tell how likely the end was",
                hint="use --temp 0",
            )
        return LikeliestRow(self._reader.likeliest(reply.pieces[0]))

    def _scored_rows(self, sequence: list[int], rows: int) -> list[LikeliestRow | None]:
        """The last rows of a sequence in one request; None for those that it does not tell."""
        sent = len(self._sendable(sequence))
        missing = len(sequence) - sent
        if missing >= rows:
            return [None] * rows
        reply = self._scored(sequence[:sent])
        told = self._aligned(sequence[:sent], reply)
        if told is None:
            self._unaligned = sequence[: len(sequence) - rows + 1]
            return [None] * rows
        start = sent - (rows - missing) + 1
        known: list[LikeliestRow | None] = [
            self._reader.row_of_given(told[at], sequence[at]) for at in range(start, sent)
        ]
        after = [row for piece in reply.pieces[:1] for row in self._reader.rows(piece)[:1]]
        if after:
            known.append(after[0][1])
        elif reply.ended and self._reader.end is not None:
            known.append(LikeliestRow([], self._reader.end, only_end=True))
        else:
            known.append(None)
        return known + [None] * missing

    def _scored(self, sequence: list[int]) -> ServerReply:
        self.bill.ask(len(sequence), 1)
        self.bill.requests += 1
        reply = self._dialect.score(self._prompt(sequence))
        self.bill.read += reply.prompt_tokens or len(sequence)
        self.bill.written += len(reply.pieces)
        return reply

    def _aligned(self, sequence: list[int], reply: ServerReply) -> list[Piece | None] | None:
        """The scores of each given token; None where the server splits the text otherwise."""
        told: list[Piece | None] = list(reply.prompt)
        if not self._speaks_ids and self.vocabulary.adds_begin:
            # a begin token is not told by servers that add it themselves
            told = [*[None] * (len(sequence) - len(told)), *told]
        if len(told) != len(sequence):
            return None
        for token, piece in zip(sequence, told, strict=True):
            if piece is None:
                continue
            if self._speaks_ids:
                if piece.token is not None and piece.token != token:
                    raise EngineError("the server scores other tokens than those given")
            elif piece.text != self._reader.shown(token) and "\ufffd" not in piece.text:
                return None
        return told

    def _is_unaligned(self, sequence: Sequence[int]) -> bool:
        start = self._unaligned
        return start is not None and sequence[: len(start)] == start

    # ---- one row

    def _next(self, sequence: list[int]) -> LikeliestRow:
        """What follows a sequence, from the stream that is under way or from a new request."""
        silent, more = 0, 1
        while True:
            ahead = self._ahead
            row = None
            try:
                if ahead is None or not ahead.covers(sequence):
                    ahead = self._ask(sequence, more)
                row = ahead.row(len(sequence))
            except RemoteError as error:
                if not error.broken or silent >= len(PAUSES_S):
                    raise
                self._drop_ahead()
                self._pause(PAUSES_S[silent])
            if row is not None:
                return row
            if ahead is not None and ahead.ids and len(sequence) > len(ahead.base):
                silent = 0
                # the caller goes on where it was expected to stop
                more = 1 if ahead.gap else 2 * ahead.asked
            if ahead is not None and ahead.gap:
                row = self._whole(sequence, ahead.gap)
                if row is not None:
                    return row
            self._ahead = None
            silent += 1
            if silent > len(PAUSES_S) + 1:
                raise EngineError(f"{self._client.address.place}: it writes nothing")

    def _ask(self, sequence: list[int], least: int) -> ReadAhead:
        self._drop_ahead()
        prompt = self._prompt(sequence)
        wanted = min(max(self._expected, least), self._room(sequence))
        if self.most_ahead is not None:
            wanted = min(wanted, self.most_ahead)
        asked = self.bill.ask(len(sequence), wanted)
        self.bill.requests += 1
        replies = self._one(prompt) if asked == 1 else self._dialect.write(prompt, asked)
        base = self._sendable(sequence)
        ahead = self._ahead = ReadAhead(base, replies, self._reader, asked, self.bill)
        if len(base) < len(sequence):
            ahead.row(len(sequence))
            if not ahead.covers(sequence):
                # the server goes on otherwise than with the character that was begun here
                ahead.base = list(sequence)
        return ahead

    def _one(self, prompt: Prompt) -> Iterator[ServerReply]:
        yield self._dialect.write_whole(prompt, 1)

    def _whole(self, sequence: list[int], count: int) -> LikeliestRow | None:
        """The next tokens in one piece: a stream does not tell those within a character."""
        asked = self.bill.ask(len(sequence), count)
        self.bill.requests += 1
        reply = self._dialect.write_whole(self._prompt(sequence), asked)
        self._ahead = ReadAhead(sequence, iter([reply]), self._reader, asked, self.bill)
        return self._ahead.row(len(sequence))

    def _room(self, sequence: Sequence[int]) -> int:
        return max(1, self.context - len(sequence))

    def _prompt(self, sequence: list[int]) -> Prompt:
        if self._speaks_ids:
            return sequence
        vocabulary = self.vocabulary
        ids = self._sendable(sequence)
        if vocabulary.adds_begin and ids[:1] == [vocabulary.begin]:
            ids = ids[1:]
        return self._reader.text(ids) or ""

    def _sendable(self, sequence: list[int]) -> list[int]:
        """As much as can be sent: a text server goes on from the last whole character."""
        size = len(sequence)
        while not self._speaks_ids and size and self._reader.text(sequence[:size]) is None:
            size -= 1
        return sequence[:size]

    def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()


class _NoTokenizer:
    """In place of a tokenizer, where no model here speaks the server's vocabulary."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        raise UsageError("there is no tokenizer for this server")
