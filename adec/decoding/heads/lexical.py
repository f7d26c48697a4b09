"""Lexical Unit Decoding: a model writes runs of tokens that it is sure of from one forward.

Sun et al. 2024, "Decoding at the Speed of Thought: Harnessing Parallel Decoding of Lexical Units
for LLMs", arXiv 2405.15208, LREC-COLING 2024. A lexical unit is a run of tokens of which the model
finds each likelier than alpha. Pad tokens behind the newest one are taught to name the rest of its
unit:

    forward: the tokens not read yet, then k - 1 pads, give k distributions;
    commit: the first, and as many of the next as are surer than beta, one after another.

The pads are dropped, and the committed tokens are read for real by the next forward. A token that
repeats the one before it is left to that forward, too.

What is different here: the low-rank fine-tune acts at pads alone, where the paper tunes the whole
model. So the first token of every forward is the model's own, and one part serves two forms.
`trust` is the paper's and approximate; pads are fed where that pays on this machine
(`pad_clock.py`), unless `size=fixed`, and a forward without them is plain decoding's. `exact` takes
what the pads name for drafts, which the next forward verifies while pads behind each of them look
further ahead. alpha and beta are not known from the paper: alpha is 0.9, beta is found by `adec
calibrate MODEL --fit lexical`, so that a share of what is trusted is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.heads.foresight import Foreseeing, Foresight
from adec.decoding.heads.pad_clock import PadClock
from adec.decoding.heads.pseudo_part import MOST
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt, Strategy
from adec.engines.pair import Engines
from adec.engines.protocols import PseudoEngine
from adec.events.records import Guarantee, Step, Token
from adec.parts.part import Part
from adec.signals import Scores

KIND = "lexical"
"""Of the part that it needs, and the name of the strategy."""
PAPER = "arXiv 2405.15208"


class LexicalUnits:
    """The trusting form."""

    name = KIND
    paper = PAPER
    guarantee = Guarantee.APPROXIMATE

    def __init__(
        self,
        engine: Foreseeing,
        part: Callable[[], Part],
        sure: float | None = None,
        costs: RoundCosts | None = None,
    ) -> None:
        """`sure`: beta, above which a token that a pad names stands; None: the part's, which is
        asked for when the first answer begins. `costs`: by what pads must pay; None: they are
        always fed."""
        self._engine = engine
        self._part = part
        self._sure = sure
        self._costs = costs
        self._clock: PadClock | None = None

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine = self._engine
        if self._sure is None:
            self._sure = self._part().number("sure", least=0, most=1)
        if self._costs is not None and self._clock is None:
            tokens = engine.row_price().size(engine.count)
            self._clock = PadClock(self._costs, tokens, trusted_of(self._part()))
        clock = self._clock
        try:
            yield from self._write(prompt, limits, self._sure, clock)
        finally:
            if clock is not None:
                clock.finish()

    def _write(
        self, prompt: Prompt, limits: Limits, sure: float, clock: PadClock | None
    ) -> Iterator[Step]:
        engine = self._engine
        answer = AnswerState(prompt, limits, engine.context)
        engine.carry = None if clock is None or clock.feeds() else {}
        scores = yield from read_prompt(engine, "large", prompt.ids, limits)
        meter = limits.meter()
        fed, plain_ms = True, None
        while not answer.done:
            written = self._unit(answer, scores, sure)
            answer.commit(written)
            step = meter.step("write", tuple(written), plain_ms=plain_ms)
            if clock is not None and step.forwards:
                clock.account(step, fed=fed)
            yield step
            if not answer.done:
                meter.start()
                unread = answer.unread(engine)
                if clock is not None:
                    fed, plain_ms = clock.feeds(), clock.plain_ms
                    engine.carry = None if fed else {}
                scores = meter.forward(engine, "large", "write", unread)

    def _unit(self, answer: AnswerState, scores: Scores, sure: float) -> list[Token]:
        """The model's own next token and those after it that are sure, as far as there is room."""
        limits, base = answer.limits, len(answer.sequence)
        token = limits.sampler.pick(scores, 0, base)
        unit = [answer.describe(scores, 0, token, "large")]
        for rows, row in self._engine.foreseen(0)[: answer.room - 1]:
            if token in limits.end or rows.probability(row, rows.argmax(row)) <= sure:
                break
            last, token = token, limits.sampler.pick(rows, row, base + len(unit))
            if token == last:
                break
            unit.append(answer.describe(rows, row, token, KIND))
        return unit


def trusted_of(part: Part) -> float:
    """Tokens a forward that were trusted beside the model's own when the part was learned."""
    noted = part.facts.get("trusted_a_forward")
    known = isinstance(noted, int | float) and 0 <= noted <= MOST
    return float(noted) if known else 0.0  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class LexicalSettings:
    """`--set lexical.NAME=VALUE`."""

    form: Literal["trust", "exact"] = setting(
        "trust", "trust: what pads are sure of stands (the paper). exact: it is verified first"
    )
    sure: float | None = setting(
        None, "how likely a trusted token must be (beta); none: as the part was fitted",
        least=0, most=1,
    )  # fmt: skip
    size: Literal["time", "fixed"] = setting(
        "time", "trust: pads where they pay on this machine (time), or always (fixed)"
    )
    pads: int = setting(0, "pads behind a token at most; 0: as many as were taught", least=0)


def parts(settings: LexicalSettings) -> tuple[str, ...]:
    """The part with the pads and the fine-tune."""
    return (KIND,)


def build(engines: Engines, settings: LexicalSettings, aids: Aids) -> Strategy:
    """Lexical units on the large model."""
    engine = cast(PseudoEngine, engines["large"])
    foreseeing = Foreseeing(engine, lambda: aids.part(KIND), settings.pads)
    if settings.form == "trust":
        costs = None
        if settings.size == "time":
            costs = RoundCosts(foreseeing, aids.curves.get("large"))
        return LexicalUnits(foreseeing, lambda: aids.part(KIND), settings.sure, costs)
    models = Engines(large=foreseeing)
    return one_drafter(KIND, PAPER, models, aids, Foresight(KIND, foreseeing, 1), MOST, chain=True)
