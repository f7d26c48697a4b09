"""How the source of a token is marked: by a colour, and by a second sign that needs none."""

from __future__ import annotations

from dataclasses import dataclass

from adec.events.records import Token

_SGR = {"bold": 1, "dim": 2, "italic": 3, "underline": 4}
_SGR |= {"green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}


@dataclass(frozen=True, slots=True)
class Mark:
    """A source: its name in the legend, its sign (an attribute of the text) and its colour."""

    name: str
    sign: str = ""
    colour: str = ""

    def style(self) -> str:
        """The same in rich's words, for the legend."""
        return f"{self.sign} {self.colour}".strip()

    def wrap(self, text: str, *, colour: bool) -> str:
        """`text` between the escape sequences that switch the mark on and off."""
        words = self.sign.split() + ([self.colour] if colour and self.colour else [])
        if not words:
            return text
        return f"\x1b[{';'.join(str(_SGR[word]) for word in words)}m{text}\x1b[0m"


SMALL = Mark("small")
CONFIRMED = Mark("confirmed", "italic", "green")
FOUND = Mark("found", "dim italic", "green")
LARGE = Mark("large", "underline", "cyan")
CORRECTED = Mark("corrected", "bold underline", "yellow")
BONUS = Mark("bonus", "bold", "magenta")
CHOSEN = Mark("chosen", "bold italic", "yellow")
OTHER = Mark("other", "dim", "blue")
"""Who wrote a token: the small model, and nobody judged it; the small model, and the large model agreed;
a drafter without a model (earlier text, a table), and the large model agreed; the large model on its own, in place of a
draft, after a draft confirmed whole; the model at work, for what follows and against its own likeliest; anything else."""

LEGEND = (SMALL, CONFIRMED, FOUND, LARGE, CORRECTED, BONUS, CHOSEN, OTHER)


def mark_of(token: Token) -> Mark:
    """The mark of a token."""
    if token.how == "accepted":
        return CONFIRMED if token.source == "small" else FOUND
    if token.how == "corrected":
        return CORRECTED
    if token.how == "bonus":
        return BONUS
    if token.how == "chosen":
        return CHOSEN
    return {"small": SMALL, "large": LARGE}.get(token.source, OTHER)
