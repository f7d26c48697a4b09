"""A suffix automaton over token ids, built online, with a count for every substring.

Blumer et al. 1985, "The smallest automaton recognizing the subwords of a text". Hu et al. 2024,
"SAM Decoding", arXiv 2411.10666, draft from it. Its states are the classes of substrings that end
at the same places. The link of a state leads to the class of its longest suffix that ends at more
places.

What is different here: each state counts its places. A new token is one more place for all suffixes
of the text, of which the `COUNTED` longest classes are told. So feeding stays linear, and only in a
text of many periods do short substrings count too little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

START = 0
"""The state of the empty string."""
COUNTED = 32
"""Classes of suffixes, from the longest, that a new token counts in. Plain text has about ten."""
BETWEEN = -1
"""Stands between two texts; no token of either is matched across it."""


class SuffixAutomaton:
    """All substrings of what was fed. Time and memory are linear in the tokens."""

    def __init__(self) -> None:
        self.last = START
        """The state of the whole text."""
        self.length = [0]
        """By state: tokens of its longest string."""
        self.count = [0]
        """By state: at how many places its strings end."""
        self.first = [0]
        """By state: how many tokens had been fed where its strings ended for the first time."""
        self.link = [-1]
        self._next: list[dict[int, int]] = [{}]

    def __len__(self) -> int:
        """Tokens that were fed, with those between texts."""
        return self.length[self.last]

    def following(self, state: int) -> Mapping[int, int]:
        """Tokens that followed the strings of a state, each with the state that it leads to."""
        return self._next[state]

    @property
    def matched(self) -> int:
        """The state of the longest end of the text that stood in it before."""
        return max(START, self.link[self.last])

    def extend(self, tokens: Iterable[int]) -> None:
        """Append tokens to the text."""
        following, link, length = self._next, self.link, self.length
        count = self.count
        for token in tokens:
            new, above = len(length), self.last
            length.append(length[above] + 1)
            link.append(START)
            count.append(0)
            self.first.append(length[new])
            following.append({})
            while above >= START and token not in following[above]:
                following[above][token] = new
                above = link[above]
            if above >= START:
                known = following[above][token]
                if length[above] + 1 != length[known]:
                    known = self._split(above, token, known)
                link[new] = known
            self.last = state = new
            for _ in range(COUNTED):
                if state <= START:
                    break
                count[state] += 1
                state = link[state]

    def _split(self, above: int, token: int, known: int) -> int:
        """Make a class of the shorter strings of `known`, which end at one more place now."""
        shorter = len(self.length)
        self.length.append(self.length[above] + 1)
        self.link.append(self.link[known])
        self.count.append(self.count[known])
        self.first.append(self.first[known])
        self._next.append(self._next[known].copy())
        while above >= START and self._next[above].get(token) == known:
            self._next[above][token] = shorter
            above = self.link[above]
        self.link[known] = shorter
        return shorter
