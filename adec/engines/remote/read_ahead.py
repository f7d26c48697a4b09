"""What a server writes after a text: read as it arrives, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from adec.engines.remote.bill import Bill
from adec.engines.remote.likeliest_scores import LikeliestRow
from adec.engines.remote.piece_ids import PieceIds
from adec.engines.remote.replies import ServerReply
from adec.errors import EngineError, RemoteError

CHARACTER = 8
"""Tokens within which a character is whole, with some to spare."""
CLOSING = 4
"""Events after the last token: a count, an end."""


class ReadAhead:
    """One request for `asked` tokens after `base`. While the caller appends just what the server
    wrote, the next row is here already, or on its way: no request is needed for it."""

    def __init__(
        self,
        base: Sequence[int],
        replies: Iterator[ServerReply],
        reader: PieceIds,
        asked: int,
        bill: Bill,
    ) -> None:
        self.base = list(base)
        self.asked = asked
        self.ids: list[int] = []
        """What was written so far."""
        self.gap = 0
        """Tokens that the server wrote and did not tell, where the reading stopped for that."""
        self.over = False
        """Whether nothing more will come."""
        self._rows: list[LikeliestRow] = []
        self._replies = replies
        self._reader = reader
        self._bill = bill
        self._counted = 0
        self._billed_prompt = 0

    def covers(self, sequence: Sequence[int]) -> bool:
        """Whether `sequence` is the base and what was written behind it, or a part of that."""
        size = len(self.base)
        count = len(sequence) - size
        if not 0 <= count <= len(self.ids):
            return False
        return sequence[size:] == self.ids[:count] and sequence[:size] == self.base

    def row(self, length: int) -> LikeliestRow | None:
        """The row after `length` tokens of base and answer; None when the server stopped before.

        Raises EngineError when the stream breaks or does not make sense.
        """
        index = length - len(self.base)
        while index >= len(self._rows) and not self.over:
            try:
                reply = next(self._replies)
            except StopIteration:
                self.over = True
                break
            except RemoteError:
                self.over = True
                raise
            self._take(reply)
        return self._rows[index] if index < len(self._rows) else None

    def known_row(self, length: int) -> LikeliestRow | None:
        """The row after `length` tokens, if it was told already."""
        index = length - len(self.base)
        return self._rows[index] if 0 <= index < len(self._rows) else None

    def close(self) -> None:
        """End the request. What the server may have written meanwhile is counted as unseen."""
        if not self.over:
            self.over = True
            if self._is_complete:
                # what is left closes the reply, and leaves the connection to the next request
                with suppress(RemoteError):
                    for _ in range(CLOSING):
                        if next(self._replies, None) is None:
                            break
            else:
                self._bill.unseen += max(0, self.asked - self._counted)
        close = getattr(self._replies, "close", None)
        if close is not None:
            close()

    def _take(self, reply: ServerReply) -> None:
        if reply.prompt_tokens is not None and reply.prompt_tokens != self._billed_prompt:
            self._bill.read += reply.prompt_tokens - self._billed_prompt
            self._billed_prompt = reply.prompt_tokens
        elif not self._billed_prompt:
            self._billed_prompt = len(self.base)
            self._bill.read += len(self.base)
        told = len(reply.pieces)
        if reply.counted is not None and told and not reply.last:
            missing = reply.counted - self._counted - told
            if 0 < missing <= self.asked:
                # tokens within a character are not told one by one
                self.gap = missing + told
                self.close()
                return
        if any(not piece.text and piece.token is None for piece in reply.pieces):
            # a part of a character, of which a text tells nothing
            self.gap = CHARACTER
            self.close()
            return
        self._count(told)
        for piece in reply.pieces:
            for token, row in self._reader.rows(piece):
                self.ids.append(token)
                self._rows.append(row)
        if self._counted > 2 * self.asked + 16:
            self.over = True
            raise EngineError(
                f"the server writes on after the {self.asked:,} tokens that it was asked for"
            )
        if reply.ended:
            self._end()
        self.over = self.over or reply.last

    @property
    def _is_complete(self) -> bool:
        """Whether all that was asked for was told."""
        ended = bool(self.ids) and self.ids[-1] in self._reader.ends
        return ended or self._counted >= self.asked

    def _end(self) -> None:
        if self.ids and self.ids[-1] in self._reader.ends:
            return
        if self._reader.end is None:
            raise EngineError("the server ended its answer, and the vocabulary has no end token")
        self.ids.append(self._reader.end)
        self._rows.append(LikeliestRow([], self._reader.end, only_end=True))

    def _count(self, pieces: int) -> None:
        self._counted += pieces
        self._bill.written += pieces
