"""Token ids become text here, and only here: whole characters, cut at the first stop string.

A step waits until the text of its last token is decided, that is until no character of it is half
read and none of it could still be the beginning of a stop string. So every character belongs to the
token that completed it, and the texts of all tokens put together are the answer, whatever the
tokens' borders.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import UsageError
from adec.events.records import CanvasRecord, Pause, Step, Token, TreeRecord

_UNKNOWN = "\N{REPLACEMENT CHARACTER}".encode()


class TextStream:
    """Fills in the texts of one answer's steps: of tokens, drafted trees and candidates.

    Control and end tokens add no text; bytes that cannot become valid UTF-8 become U+FFFD at once,
    those still incomplete at the end in `finish`. Of several stop strings the one that is complete
    first counts (of two that end together, the longer); the string itself is not part of the text,
    and tokens after the one that completed it are dropped. Where the tokenizer writes a space
    before any text, one space at the very start of the answer is left out.
    """

    def __init__(self, vocabulary: Vocabulary, stop: Sequence[str] = ()) -> None:
        if not all(stop):
            raise UsageError("a stop string is empty")
        self._pieces = vocabulary.pieces
        self._silent = vocabulary.control | vocabulary.end
        self._stop = tuple(stop)
        self._at_start = vocabulary.space_prefix
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: deque[_Waiting] = deque()
        # The end of the text so far that may still turn out to be the beginning of a stop string.
        self._held = ""
        # Where incomplete bytes lie, if there are any: they belong to the last token that has some.
        self._open: tuple[_Waiting, int] | None = None
        self.stopped = False
        """A stop string was found; generation may end, further steps are dropped."""

    def read(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The same steps with their texts, `finish` included; ends at a stop string.

        When `steps` raises, what waits is not lost: call `finish` then.
        """
        for step in steps:
            yield from self.add(step)
            if self.stopped:
                return
        yield from self.finish()

    def add(self, step: Step) -> list[Step]:
        """Take a step in; give back, in order, the steps whose text is now decided."""
        if self.stopped:
            return []
        if self._is_single(step):
            return self._add_single(step)
        if isinstance(step.detail, Pause):
            step = replace(step, detail=self._with_texts(step.detail))
        entry = _Waiting(self._named(step))
        self._waiting.append(entry)
        for index, token in enumerate(step.tokens):
            entry.texts.append("")
            if token.id in self._silent:
                continue
            known = 0 <= token.id < len(self._pieces)
            self._take(entry, index, self._decode(self._pieces[token.id] if known else _UNKNOWN))
            if self.stopped:
                return self._release_all()
            self._open = (entry, index) if self._decoder.getstate()[0] else None
        return self._release()

    def _is_single(self, step: Step) -> bool:
        """Whether nothing can have to wait: one token, no stop strings. This is the usual case."""
        waits = self._waiting or self._stop or step.detail is not None
        return not waits and len(step.tokens) == 1

    def _add_single(self, step: Step) -> list[Step]:
        """`add` for the usual case, in a fifth of the time.

        A large forward evicts the processor's caches, so every object touched per token costs.
        """
        (token,) = step.tokens
        if token.id in self._silent:
            return [step]
        known = 0 <= token.id < len(self._pieces)
        text = self._decode(self._pieces[token.id] if known else _UNKNOWN)
        if self._decoder.getstate()[0]:
            entry = _Waiting(step)
            entry.texts.append(text)
            self._waiting.append(entry)
            self._open = entry, 0
            return []
        return [step.with_text(text)]

    def finish(self) -> list[Step]:
        """The steps that still wait, incomplete bytes as U+FFFD. Also right after an
        interruption."""
        if self._open is not None and not self.stopped:
            entry, index = self._open
            self._open = None
            self._take(entry, index, self._decoder.decode(b"", final=True))
        return self._release_all()

    def _with_texts(self, pause: Pause) -> Pause:
        """A candidate may begin or end within a character; what is incomplete becomes U+FFFD."""
        candidates = tuple(
            replace(candidate, text=self._text_of(candidate.tokens))
            for candidate in pause.candidates
        )
        return replace(pause, candidates=candidates)

    def _text_of(self, tokens: Sequence[int]) -> str:
        pieces = [
            self._pieces[t] for t in tokens if t not in self._silent and t < len(self._pieces)
        ]
        return b"".join(pieces).decode("utf-8", "replace")

    def _named(self, step: Step) -> Step:
        """Add the texts of its tree or of what it filled.

        Each is decoded alone: a node may lie on no path ever read, a position may stand alone.
        """
        tree = step.detail
        if isinstance(tree, CanvasRecord):
            filled = tuple(replace(token, text=self._text_of((token.id,))) for token in tree.filled)
            return replace(step, detail=replace(tree, filled=filled))
        if not isinstance(tree, TreeRecord) or tree.texts:
            return step
        known = len(self._pieces)
        pieces = (self._pieces[id] if 0 <= id < known else _UNKNOWN for id in tree.tokens)
        texts = tuple(piece.decode("utf-8", errors="replace") for piece in pieces)
        return replace(step, detail=replace(tree, texts=texts))

    def _decode(self, piece: bytes) -> str:
        text = self._decoder.decode(piece)
        pending = self._decoder.getstate()[0]
        # Python waits for the third byte of an encoded surrogate, which can no longer become valid.
        if len(pending) == 2 and pending[0] == 0xED and pending[1] >= 0xA0:
            text += self._decoder.decode(b"", final=True)
        if text and self._at_start:
            self._at_start = False
            text = text.removeprefix(" ")
        return text

    def _take(self, entry: _Waiting, index: int, text: str) -> None:
        entry.texts[index] += text
        if not self._stop or not text:
            return
        undecided = self._held + text
        found = [(at + len(stop), at) for stop in self._stop if (at := undecided.find(stop)) >= 0]
        if found:
            self._cut(len(undecided) - min(found)[1])
            self.stopped = True
        else:
            self._held = undecided[len(undecided) - self._possible_stop(undecided) :]

    def _possible_stop(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop string begins."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _cut(self, excess: int) -> None:
        """Take the last `excess` characters away from the tokens that brought them."""
        for entry in reversed(self._waiting):
            for index in range(len(entry.texts) - 1, -1, -1):
                text = entry.texts[index]
                kept = max(0, len(text) - excess)
                entry.texts[index] = text[:kept]
                excess -= len(text) - kept

    def _release(self) -> list[Step]:
        # Walk back from the end to the first step that holds undecided text; all before it may go.
        remaining, first = len(self._held), len(self._waiting)
        while remaining > 0 and first > 0:
            first -= 1
            remaining -= sum(map(len, self._waiting[first].texts))
        if self._open is not None:
            first = min(first, self._waiting.index(self._open[0]))
        return [self._waiting.popleft().done() for _ in range(first)]

    def _release_all(self) -> list[Step]:
        self._held, self._open = "", None
        done = [entry.done() for entry in self._waiting]
        self._waiting.clear()
        return done


def text_of(vocabulary: Vocabulary, tokens: Iterable[int], stop: Sequence[str] = ()) -> str:
    """The text of a whole answer, up to the first stop string."""
    whole = Step("write", tuple(Token(token, "") for token in tokens))
    steps = TextStream(vocabulary, stop).read([whole])
    return "".join(token.text for step in steps for token in step.tokens)


class _Waiting:
    """A step and the texts of its tokens so far. Tokens without a text were never read: they are
    dropped."""

    __slots__ = ("step", "texts")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.texts: list[str] = []

    def done(self) -> Step:
        tokens = self.step.tokens[: len(self.texts)]
        dropped = sum(token.how == "accepted" for token in self.step.tokens[len(tokens) :])
        return replace(
            self.step,
            tokens=tuple(
                replace(token, text=text) if text or token.text else token
                for token, text in zip(tokens, self.texts, strict=True)
            ),
            accepted=max(0, self.step.accepted - dropped),
        )
