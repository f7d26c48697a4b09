"""llama.cpp's tokenizer behind the `Tokenizer` protocol."""

from __future__ import annotations

import ctypes

from adec.engines.llama.library import Session, failure
from adec.errors import EngineError

MAX_TEXT = 1 << 28
"""Bytes of text that a tokenizer takes at once; llama.cpp counts in 32 bits."""


class LlamaTokenizer:
    """llama.cpp's tokenizer of a GGUF vocabulary."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._size = int(session.library.llama_vocab_n_tokens(session.model.vocabulary))

    def encode(self, text: str, *, special: bool) -> list[int]:
        """See `Tokenizer.encode`. Lone surrogates are read as "?"; a SentencePiece vocabulary may put a space first.

        Raises EngineError when the engine is closed, or the text is longer than MAX_TEXT bytes.
        """
        if self._session.closed:
            raise EngineError("the model of this tokenizer is closed")
        raw = text.encode("utf-8", errors="replace")
        if len(raw) > MAX_TEXT:
            raise EngineError(f"a text of {len(raw)} bytes; {MAX_TEXT} can be read at once")
        library, vocabulary = self._session.library, self._session.model.vocabulary
        room = len(raw) // 2 + 16
        while True:
            ids = (ctypes.c_int32 * room)()
            count = library.llama_tokenize(vocabulary, raw, len(raw), ids, room, False, special)
            if count >= 0:
                return self._checked(ids[:count])
            if -count <= room:
                raise failure("llama.cpp cannot read this text as tokens")
            room = -count

    def _checked(self, ids: list[int]) -> list[int]:
        # a vocabulary without a token for unknown text yields -1
        if ids and (min(ids) < 0 or max(ids) >= self._size):
            raise EngineError("the vocabulary of this model has no tokens for this text")
        return ids
