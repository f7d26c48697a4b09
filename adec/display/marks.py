"""How the source of a token is marked: by a colour, and by a text attribute where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from adec.display.sanitise import one_line
from adec.events.records import Token

_SGR = {"bold": 1, "dim": 2, "italic": 3, "underline": 4}
_SGR |= {"green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}


@dataclass(frozen=True, slots=True)
class Mark:
    """A name for the legend, a text attribute (the sign) and a colour."""

    name: str
    sign: str = ""
    colour: str = ""

    def style(self) -> str:
        """The mark as a style of rich."""
        return f"{self.sign} {self.colour}".strip()

    def wrap(self, text: str, *, colour: bool) -> str:
        """`text` between the escape sequences that switch the mark on and off."""
        words = self.sign.split() + ([self.colour] if colour and self.colour else [])
        if not words:
            return text
        return f"\x1b[{';'.join(str(_SGR[word]) for word in words)}m{text}\x1b[0m"


SMALL = Mark("small")
"""Written by the small model, and judged by nobody."""
CONFIRMED = Mark("confirmed", "italic", "green")
"""Drafted by the small model and accepted by the large one."""
FOUND = Mark("found", "dim italic", "green")
"""Drafted by anything else, such as earlier text or a table, and accepted by the large model."""
LARGE = Mark("large", "underline", "cyan")
"""Written by the large model on its own."""
CORRECTED = Mark("corrected", "bold underline", "yellow")
"""Written by the large model in place of a rejected draft."""
BONUS = Mark("bonus", "bold", "magenta")
"""Written by the large model after a draft that it accepted whole."""
CHOSEN = Mark("chosen", "bold italic", "yellow")
"""Not the likeliest token, but chosen at a pause for what follows it."""
OTHERS = (
    Mark("other", "dim", "blue"),
    Mark("other", "dim underline", "magenta"),
    Mark("other", "italic underline", "blue"),
    Mark("other", "dim italic underline", "magenta"),
)
"""Written by any other source, such as a third model or an early layer."""

WAVES = (
    Mark("filled", "", "cyan"),
    Mark("filled", "underline", "green"),
    Mark("filled", "bold", "yellow"),
    Mark("filled", "italic", "magenta"),
    Mark("filled", "bold underline", "blue"),
)
"""Filled on a canvas: steps take turns, so that what one of them filled shows."""
MASKED = Mark("masked", "dim")
"""A position of a canvas that is still masked."""

LEGEND = (SMALL, CONFIRMED, FOUND, LARGE, CORRECTED, BONUS, CHOSEN, *OTHERS)


@lru_cache(maxsize=256)
def mark_of_source(source: str) -> Mark:
    """The mark of what a source writes: always the same one for the same name."""
    known = {"small": SMALL, "large": LARGE}.get(source)
    return known or OTHERS[crc32(source.encode(errors="replace")) % len(OTHERS)]


def mark_of(token: Token) -> Mark:
    """The mark of a token: how it came about, or else who wrote it."""
    if token.how == "accepted":
        return CONFIRMED if token.source == "small" else FOUND
    judged = {"corrected": CORRECTED, "bonus": BONUS, "chosen": CHOSEN}.get(token.how)
    return judged or mark_of_source(token.source)


def legend_name(mark: Mark, sources: Iterable[str]) -> str:
    """A mark's name in a legend. Marks in `OTHERS` are named after the sources that have them."""
    if mark not in OTHERS:
        return mark.name
    named = [one_line(source)[:20] for source in sources if mark_of_source(source) == mark]
    return ", ".join(named[:3]) or mark.name
