"""Prompt lookup's search: where the last few tokens stood before, draft what followed them then.

Saxena 2023, "Prompt Lookup Decoding". The text is the prompt and the output. Of several places the
latest counts. An index of n-grams up to three tokens finds it in constant time; how sure the draft
is depends on how far the match goes back. Longer matches and their counts are those of
`automaton.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adec.decoding.meter import Meter
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import best_first
from adec.decoding.strategy import Limits
from adec.events.records import Step
from adec.tree import TokenTree

GRAMS = 3
"""Longest n-gram that is indexed."""
LONGEST = 64
"""Tokens compared backwards at most."""


class NgramMatching(Drafter):
    """Drafts what followed the latest earlier place of the longest n-gram that ends the text."""

    name = "ngram"

    def __init__(self, *, least: int = 1) -> None:
        """`least`: tokens that a match needs."""
        self._least = least
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._text: list[int] = []
        # by n-gram: the indices of what followed it at its latest place, and at the one before
        self._latest: dict[tuple[int, ...], int] = {}
        self._before: dict[tuple[int, ...], int] = {}
        self._follows: int | None = None
        self.streak = 0

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._begin_anew()
        self.extend(prompt)
        self.streak, self._follows = 0, None
        yield from super().start(prompt, limits)

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        text = self._text
        place = self._place()
        if place is None:
            return empty()
        length = _backwards(text, place)
        if length < self._least:
            return empty()
        # a copy that runs past the end of the text goes on at its own beginning
        sure, period = length / (length + 1), len(text) - place

        def successors(tree: TokenTree, node: int) -> list[tuple[int, float]]:
            # every node has one successor, so that a node's number is its depth
            return [(text[place + (node + 1) % period], sure)]

        grown = best_first(growth, successors, self.limits.end)
        return Proposal(grown.tree, [self.name] * len(grown.tree), grown.chances)

    def learn(self, outcome: Outcome) -> None:
        self.extend(outcome.sequence[len(self._text) :])

    def extend(self, tokens: Sequence[int]) -> None:
        """Append tokens to the text."""
        text = self._text
        for token in tokens:
            text.append(token)
            for size in range(1, min(GRAMS, len(text)) + 1):
                key = tuple(text[-size:])
                if key in self._latest:
                    self._before[key] = self._latest[key]
                self._latest[key] = len(text)
            self._follow(token)

    def _follow(self, token: int) -> None:
        """Count how long the text has repeated an earlier place: one comparison a token."""
        text, place = self._text, self._follows
        if place is not None and text[place] == token:
            self._follows = place + 1
            self.streak += 1
            return
        self.streak, self._follows = 0, None
        if len(text) >= 2:
            self._follows = self._before.get(tuple(text[-2:]))

    def _place(self) -> int | None:
        """Index of what followed the longest n-gram at the end of the text where it stood last."""
        text = self._text
        for size in range(min(GRAMS, len(text)), 0, -1):
            place = self._before.get(tuple(text[-size:]))
            if place is not None:
                return place
        return None


def _backwards(text: Sequence[int], place: int) -> int:
    """How many tokens before `place` equal the end of the text."""
    length, size = 0, len(text)
    most = min(place, LONGEST)
    while length < most and text[place - 1 - length] == text[size - 1 - length]:
        length += 1
    return length
