"""The cursor keeps the place of a copy over a change: a token for another, some more, some less."""

from __future__ import annotations

import pytest

from adec.decoding.meter import Meter
from adec.decoding.pair.drafters.automaton import SuffixAutomaton
from adec.decoding.pair.drafters.copy_cursor import ANEW, LONGEST, CopyCursor
from adec.decoding.pair.model_free.suffix import Suffix
from tests.decoding.pair.drafters.test_drafters import fixed, grows, started

SOURCE = list(range(100, 140))
"""A text to be copied; its token 100 + i stands at index i."""


def followed(answer: list[int]) -> CopyCursor:
    """A cursor that has seen `SOURCE`, a mark, and an answer."""
    automaton, cursor = SuffixAutomaton(), CopyCursor()
    for token in [*SOURCE, 1, *answer]:
        automaton.extend([token])
        matched = automaton.matched
        cursor.add(token, automaton.length[matched], automaton.first[matched])
    return cursor


def likely(cursor: CopyCursor) -> list[int]:
    return [cursor.text[index] for index, _ in cursor.guesses()]


@pytest.mark.parametrize(
    ("change", "following"),
    [
        ([7], SOURCE[13]),  # one token for another
        ([7, 8], SOURCE[12]),  # two more
        ([7, 8], SOURCE[13]),  # two for one
        ([SOURCE[15]], SOURCE[16]),  # three left out
    ],
)
def test_after_a_change_what_goes_on_is_among_the_guesses(change, following) -> None:
    cursor = followed([*SOURCE[:12], *change])
    assert following in likely(cursor)
    assert sum(chance for _, chance in cursor.guesses()) < 1


def test_the_guess_that_was_right_is_followed_and_the_others_are_dropped() -> None:
    cursor = followed([*SOURCE[:12], 7, SOURCE[13]])
    assert likely(cursor) == [SOURCE[14]]
    cursor = followed([*SOURCE[:12], 7, SOURCE[12], SOURCE[13]])
    assert likely(cursor) == [SOURCE[14]]


def test_it_says_nothing_while_a_copy_goes_on_nor_long_after_one() -> None:
    assert not likely(followed(SOURCE[:12]))
    assert not likely(followed([*SOURCE[:12], 7, *SOURCE[13 : 13 + ANEW]]))
    assert not likely(followed([*SOURCE[:12], *range(200, 200 + LONGEST + 2)]))
    assert not likely(followed([*SOURCE[:3], 7]))  # too short to be a copy


def test_the_drafter_goes_on_behind_a_change() -> None:
    drafter = started(Suffix(), [*SOURCE, 1])
    grows(drafter, [*SOURCE, 1], [*SOURCE[:12], 7])
    proposal = drafter.propose([*SOURCE, 1, *SOURCE[:12], 7], fixed(40), Meter())
    assert set(SOURCE[13:20]) <= set(proposal.tree.tokens)
    for node in (-1, *range(len(proposal.tree))):
        below = [proposal.chances[child] for child in proposal.tree.children(node)]
        assert sum(below) < 1


def test_no_guess_leads_from_one_text_into_another() -> None:
    drafter = started(Suffix([SOURCE[:14]]), [1, 2])
    grows(drafter, [1, 2], [*SOURCE[:12], 7])
    proposal = drafter.propose([1, 2, *SOURCE[:12], 7], fixed(40), Meter())
    assert all(token >= 0 for token in proposal.tree.tokens)
