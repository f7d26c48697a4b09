"""The automaton knows every substring, and how often it stood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.drafters.automaton import COUNTED, START, SuffixAutomaton

texts = st.lists(st.integers(0, 2), max_size=COUNTED)


def built(text, pieces=1):
    automaton = SuffixAutomaton()
    for first in range(0, len(text), pieces):
        automaton.extend(text[first : first + pieces])
    return automaton


def state_of(automaton, string):
    state = START
    for token in string:
        if token not in automaton.following(state):
            return None
        state = automaton.following(state)[token]
    return state


def ends(text, string):
    """The places where `string` ends in `text`."""
    return [
        place
        for place in range(len(string), len(text) + 1)
        if text[place - len(string) : place] == string
    ]


@given(texts, st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(1, 5))
def test_a_string_is_found_with_its_count_or_not_at_all(text, string, pieces):
    automaton = built(text, pieces)
    state, found = state_of(automaton, string), ends(text, string)
    if not found:
        assert state is None
    else:
        assert automaton.count[state] == len(found)


@given(texts)
def test_the_matched_state_is_the_longest_end_that_stood_before(text):
    automaton = built(text)
    longest = max(
        (n for n in range(len(text)) if len(ends(text, text[len(text) - n :])) > 1), default=0
    )
    if longest == 0:
        assert automaton.matched == START
    else:
        assert automaton.length[automaton.matched] == longest
        assert state_of(automaton, text[len(text) - longest :]) == automaton.matched
    assert len(automaton) == len(text)


@given(st.lists(st.integers(0, 2), max_size=200))
def test_there_are_at_most_two_states_a_token_and_no_count_is_too_great(text):
    automaton = built(text)
    assert len(automaton.length) <= max(2, 2 * len(text))
    for size in (1, 2, 3):
        for first in range(len(text) - size + 1):
            string = text[first : first + size]
            assert automaton.count[state_of(automaton, string)] <= len(ends(text, string))
