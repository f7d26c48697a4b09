"""Text from models and files, made safe for a terminal, a character at a time.

Nothing invisible passes and nothing is dropped: each control or invisible character becomes a
visible mark, so that no sequence can form, not even one that is split over two tokens. Only newline
and tab stay.

    ESC, BEL, CR, …       control pictures: ␛ ␇ ␍
    joiners, selectors    · (they hold emoji and some scripts together; their widths differ
                          between terminals)
    the rest              ⟨U+202E⟩: C1, bidi controls, zero width, tags, lone surrogates
"""

from __future__ import annotations

import re

# Zero width joiner and non-joiner, word joiner, variation selectors.
_JOINERS = "\u200c\u200d\u2060\ufe00-\ufe0f"

# Format characters (Unicode category Cf), line and paragraph separators, blank letters, unassigned
# characters that renderers ignore, private tags. A test compares this with unicodedata.
_INVISIBLE = (
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2061-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)

_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{_JOINERS}{_INVISIBLE}]")
_JOINER = re.compile(f"[{_JOINERS}]")


def sanitise(text: str) -> str:
    """`text` with a visible mark in place of every character that acts on a terminal unseen."""
    return _UNSAFE.sub(_mark, text)


def one_line(text: str) -> str:
    """Likewise for a name or a message that must stay on its line."""
    return sanitise(text).replace("\n", "␊").replace("\t", " ")


def _mark(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return "·" if _JOINER.match(character) else f"⟨U+{code:04X}⟩"
