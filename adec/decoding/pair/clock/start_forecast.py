"""Whether to start the small model in the midst of an answer: what it promises, asked twice."""

from __future__ import annotations

from dataclasses import dataclass

from adec.decoding.pair.clock.cost_curve import SURELY, UNSEEN, WINDOW

WORTH_STARTING = 1.1
"""Speed, as a multiple of plain's, that a forecast must promise to start the small model."""
RECONSIDERED = 16
"""Tokens after which starting it is considered again."""
CONFIRMED = WINDOW
"""Tokens after which an uncertain forecast is made once more: then it rests on other forwards."""


@dataclass(frozen=True)
class StartForecast:
    """What is to be expected of a small model that has not read the prompt yet."""

    drafter: str
    speed: float
    """As a multiple of the speed without it."""
    won_ms: float
    """What it wins in the rest of the answer."""
    reading_ms: float
    """What it takes to read the prompt."""
    noise: float = 0.0
    """How far off the speed may be, as a share of it, by the times that it rests on."""

    @property
    def pays(self) -> bool:
        """Whether the small model is likely to win back what reading takes."""
        return self._pays_at(self.speed)

    @property
    def pays_surely(self) -> bool:
        """Whether it would even if the speed were lower by all of the noise."""
        return self._pays_at(self.speed * (1 - self.noise))

    def _pays_at(self, speed: float) -> bool:
        if speed < WORTH_STARTING:
            return False
        # milliseconds won are in proportion to 1 - 1 / speed
        return self.won_ms * (1 - 1 / speed) / (1 - 1 / self.speed) > self.reading_ms

    def refusal(self) -> str | None:
        """In words, why it is not started; None where it is."""
        if self.pays:
            return None
        return f"{self.drafter} drafts are not tried: forecast {self.speed:.2f} of plain speed"


class StartDecision:
    """Starts the small model where a forecast is certain, or where two in a row agree.

    Reading a prompt is paid at once and won back late. A few forwards of the large model that were
    slow by chance must not be what it is paid for.
    """

    def __init__(self) -> None:
        self.new_answer()

    def new_answer(self) -> None:
        """Begin again."""
        self._agreed = self._explained = False
        self._next = 0
        self._refusal: str | None = None

    def waits(self, written: int) -> int:
        """Tokens until a forecast is due, in an answer that has `written` of them."""
        return max(0, self._next - written)

    def weigh(self, forecast: StartForecast, written: int) -> bool:
        """Whether to start it now, by a forecast that was due."""
        if not self._explained:
            self._refusal, self._explained = forecast.refusal(), True
        starts = forecast.pays_surely or (forecast.pays and self._agreed)
        seen = forecast.noise < UNSEEN
        self._agreed = forecast.pays and seen
        self._next = written + (
            RECONSIDERED if not forecast.pays else CONFIRMED if seen else SURELY
        )
        return starts

    def take_refusal(self) -> str | None:
        """Why it is not started, in words, once an answer; None if there is nothing new to say."""
        refusal, self._refusal = self._refusal, None
        return refusal
