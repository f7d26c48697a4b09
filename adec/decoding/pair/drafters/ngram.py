"""Suffix matching: where the end of the text stood before, draft what followed it then.

Oliaro et al. 2024, "SuffixDecoding: Extreme Speculative Decoding for Emerging AI Applications",
arXiv 2411.04975; prompt lookup (Saxena 2023) is its shallow case. The text is the prompt and the
output and, with consent, earlier runs. In place of suffix trees there is an index of n-grams up to
three tokens, and the longest matches are found by comparing backwards: the same answers for the
places compared, in constant time for each new token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adec.decoding.meter import Meter
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import best_first
from adec.decoding.strategy import Limits
from adec.events.records import Step
from adec.tree import ROOT, TokenTree

GRAMS = 3
"""Longest n-gram that is indexed."""
COMPARED = 32
"""Latest places of an n-gram that are compared."""
LONGEST = 64
"""Tokens compared backwards at most (paper: a suffix tree of depth 64)."""
SURE = 8
"""Matches of this length or more count alike: which of two such places is the longer says
little."""
STRETCH = 4
"""Tokens drafted for each token matched, at most (paper: a factor of 1 to 4)."""


@dataclass(slots=True)
class _Match:
    """A place whose left context equals the end of the text."""

    text: Sequence[int]
    next: int
    """Index of the token that followed."""
    length: int
    period: int = 0
    """If it is a place of the text itself, its distance from the end: a copy that runs past the end
    goes on there."""

    def after(self) -> _Match | None:
        """The same place one token on."""
        following = self.next + 1
        if following == len(self.text):
            if not self.period:
                return None
            following -= self.period
        return _Match(self.text, following, self.length, self.period)


class NgramMatching(Drafter):
    """Drafts what followed earlier."""

    def __init__(
        self,
        *,
        name: str = "suffix",
        least: int = 1,
        latest_only: bool = False,
        remember: bool = False,
        texts: Sequence[Sequence[int]] = (),
    ) -> None:
        """`least`: tokens that a match needs. `latest_only`: as prompt lookup, the latest place.

        `remember`: search earlier answers of this object, too; `texts`: those of earlier runs.
        """
        self.name = name
        self._least = least
        self._latest_only = latest_only
        self._remember = remember
        self._texts: list[Sequence[int]] = []
        self._old: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        self._new: dict[tuple[int, ...], list[int]] = {}
        self._text: list[int] = []
        self.streak = 0
        self._follows: tuple[Sequence[int], int] | None = None
        for text in texts:
            self._archive(text)

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        if self._remember and self._text:
            self._archive(self._text)
        self._text, self._new = [], {}
        self.extend(prompt)
        self.streak, self._follows = 0, None
        yield from super().start(prompt, limits)

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        matches = self._matches()
        if not matches:
            return empty()
        longest = matches[0].length
        sure = longest / (longest + 1)
        deepest = STRETCH * longest if not self._latest_only else growth.room.depth
        reached: dict[int, list[_Match]] = {}
        depths: dict[int, int] = {ROOT: 0}

        def successors(tree: TokenTree, node: int) -> list[tuple[int, float]]:
            if node == ROOT:
                here, depth = matches, 0
            else:
                parent, token = tree.parents[node], tree.tokens[node]
                depth = depths[parent] + 1
                here = [
                    after
                    for match in reached[parent]
                    if match.text[match.next] == token and (after := match.after()) is not None
                ]
            reached[node], depths[node] = here, depth
            if depth >= deepest:
                return []
            counts: dict[int, int] = {}
            for match in here:
                token = match.text[match.next]
                counts[token] = counts.get(token, 0) + 1
            ranked = sorted(counts.items(), key=lambda item: -item[1])
            return [(token, sure * count / len(here)) for token, count in ranked]

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
                self._new.setdefault(tuple(text[-size:]), []).append(len(text))
            self._follow(token)

    def _follow(self, token: int) -> None:
        """Count how long the text has repeated an earlier place: one comparison a token."""
        if self._follows is not None:
            text, place = self._follows
            if place < len(text) and text[place] == token:
                self._follows = text, place + 1
                self.streak += 1
                return
        self.streak, self._follows = 0, None
        if len(self._text) >= 2:
            key = tuple(self._text[-2:])
            if len(here := self._new[key]) > 1:
                self._follows = self._text, here[-2]
            elif there := self._old.get(key):
                number, end = there[-1]
                self._follows = self._texts[number], end

    def _archive(self, text: Sequence[int]) -> None:
        number = len(self._texts)
        self._texts.append(list(text))
        for end in range(1, len(text)):
            for size in range(1, min(GRAMS, end) + 1):
                key = tuple(text[end - size : end])
                self._old.setdefault(key, []).append((number, end))

    def _matches(self) -> list[_Match]:
        """Earlier places of the longest suffix, latest first; `SURE` tokens count as longest."""
        text = self._text
        for size in range(min(GRAMS, len(text)), 0, -1):
            key = tuple(text[-size:])
            # the last entry is the end of the text itself
            places: list[tuple[Sequence[int], int]] = [
                (text, end) for end in self._new.get(key, ())[-2 : -COMPARED - 2 : -1]
            ]
            if len(places) < COMPARED:
                older = self._old.get(key, ())
                places += [
                    (self._texts[number], end)
                    for number, end in older[: -COMPARED + len(places) - 1 : -1]
                ]
            if not places:
                continue
            found = [
                _Match(
                    earlier,
                    end,
                    _backwards(text, earlier, end, size),
                    len(text) - end if earlier is text else 0,
                )
                for earlier, end in places
            ]
            if self._latest_only:
                found = found[:1]
            longest = max(match.length for match in found)
            if longest < self._least:
                return []
            kept = [match for match in found if match.length >= min(longest, SURE)]
            return sorted(kept, key=lambda match: -match.length)
        return []


def _backwards(text: Sequence[int], earlier: Sequence[int], end: int, known: int) -> int:
    """How many tokens before `end` in `earlier` equal the end of `text`: `known` or more."""
    length, size = known, len(text)
    most = min(end, size, LONGEST)
    while length < most and earlier[end - 1 - length] == text[size - 1 - length]:
        length += 1
    return length
