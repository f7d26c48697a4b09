"""Nothing that acts on a terminal unseen gets through, and nothing else is touched."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.display.sanitise import one_line, sanitise

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_every_character_of_unicode() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category in INVISIBLE and character not in "\n\t":
            assert sanitise(character) != character, hex(code)
        elif category[0] in "LNPSZ" and category not in INVISIBLE:
            hidden = sanitise(character) != character
            assert not hidden or "FILLER" in unicodedata.name(character, ""), hex(code)


@given(st.text(st.characters(), max_size=50))
def test_marks_are_visible_and_stay(text: str) -> None:
    safe = sanitise(text)
    assert not any(unicodedata.category(c) in INVISIBLE and c not in "\n\t" for c in safe)
    assert sanitise(safe) == safe
    assert "".join(map(sanitise, text)) == safe  # no sequence hides between two tokens


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("\r\x08\x7f", "␍␈␡"),
        ("\x9b2J", "⟨U+009B⟩2J"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("👩\u200d🔬 ❤\ufe0f", "👩·🔬 ❤·"),
        ("\ud800", "⟨U+D800⟩"),
        ("plain\ttext\né 漢字 🙂", "plain\ttext\né 漢字 🙂"),
    ],
)
def test_examples(text: str, safe: str) -> None:
    assert sanitise(text) == safe


def test_one_line() -> None:
    assert one_line("a\nb\tc\x1b") == "a␊b c␛"
