"""Token ids of one vocabulary as those of another, by their text.

The text read so far stands as ids of the small model. Only its end is tokenised again as it grows:
a tokenizer that splits a text into words first changes nothing before the last of them. Where that
does not hold, a draft is less likely to stand, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from adec.engines.base import LoadedModel
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import EngineError

LOOKED_BACK = 32
"""Ids among which the beginning of a word is sought; where there is none, that many are tokenised
again."""
_SPACE = b" \n\t\r"


class Retokeniser:
    """Reads what the large model writes as ids of the small one, and drafts the other way round.

    Control tokens go by their names; one that the small model does not know is left out.
    """

    def __init__(self, small: LoadedModel, large: LoadedModel) -> None:
        self._small, self._large = small, large
        ours, theirs = small.vocabulary, large.vocabulary
        self._to_small = _by_name(
            theirs, theirs.control | theirs.end, ours, ours.control | ours.end
        )
        if theirs.begin is not None and ours.begin is not None:
            self._to_small[theirs.begin] = ours.begin
        self._to_large = _by_name(ours, ours.end, theirs, theirs.end)
        named = theirs.special.get("eos_token", "").encode()
        main = [token for token in sorted(theirs.end) if theirs.pieces[token] == named]
        self._end = next(iter([*main, *sorted(theirs.end)]), None)
        self.restart()

    def restart(self) -> None:
        """Begin a new text."""
        vocabulary = self._small.vocabulary
        begins = vocabulary.adds_begin and vocabulary.begin is not None
        self.ids: list[int] = [vocabulary.begin] if begins and vocabulary.begin is not None else []
        """The text so far as ids of the small model, without `held`."""
        self.held = b""
        """Bytes at the end that are no whole character yet."""
        self._start_run()

    def _start_run(self) -> None:
        """Begin a run of text: the texts between two control tokens are tokenised one by one."""
        self.held = b""
        self._run = b""
        self._first = len(self.ids)
        self._borders = [0]  # where the ids of the run begin and end, in bytes

    # ---- reading

    def read(self, tokens: Sequence[int]) -> int:
        """Take in more ids of the large model; returns how many of the ids before still stand."""
        vocabulary = self._large.vocabulary
        silent = vocabulary.control | vocabulary.end
        standing = len(self.ids)
        text = b""
        for token in tokens:
            if token not in silent:
                text += vocabulary.pieces[token] if token < len(vocabulary) else b""
                continue
            standing = min(standing, self._extend(text))
            text = b""
            known = self._to_small.get(token)
            # a small model that puts a begin token before every text has it already
            if known is not None and self.ids != [known]:
                self.ids.append(known)
            self._start_run()
        return min(standing, self._extend(text))

    def _extend(self, text: bytes) -> int:
        """Append text to the run; returns how many ids still stand."""
        if not text:
            return len(self.ids)
        whole = self._run + self.held + text
        size = _whole_characters(whole)
        whole, self.held = whole[:size], whole[size:]
        kept = self._anchor()
        tail = whole[self._borders[kept] :]
        del self.ids[self._first + kept :], self._borders[kept + 1 :]
        standing = len(self.ids)
        ids = exact_ids(self._small, tail, opens=kept == 0) if tail else []
        if ids is None:
            # no ids have just these bytes: what follows is tokenised apart from them
            self.ids += _ids(self._small, tail.decode("utf-8", "replace")) or []
            held = self.held
            self._start_run()
            self.held = held
            return standing
        self.ids += ids
        self._run = whole
        pieces = self._small.vocabulary.pieces
        extra = sum(len(pieces[token]) for token in ids) - len(tail)
        ends = accumulate(len(pieces[token]) for token in ids)
        self._borders += [self._borders[kept] + max(0, end - extra) for end in ends]
        return standing

    def _anchor(self) -> int:
        """How many ids of the run stand whatever follows: those before its last word."""
        run, borders = self._run, self._borders
        count = len(borders) - 1
        least = max(0, count - LOOKED_BACK)
        for index in range(count, least, -1):
            at = borders[index]
            if at < len(run) and run[at] in _SPACE and run[at - 1] not in _SPACE:
                return index
        return least

    # ---- drafting

    def drafts(self, tokens: Sequence[int], chances: Sequence[float]) -> list[tuple[int, float]]:
        """What the small model wrote after the text read, as ids of the large one.

        Each with its chance: the product of those of the small tokens that begin in it. A last
        token that more text could still change is left out: it stays where its text is that of
        whole small tokens, since the small model chose where they end.
        """
        if self.held:
            return []
        ours = self._small.vocabulary
        text, borders, end = b"", [0], None
        for token in tokens:
            if token in ours.end:
                end = self._to_large.get(token, self._end)
                break
            if token in ours.control or token >= len(ours) or not ours.pieces[token]:
                break
            text += ours.pieces[token]
            borders.append(len(text))
        size = _whole_characters(text)
        ids = exact_ids(self._large, text[:size]) if size else []
        if ids is None:
            return []
        silent = self._large.vocabulary.control | self._large.vocabulary.end
        pieces = self._large.vocabulary.pieces
        drafts: list[tuple[int, float]] = []
        at, small = 0, 0
        for token in ids:
            if token in silent:
                return drafts
            begin, at = at, at + len(pieces[token])
            aligned = begin in borders and at in borders
            if at == size and end is None and not aligned:
                return drafts
            chance = 1.0
            while small < len(borders) - 1 and borders[small] < at:
                chance *= chances[small]
                small += 1
            drafts.append((token, chance))
        if end is not None and size == len(text):
            drafts.append((end, chances[len(borders) - 1]))
        return drafts


def exact_ids(model: LoadedModel, text: bytes, *, opens: bool = False) -> list[int] | None:
    """Ids of `model` whose pieces are together just `text`; None where its tokenizer gives none.

    `text`: whole characters. `opens`: the text is the first, so that the space which some
    tokenizers write before it may stay.
    """
    try:
        words = text.decode("utf-8")
    except UnicodeDecodeError:
        return None
    vocabulary = model.vocabulary
    # a tokenizer that puts a space before a text puts it before the newline
    for lead in ("", "\n"):
        ids = _ids(model, lead + words)
        if ids is None or any(token >= len(vocabulary) for token in ids):
            return None
        pieces = [vocabulary.pieces[token] for token in ids]
        whole = b"".join(pieces)
        if not whole.endswith(text):
            continue
        extra = len(whole) - len(text)
        if opens and vocabulary.space_prefix and not lead and extra <= 1:
            return ids
        ends = [0, *accumulate(map(len, pieces))]
        if extra in ends and (lead or vocabulary.space_prefix or extra == 0):
            return ids[ends.index(extra) :]
    return None


def _ids(model: LoadedModel, text: str) -> list[int] | None:
    try:
        return model.tokenizer.encode(text, special=False)
    except EngineError:
        return None


def _whole_characters(text: bytes) -> int:
    """Bytes of `text` without an incomplete character at its end."""
    for back in range(1, min(3, len(text)) + 1):
        byte = text[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(text) - back if needed > back else len(text)
        if byte < 0x80:
            break
    return len(text)


def _by_name(
    source: Vocabulary, those: frozenset[int], target: Vocabulary, these: frozenset[int]
) -> dict[int, int]:
    """Ids of `source` among `those` to ids of `target` among `these` with the same piece."""
    ids = {target.pieces[token]: token for token in sorted(these, reverse=True)}
    return {t: ids[source.pieces[t]] for t in those if source.pieces[t] and source.pieces[t] in ids}
