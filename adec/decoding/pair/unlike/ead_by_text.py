"""EAD for two models of unlike vocabularies: the switch is the paper's, what changes hands is text.

Simonds 2025, "Entropy Adaptive Decoding", arXiv 2502.06833; see `adec.decoding.pair.ead`.

What is different here: the answer is kept in the large model's ids. What the small model writes is
spelt in them word by word, as soon as more text cannot change it: when its next token begins with a
space. Models change hands only where tokens of both end. Where the small model doubts in the middle
of a word, the part of it that the large model would spell in another way is taken back, and the
large one writes the word; where the large model is in the middle of one, it finishes it first. A
token that is the same text to both goes over as an id. With `accept` other than none the drafts are
spelt as they stand when the large model wakes, which judges its own tokens.

A token is described by the small model's rows of all ids in it: the greatest entropy, the least
margin, the product of probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import structs

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.pair.ead import Ead, EadLoop, EadSettings, VerifiedEadLoop
from adec.decoding.pair.ead import build as build_by_ids
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.base import Engine, ModelHeader
from adec.engines.pair import Engines, differences
from adec.engines.vocabularies.retokenise import LOOKED_BACK, Handed, Retokeniser
from adec.errors import PairError
from adec.events.records import Purpose, Role, Step, Token
from adec.signals import Scores

_SPACE = b" \n\t\r"


class EadLoopByText(EadLoop):
    """One answer of EAD. What the small model wrote last waits until it is spelt."""

    def __init__(
        self, small: Engine, large: Engine, settings: EadSettings, prompt: Prompt, limits: Limits
    ) -> None:
        super().__init__(small, large, settings, prompt, limits)
        self._answer = AnswerState(prompt, limits, large.context)
        self._words = Retokeniser(small, large)
        self._waiting: list[int] = []  # small tokens that are not committed
        self._waiting_rows: list[tuple[float, float, float]] = []  # entropy, margin, probability
        self._known = 0  # tokens of the answer that the retokeniser has read
        self._changed = False  # whether the small cache may hold what no longer stands
        self._asked = False  # whether the small model has read the text that it goes on from

    # ---- as in `EadLoop`, by text

    def _small_begins(self) -> Iterator[Step]:
        words, small = self._words, self._small
        self._meter.start()
        self._read_on()
        yield self._meter.step("prompt")
        if words.ids and not words.held and len(words.ids) < small.context:
            limits = self._answer.limits
            self._small_scores = yield from read_prompt(small, "small", words.ids, limits)

    def _small_writes(self) -> Iterator[Step]:
        """The small model writes until the rule wakes the large one; whole words are committed."""
        answer, rule, meter, written = self._answer, self._rule, self._meter, 0
        if not self._asked:
            meter.start()
        self._asked = False
        while not answer.done:
            if not self._can_write:
                self._take_back()
                return
            scores = self._read_small()
            wakes = rule.wake(scores, 0, written)
            likely = scores.argmax(0)
            token = None if wakes else self._next(scores)
            spelt: list[Handed] = []
            if token is None:
                spelt = self._words.hand_over(self._waiting, likely)
            elif self._is_word_end(token):
                spelt = self._words.hand_over(self._waiting, token)
            records = self._records(spelt)
            if token is None:
                self._take_back()
            else:
                self._small_scores = None
                written += 1
                if token in self._small.vocabulary.end:
                    records += self._ended(token)
                else:
                    self._wait(token, scores)
            if records:
                self._commit(records)
                yield meter.step("draft", tuple(records), signal=rule.signal, reason=self._why)
                self._why = None
                meter.start()
            if token is None:
                return

    def _hands_back(self, written: int) -> bool:
        """Whether the small model goes on: where the rule says so, at the end of a word."""
        self._asked = super()._hands_back(written) and self._is_boundary()
        return self._asked

    def _read_small(self, drafts: Sequence[int] = ()) -> Scores:
        """The small model's row for the next token, after it has read what it has not seen."""
        if self._small_scores is None:
            small, text = self._small, [*self._words.ids, *self._waiting]
            if self._changed:
                keep = min(small.common(text), len(text) - 1)
                if keep < small.length:
                    self._meter.rewind(small, "small", keep)
                self._changed = False
            unread = text[small.length :]
            purpose: Purpose = "draft" if len(unread) == 1 else "catch_up"
            self._small_scores = self._meter.forward(small, "small", purpose, unread)
        return self._small_scores

    def _write(self, scores: Scores, source: str) -> Token:
        record = super()._write(scores, source)
        self._small_scores = None
        self._read_on()
        return record

    # ---- what goes between the two

    @property
    def _can_write(self) -> bool:
        """Whether the small model can read the text and write on."""
        words, waiting = self._words, len(self._waiting)
        size = len(words.ids) + waiting
        # what cannot be spelt for so long never will be
        spelt = waiting < 2 * LOOKED_BACK
        return 0 < size < self._small.context and spelt and not words.held

    def _next(self, scores: Scores) -> int | None:
        """The small model's next token; None where it is no text and ends nothing."""
        words, vocabulary = self._words, self._small.vocabulary
        position = len(words.ids) + len(self._waiting)
        token = self._answer.limits.sampler.pick(scores, 0, position)
        if token in vocabulary.end:
            whole = self._words.hand_over(self._waiting, token)
            covered = sum(len(handed.own) for handed in whole)
            known = words.end_of(token) is not None
            return token if known and covered == len(self._waiting) else None
        silent = token in vocabulary.control or token >= len(vocabulary)
        return None if silent or not vocabulary.pieces[token] else token

    def _is_word_end(self, token: int) -> bool:
        """Whether what waits ends before this token of the small model."""
        waiting, pieces = self._waiting, self._small.vocabulary.pieces
        if token in self._small.vocabulary.end or len(waiting) >= LOOKED_BACK:
            return True
        begins = bool(pieces[token]) and pieces[token][0] in _SPACE
        return bool(waiting) and begins and pieces[waiting[-1]][-1] not in _SPACE

    def _wait(self, token: int, scores: Scores) -> None:
        self._waiting.append(token)
        if self._answer.limits.signals:
            row = scores.entropy(0), scores.margin(0), scores.probability(0, token)
            self._waiting_rows.append(row)

    def _records(self, spelt: Sequence[Handed]) -> list[Token]:
        """The records of what goes over to the large model, which waits no longer."""
        records, rows = [], self._waiting_rows
        for handed in spelt:
            own = [rows[small] for small in handed.own if small < len(rows)]
            if own:
                chance = 1.0
                for _, _, probability in own:
                    chance *= probability
                entropy, margin = max(row[0] for row in own), min(row[1] for row in own)
                records.append(Token(handed.token, "small", "written", entropy, margin, chance))
            else:
                records.append(Token(handed.token, "small"))
        used = spelt[-1].own.stop if spelt else 0
        del self._waiting[:used], self._waiting_rows[:used]
        return records

    def _ended(self, token: int) -> list[Token]:
        end = self._words.end_of(token)
        return [] if end is None else [Token(end, "small")]

    def _take_back(self) -> None:
        """Drop what waits: the large model writes it anew."""
        self._waiting.clear()
        self._waiting_rows.clear()
        self._changed = True

    def _commit(self, records: list[Token]) -> None:
        """Append records to the answer, as many as there is room for."""
        del records[self._answer.room :]
        self._answer.commit(records)
        self._read_on()

    def _read_on(self) -> None:
        """Have the retokeniser read what is new in the answer."""
        sequence = self._answer.sequence
        self._words.read(sequence[self._known :])
        self._known = len(sequence)
        self._changed = True

    def _is_boundary(self) -> bool:
        """Whether what the small model would write next leaves its tokens of the text as they are.

        It reads the text to say so, which it has to if it goes on.
        """
        if not self._can_write:
            return False
        ours, token = self._small.vocabulary, self._read_small().argmax(0)
        silent = token in ours.control or token in ours.end or token >= len(ours)
        return self._words.stands_before(b"" if silent else ours.pieces[token])


