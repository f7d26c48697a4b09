"""Suffix: draft what followed the longest end of the text that stood anywhere before.

Hu et al. 2024, "SAM Decoding: Speculative Decoding via Suffix Automaton", arXiv 2411.10666, and
Oliaro et al. 2024, "SuffixDecoding", arXiv 2411.04975. An automaton finds the longest match in
constant time and counts what followed it; where it has nothing, Token Recycling drafts. With
consent the text is earlier answers, too.

What is different here: a draft is as long as its chances say, not as a factor of the match says. A
token's chance is interpolated from the counts of the longest match and of shorter ones, as in
prediction by partial matching (Cleary and Witten 1984). Who drafts in a round is decided by tokens
per millisecond, not by the length of the match. Where an answer leaves a text that it copied, as an
edit does, the places where the copy may go on are drafted, too: see `drafters/copy_cursor.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adec.decoding.meter import Meter
from adec.decoding.pair.accept import FollowTarget
from adec.decoding.pair.clock.chooser import ClockChooser
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.automaton import BETWEEN, START, SuffixAutomaton
from adec.decoding.pair.drafters.copy_cursor import GONE_ON, CopyCursor, Guess
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import best_first
from adec.decoding.pair.model_free.recycling import Recycling
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.events.records import Step
from adec.tree import ROOT, TokenTree

LEVELS = 2
"""Matches of one end of the text that are interpolated, from the longest."""
NEGLIGIBLE = 0.05
"""A shorter match that weighs less is not asked."""
WIDE = 24
"""A match that so many different tokens followed predicts none of them."""
SURE = 12
"""Tokens from which on matches are equally sure: which of two such is the longer says little."""
REMEMBERED = 60_000
"""Tokens of earlier answers that are searched at most: feeding them takes a quarter of a second."""

Place = tuple[int, int]
"""A state of the automaton, and how many tokens of it are matched."""


class Suffix(Drafter):
    """Drafts from an automaton over prompt and answer, and with consent earlier answers."""

    name = "suffix"

    def __init__(self, earlier: Sequence[Sequence[int]] | None = None, *, least: int = 1) -> None:
        """`earlier`: answers of earlier runs; None: forget every text when the next one begins.

        `least`: tokens that a match needs.
        """
        self._least = least
        self._automaton, self._cursor = SuffixAutomaton(), CopyCursor()
        self._earlier: deque[Sequence[int]] | None = None if earlier is None else deque(earlier)
        self._text: list[int] = []
        self._begin_anew()

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        if self._earlier is None:
            self._automaton, self._cursor = SuffixAutomaton(), CopyCursor()
        else:
            self._earlier.append(self._text)
            if len(self._automaton) > 2 * REMEMBERED:
                self._begin_anew()
        self._feed_text(prompt)
        self._text = list(prompt)
        yield from super().start(prompt, limits)

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        automaton, cursor = self._automaton, self._cursor
        start = automaton.matched
        matched = automaton.length[start]
        guesses = [] if matched > SURE else cursor.guesses()
        if matched < self._least and not guesses:
            return Proposal(TokenTree())
        places: dict[int, Place] = {ROOT: (start, matched)}
        copied: dict[int, tuple[int, int]] = {}  # by node of a guess: what follows, and its depth

        def successors(tree: TokenTree, node: int) -> list[tuple[int, float]]:
            if node == ROOT:
                return self._with_guesses(self._chances((start, matched)), guesses)
            parent, token = tree.parents[node], tree.tokens[node]
            if parent == ROOT:
                for index, _ in guesses:
                    if cursor.text[index] == token:
                        copied[node] = index + 1, 1
                        break
            elif parent in copied:
                index, depth = copied[parent]
                copied[node] = index + 1, depth + 1
            if node in copied:
                index, depth = copied[node]
                if index >= len(cursor.text) or cursor.text[index] == BETWEEN:
                    return []
                return [(cursor.text[index], GONE_ON[min(depth, len(GONE_ON)) - 1])]
            places[node] = self._after(places[parent], token)
            return self._chances(places[node])

        grown = best_first(growth, successors, self.limits.end)
        return Proposal(grown.tree, [self.name] * len(grown.tree), grown.chances)

    def _with_guesses(
        self, chances: list[tuple[int, float]], guesses: Sequence[Guess]
    ) -> list[tuple[int, float]]:
        """Chances of the automaton, of what the guesses of the cursor leave, and theirs."""
        if not guesses:
            return chances
        left, merged = 1.0, dict[int, float]()
        for index, chance in guesses:
            token = self._cursor.text[index]
            if token != BETWEEN:
                merged[token] = merged.get(token, 0.0) + chance
                left -= chance
        for token, chance in chances:
            merged[token] = merged.get(token, 0.0) + left * chance
        return sorted(merged.items(), key=lambda item: -item[1])

    def learn(self, outcome: Outcome) -> None:
        fresh, automaton = outcome.sequence[len(self._text) :], self._automaton
        for token in fresh:
            automaton.extend([token])
            matched = automaton.matched
            self._cursor.add(token, automaton.length[matched], automaton.first[matched])
        self._text += fresh
        # while it grows, the text repeats something
        self.streak = self._automaton.length[self._automaton.matched]

    def _after(self, place: Place, token: int) -> Place:
        """The longest match that is left once `token` follows."""
        automaton, (state, matched) = self._automaton, place
        while token not in (following := automaton.following(state)):
            if state == START:
                return START, 0
            state = automaton.link[state]
            matched = automaton.length[state]
        state, matched = following[token], matched + 1
        if state == automaton.last:
            # a copy that runs past the end of the text goes on where this stood before
            state = automaton.matched
            matched = automaton.length[state]
        return state, matched

    def _chances(self, place: Place) -> list[tuple[int, float]]:
        """Tokens that followed a match and shorter ends of it, with chances, likeliest first."""
        automaton, (state, matched) = self._automaton, place
        count = automaton.count
        chances: dict[int, float] = {}
        weight, levels = 1.0, 0
        while state > START and levels < LEVELS and weight > NEGLIGIBLE:
            following = automaton.following(state)
            if len(following) > WIDE:
                break
            if following:
                seen = sum([count[then] for then in following.values()])
                # a new token after n places of a match of m tokens has a chance of 1 in 1 + n * m
                sure = min(matched, SURE)
                share = weight * sure / (1 + seen * sure)
                for token, then in following.items():
                    if token != BETWEEN:
                        chances[token] = chances.get(token, 0.0) + share * count[then]
                weight -= share * seen
                levels += 1
            state = automaton.link[state]
            matched = automaton.length[state]
        if len(chances) < 2:
            return list(chances.items())
        return sorted(chances.items(), key=lambda item: -item[1])

    def _begin_anew(self) -> None:
        """Feed the latest of the earlier answers, as many as may be remembered."""
        self._automaton, self._cursor = SuffixAutomaton(), CopyCursor()
        if self._earlier is None:
            return
        while sum(map(len, self._earlier)) > REMEMBERED:
            self._earlier.popleft()
        for text in self._earlier:
            self._feed_text(text)

    def _feed_text(self, tokens: Sequence[int]) -> None:
        """Feed a text that nothing before goes on in."""
        self._automaton.extend([BETWEEN, *tokens])
        self._cursor.text += [BETWEEN, *tokens]
        self._cursor.forget()


@dataclass(frozen=True, slots=True)
class SuffixSettings:
    """`--set suffix.NAME=VALUE`."""

    least: int = setting(1, "tokens that must match", least=1, most=64)
    longest: int = setting(64, "nodes of a tree at most", least=1, most=256)
    recycling: bool = setting(True, "draft by Token Recycling where nothing stood before")


def build(engines: Engines, settings: SuffixSettings, aids: Aids) -> DraftVerify:
    """The automaton and Token Recycling on the large model alone."""
    large = engines["large"]
    drafters: list[Drafter] = [Suffix(aids.earlier, least=settings.least)]
    if settings.recycling:
        drafters.append(Recycling())
    costs = RoundCosts(large, aids.curves.get("large"))
    chooser = ClockChooser(drafters, costs, longest=settings.longest)
    return DraftVerify("suffix", "arXiv 2411.10666", large, chooser, FollowTarget())
