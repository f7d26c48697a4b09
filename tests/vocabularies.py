"""Made-up vocabularies over one text, and table engines that speak them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from hypothesis import strategies as st

from adec.engines.table import TableEngine
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import EngineError

LETTERS = tuple(bytes([byte]) for byte in "ab é".encode())
"""Five bytes: the last character is two of them."""


class LongestMatch:
    """At each place the longest piece that fits; a space first where the vocabulary says so."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._prefix = b" " if vocabulary.space_prefix else b""
        silent = vocabulary.control | vocabulary.end
        pieces = ((p, t) for t, p in enumerate(vocabulary.pieces) if p and t not in silent)
        self._pieces = sorted(pieces, key=lambda known: -len(known[0]))

    def encode(self, text: str, *, special: bool) -> list[int]:
        del special
        raw, ids = self._prefix + text.encode(), []
        while raw:
            found = next(((p, t) for p, t in self._pieces if raw.startswith(p)), None)
            if found is None:
                raise EngineError("no tokens for this text")
            raw = raw[len(found[0]) :]
            ids.append(found[1])
        return ids


@st.composite
def vocabularies(draw, *, letters: Sequence[bytes] = LETTERS) -> Vocabulary:
    """Some of the letters, longer pieces of them, ids without text, and an end token."""
    longer = st.lists(st.sampled_from(letters), min_size=2, max_size=4).map(b"".join)
    pieces = [*letters, *draw(st.lists(longer, max_size=8, unique=True))]
    pieces += draw(st.sampled_from([[], [b""]]))
    if draw(st.booleans()):
        pieces.pop(draw(st.integers(0, len(letters) - 1)))
    pieces = [*draw(st.permutations(pieces)), b"<end>", b"<turn>", b"<begin>"]
    end, turn, begin = range(len(pieces) - 3, len(pieces))
    return Vocabulary(
        "made-up",
        tuple(pieces),
        control=frozenset({end, turn, begin}),
        end=frozenset({end}),
        begin=begin,
        adds_begin=draw(st.booleans()),
        space_prefix=draw(st.booleans()),
    )


def speaker(vocabulary: Vocabulary, seed: int, **options) -> TableEngine:
    """A model whose likeliest text does not depend on its vocabulary, only on the seed."""

    @cache
    def letters_after(text: bytes) -> list[float]:
        rng = random.Random(f"{seed} {text!r}")
        return [rng.random() ** 6 + 1e-3 for _ in range(256)]

    def law(prefix: tuple[int, ...]) -> list[float]:
        text = b"".join(vocabulary.pieces[token] for token in prefix)[-2:]
        weights = []
        for token, piece in enumerate(vocabulary.pieces):
            weight, seen = 1e-3, text
            if token in vocabulary.end:
                weight = 0.02
            elif piece and token not in vocabulary.control:
                weight = 1.0
                for at in range(len(piece)):
                    weight *= letters_after(seen)[piece[at]]
                    seen = (seen + piece[at : at + 1])[-2:]
                weight **= 1 / len(piece)
            weights.append(weight)
        return [weight / sum(weights) for weight in weights]

    engine = TableEngine(law, size=len(vocabulary), vocabulary=vocabulary, **options)
    engine.tokenizer = LongestMatch(vocabulary)
    return engine