class VerifiedEadLoopByText(EadLoopByText, VerifiedEadLoop):
    """EAD by text whose drafts are held back until the large model wakes and judges them."""

    def _small_writes(self) -> Iterator[Step]:
        """The small model drafts until the rule wakes the large one; nothing is committed."""
        answer, rule, large = self._answer, self._rule, self._large
        if not self._asked:
            self._meter.start()
        self._asked = False
        most = min(answer.room, large.at_once - len(answer.unread(large)))
        following: int | None = None
        ended: list[Token] = []
        while self._can_write and len(self._waiting) < self._longest and not ended:
            scores = self._read_small()
            following = scores.argmax(0)
            if rule.wake(scores, 0, len(self._waiting)):
                break
            following = token = self._next(scores)
            if token is None:
                break
            self._small_scores = None
            if token in self._small.vocabulary.end:
                ended = self._ended(token)
            else:
                self._wait(token, scores)
                following = None
        records = [*self._records(self._words.hand_over(self._waiting, following)), *ended]
        self._drafts = [structs.replace(record, how="accepted") for record in records[:most]]
        self._take_back()
        yield from ()

    def _settle_small(self) -> None:
        self._read_on()


class EadByText(Ead):
    """EAD on two engines that share no vocabulary."""

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        settings = self._settings
        loop = EadLoopByText if settings.accept == "none" else VerifiedEadLoopByText
        return loop(self._small, self._large, settings, prompt, limits).run()


def check(settings: EadSettings, models: Mapping[Role, ModelHeader]) -> None:
    """Raise PairError where these settings need ids that mean the same to both models."""
    small, large = models["small"], models["large"]
    rewinds = "rewind" in small.capabilities
    if (rewinds and settings.wake == "doubt") or not differences(
        small.vocabulary, large.vocabulary
    ):
        return
    names = f"{small.info.name} and {large.info.name}"
    if not rewinds:
        raise PairError(
            f"ead cannot hand over by text: {small.info.name} cannot take tokens back",
            hint="use a small model of the large one's family, or another small model",
        )
    raise PairError(
        f"ead.wake=clock judges blocks by token ids, and {names} do not share them",
        hint="hand over by text with ead.wake=doubt, or draft by the clock with slem",
    )


def build(engines: Engines, settings: EadSettings, aids: Aids) -> Ead:
    """EAD on a pair: by ids where they mean the same to both, else by text."""
    if engines.share_ids:
        return build_by_ids(engines, settings, aids)
    return EadByText(engines["small"], engines["large"], settings, aids)
