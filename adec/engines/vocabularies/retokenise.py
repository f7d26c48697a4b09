"""Token ids of one vocabulary as those of another, by their text.

The text read so far stands as ids of the small model. Only its end is tokenised again as it grows:
a tokenizer that splits a text into words first changes nothing before the last of them. Where that
does not hold, a draft is less likely to stand, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from math import prod

from adec.engines.base import LoadedModel
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import EngineError

LOOKED_BACK = 32
"""Ids among which the beginning of a word is sought; where there is none, that many are tokenised
again."""
_SPACE = b" \n\t\r"


@dataclass(frozen=True, slots=True)
class Handed:
    """An id of the large model in place of ids of the small one."""

    token: int
    ends: int
    """Where its text ends, in bytes."""
    own: range
    """Indices of the small ids whose texts begin in its own."""
    aligned: bool
    """Whether its text is that of whole small ids."""


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
        text, borders, end = self._text_of(tokens)
        size, at = _whole_characters(text), 0
        drafts: list[tuple[int, float]] = []
        for handed in self._spell(text[:size], borders):
            at = handed.ends
            if at == size and end is None and not handed.aligned:
                return drafts
            drafts.append((handed.token, prod(chances[small] for small in handed.own)))
        if end is not None and at == len(text):
            drafts.append((end, chances[len(borders) - 1]))
        return drafts

    def hand_over(self, tokens: Sequence[int], following: int | None) -> list[Handed]:
        """What the small model wrote after the text read, as ids of the large one that stay.

        `following`: the small token that is likely to come next. Ids that its text would change are
        left out, and so is what does not end where a small token does; None: nothing is known of
        it. End tokens are no text: see `end_of`.
        """
        if self.held:
            return []
        text, borders, _ = self._text_of(tokens)
        found = self._spell(text[: _whole_characters(text)], borders)
        if following is not None:
            longer = text + self._text_of([following])[0]
            then = self._spell(longer[: _whole_characters(longer)], borders)
            pairs = zip(found, then, strict=False)
            found = [ours for ours, _ in takewhile(lambda two: two[0].token == two[1].token, pairs)]
        while found and found[-1].ends not in borders:
            found.pop()
        return found

    def end_of(self, token: int) -> int | None:
        """The large model's end token for one of the small model's."""
        return self._to_large.get(token, self._end)

    def stands_before(self, piece: bytes) -> bool:
        """Whether the small model's ids of the text so far stay as they are if `piece` follows."""
        if self.held:
            return False
        kept = self._anchor()
        text = self._run[self._borders[kept] :] + piece
        text = text[: _whole_characters(text)]
        ids = exact_ids(self._small, text, opens=kept == 0) if text else []
        last = self.ids[self._first + kept :]
        return ids is not None and ids[: len(last)] == last

    def _text_of(self, tokens: Sequence[int]) -> tuple[bytes, list[int], int | None]:
        """The text of small tokens up to one that has none, where each ends, and the end token of
        the large model that ended it."""
        ours, text, borders = self._small.vocabulary, b"", [0]
        for token in tokens:
            if token in ours.end:
                return text, borders, self.end_of(token)
            if token in ours.control or token >= len(ours) or not ours.pieces[token]:
                break
            text += ours.pieces[token]
            borders.append(len(text))
        return text, borders, None

    def _spell(self, text: bytes, borders: Sequence[int]) -> list[Handed]:
        """Ids of the large model for a text, up to one that is no text."""
        theirs, found = self._large.vocabulary, list[Handed]()
        at, small = 0, 0
        for token in (exact_ids(self._large, text) if text else None) or ():
            if token in theirs.control or token in theirs.end:
                break
            begin, at, first = at, at + len(theirs.pieces[token]), small
            while small < len(borders) - 1 and borders[small] < at:
                small += 1
            aligned = begin in borders and at in borders
            found.append(Handed(token, at, range(first, small), aligned))
        return found


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
