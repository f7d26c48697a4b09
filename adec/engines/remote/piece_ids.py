"""Between a server's pieces and ids of the vocabulary that adec speaks with it."""

from __future__ import annotations

from collections.abc import Sequence

from adec.engines.base import LoadedModel
from adec.engines.protocols import Piece
from adec.engines.remote.likeliest_scores import LikeliestRow
from adec.engines.vocabularies.retokenise import exact_ids
from adec.errors import EngineError

MOST_IDS = 4096
"""Ids that one piece of a text server may become."""


class PieceIds:
    """Reads pieces: by id where both sides number tokens alike, otherwise by text."""

    def __init__(self, model: LoadedModel, *, by_id: bool) -> None:
        vocabulary = model.vocabulary
        self._model = model
        self._by_id = by_id
        self._size = len(vocabulary)
        self._pieces = vocabulary.pieces
        silent = vocabulary.control | vocabulary.end
        self._known: dict[bytes, int] = {}
        for token, piece in enumerate(vocabulary.pieces):
            if piece and token not in silent:
                self._known.setdefault(piece, token)
        named = vocabulary.special.get("eos_token", "").encode()
        main = [token for token in sorted(vocabulary.end) if self._pieces[token] == named]
        self.end: int | None = next(iter([*main, *sorted(vocabulary.end)]), None)
        """What stands for the end of an answer where a server does not say by which token."""
        self.ends = vocabulary.end

    def ids(self, piece: Piece) -> list[int]:
        """The ids of a piece, none for an empty text. Raises EngineError for an id out of range."""
        if self._by_id and piece.token is not None:
            return [self._checked(piece.token)]
        if not piece.text:
            return []
        data = piece.text.encode("utf-8", "replace")
        if data in self._known:
            return [self._known[data]]
        found = exact_ids(self._model, data)
        if found is None:
            found = self._model.tokenizer.encode(piece.text, special=False)
        if len(found) > MOST_IDS:
            raise EngineError(f"a piece of {len(data):,} bytes is more than a server may write")
        return found

    def rows(self, piece: Piece) -> list[tuple[int, LikeliestRow]]:
        """Each id of a written piece with the row that it was chosen from.

        Where one piece is several ids here, those after the first are certain.
        """
        found = self.ids(piece)
        rows = []
        for number, token in enumerate(found):
            told = self.likeliest(piece) if number == 0 else []
            if number == 0 and piece.nats is not None and token not in dict(told):
                told.append((token, piece.nats))
            rows.append((token, LikeliestRow(told, token)))
        return rows

    def likeliest(self, piece: Piece) -> list[tuple[int, float]]:
        """The likeliest tokens of a piece's position as ids; by text, only whole tokens are."""
        if self._by_id and piece.top_ids:
            pairs = zip(piece.top_ids, piece.top, strict=False)
            return [(token, nats) for token, (_, nats) in pairs if 0 <= token < self._size]
        found = []
        for text, nats in piece.top:
            token = self._known.get(text.encode("utf-8", "replace"))
            if token is not None:
                found.append((token, nats))
        return found

    def row_of_given(self, piece: Piece | None, token: int) -> LikeliestRow | None:
        """The row in which `token` was given; None where its likeliest token cannot be told.

        By text, tokens that are no whole characters share one entry, which may hide the likeliest.
        """
        if piece is None or not piece.top:
            return None
        told = self.likeliest(piece)
        highest = piece.top[0][1]
        own = piece.nats
        if own is not None:
            told.append((token, own))
        if own is not None and own >= highest:
            best: int | None = token
        else:
            best = next((one for one, nats in told if nats >= highest), None)
        if best is None:
            return None
        row = LikeliestRow(told, best)
        hidden = not piece.top_ids and any("\ufffd" in text or not text for text, _ in piece.top)
        if hidden and row.rest >= row.probabilities[0]:
            return None
        return row

    def text(self, ids: Sequence[int]) -> str | None:
        """The text of ids, control tokens by their names; None where it ends within a character."""
        data = b"".join(self._pieces[token] for token in ids)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return None

    def shown(self, token: int) -> str:
        """A token's text as servers write it: without what is no whole character."""
        return self._pieces[token].decode("utf-8", "ignore")

    def _checked(self, token: int) -> int:
        if not 0 <= token < self._size:
            raise EngineError(
                f"the server writes token {token}, which the vocabulary of {self._size:,} lacks"
            )
        return token
