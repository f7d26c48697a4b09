"""FreeDave: a model's own canvas drafts the next steps, and one batched forward verifies them.

S. Wu and J. Zhang, "Free Draft-and-Verification: Toward Lossless Parallel Decoding for Diffusion
Large Language Models", 2025, arXiv 2510.00294.

The reference fills one position a forward. The scores that decide the next step also say what the
steps after it would be, if they changed nothing. A batch of canvases, the k-th with the first k of
these steps done, is scored in one forward. The first canvas is right in any case; each further one
is, as long as the scores of the canvas before choose the very step that leads to it. All steps up
to the last canvas that is right stand, and its scores draft the next batch.

What is different here: drafts stay in the block at work and stop before an end token, because the
canvas changes its length there. They also stop at a position less sure than `least`. The paper
always verifies as many canvases as it may; here the clock says how many pay (`draft_width.py`), and
where none does, as on most processors, each forward is one of the reference. There is no cache,
since none is exact. Draws depend on seed, position and row alone, so sampled answers are those of
the reference, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.diffusion.canvas_answer import CanvasAnswer
from adec.decoding.diffusion.canvas_loop import CanvasSize, canvas_engine, describe, open_canvas
from adec.decoding.diffusion.draft_width import DraftWidth
from adec.decoding.diffusion.reference_steps import Quota
from adec.decoding.diffusion.unmasking import Proposals
from adec.decoding.meter import Meter
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.pair import Engines
from adec.engines.protocols import CanvasEngine
from adec.events.records import Guarantee, Role, Step, Token


@dataclass(frozen=True, slots=True)
class FreeDaveSettings(CanvasSize):
    """`--set freedave.NAME=VALUE`."""

    drafts: int = setting(
        4, "canvases of a forward at most, each a step further than the last", least=1
    )
    width: Literal["clock", "fixed"] = setting(
        "clock", "clock: as many canvases as pay by measured times; fixed: as many as drafts says"
    )
    least: float = setting(0.5, "drafts end at a position less sure than this", least=0, most=1)
    order: Literal["confidence", "margin", "entropy"] = setting(
        "confidence", "which position the reference fills: the likeliest, or that of this order"
    )


Fill = tuple[int, int]
"""A position and the token that it gets."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the model says of one canvas."""

    proposals: Proposals
    order: Sequence[int]
    """Indices of the proposals, from the one that the reference would fill."""

    def confidence(self, rank: int) -> float:
        """How likely the model finds the token of that rank."""
        return self.proposals.confidence(self.order[rank])

    def fill(self, rank: int) -> Fill:
        """The position and token of that rank; rank 0 is what the reference fills next."""
        i = self.order[rank]
        return self.proposals.places[i], self.proposals.tokens[i]


class FreeDave:
    """See `Strategy`."""

    name = "freedave"
    paper: str | None = "arXiv 2510.00294"
    guarantee = Guarantee.EXACT

    def __init__(
        self,
        engine: CanvasEngine,
        settings: FreeDaveSettings,
        curve: CostCurve | None = None,
        model: Role = "large",
    ) -> None:
        """`curve`: milliseconds of a forward by positions, where a profile has measured them."""
        self._engine = engine
        self._width = DraftWidth(settings.drafts, curve)
        self._settings = settings
        self._model = model

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`. A step is a batched forward, which fills a position or more."""
        engine, meter = self._engine, limits.meter()
        engine.forget()
        answer = open_canvas(engine, self._settings, prompt, limits)
        now: Look | None = None
        while not answer.done:
            meter.start()
            answer.open_places()
            now = now or self._look(meter, [answer], limits, 0)[0]
            drafts = self._draft(now)
            sure = [now.confidence(rank) for rank in range(1, len(drafts))]
            wide = len(drafts)
            if self._settings.width == "clock":
                wide = self._width.choose(len(answer.canvas), sure)
            canvases, most = self._after(answer, drafts[:wide])
            looks = self._look(meter, canvases, limits, now.proposals.step + 1)
            right = 1
            # the first step is right; one after it is if the canvas before it leads there
            for look, draft, confidence in zip(looks, drafts[1:], sure, strict=False):
                held = look.fill(0) == draft
                self._width.saw(confidence, held)
                right += held and right < most
                if not held:
                    break
            led = [now, *looks][:right]
            made = {look.fill(0)[0]: self._token(look, limits) for look in led}
            now = looks[right - 1] if right <= len(looks) else None
            reached, record = answer.fill(made)
            yield meter.step("fill", reached, detail=record, drafted=most - 1, accepted=right - 1)

    def _draft(self, look: Look) -> list[Fill]:
        """The reference's next step and those that would follow it, if it changed nothing."""
        count = 1
        for i in look.order[1 : self._settings.drafts]:
            if look.proposals.confidence(i) < self._settings.least:
                break
            count += 1
        return [look.fill(rank) for rank in range(count)]

    def _after(
        self, answer: CanvasAnswer, drafts: Sequence[Fill]
    ) -> tuple[list[CanvasAnswer], int]:
        """The canvas after each draft, as long as its length stays, and how many drafts count.

        A draft that ends the answer counts, but the canvas after it need not be looked at.
        """
        found: list[CanvasAnswer] = []
        twin = answer
        for place, token in drafts:
            if place >= len(twin.canvas):  # an end token cut it off
                break
            twin = twin.fork()
            twin.fill({place: Token(token, self._model)})
            if twin.done:
                return found, len(found) + 1
            twin.open_places()  # where a block is full, a canvas may grow
            if found and len(twin.canvas) != len(found[0].canvas):
                break
            found.append(twin)
        return found, len(found)

    def _look(
        self, meter: Meter, canvases: Sequence[CanvasAnswer], limits: Limits, step: int
    ) -> list[Look]:
        """One forward of all canvases; the k-th is at step `step + k`."""
        if not canvases:
            return []
        rule = Quota(len(canvases[0].canvas), self._settings.order)
        places = [canvas.open_places() for canvas in canvases]
        rows = meter.canvases(
            self._engine, self._model, [canvas.canvas for canvas in canvases], places
        )
        looks: list[Look] = []
        for at, (scores, open_places) in enumerate(zip(rows, places, strict=True)):
            proposals = Proposals(scores, open_places, limits.sampler, step + at)
            looks.append(Look(proposals, rule.choose(proposals)))
        self._width.took(len(canvases), len(canvases[0].canvas), meter.forwards[-1].ms)
        return looks

    def _token(self, look: Look, limits: Limits) -> Token:
        return describe(self._model, look.proposals, look.order[0], limits)


def build(engines: Engines, settings: FreeDaveSettings, aids: Aids) -> FreeDave:
    """The strategy on the large model."""
    return FreeDave(canvas_engine(engines), settings, aids.curves.get("large"))
