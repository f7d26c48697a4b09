"""TLI: a draft model of another vocabulary samples from the tokens that both vocabularies have.

Timor et al. 2025, "Accelerating LLM Inference with Lossless Speculative Decoding Algorithms for
Heterogeneous Vocabularies", arXiv 2502.05202, algorithm 4 (Token-Level Intersection). The draft's
distribution is restricted to the intersection T and scaled to 1, q'(t) = q(t) / sum over T of q;
drafts are drawn from q', and rejection sampling against the target p keeps p exactly, for any q'.
Unlike `slem`, a draft is accepted with probability min(1, p / q'), not only when the target happens
to draw the same token.

What is different here: tokens are the same where their bytes are. The law keeps its 64 likeliest
tokens, as in `dyspec`. Greedy, it is the likeliest token of the intersection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from adec.decoding.meter import Meter
from adec.decoding.pair.accept import Rejection
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.by_text import SmallModelByText
from adec.decoding.pair.drafters.drafter import Proposal
from adec.decoding.pair.drafters.draws import Law, SeededChance, law_of
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import Grown
from adec.decoding.pair.drafters.small_model import Drafting
from adec.decoding.pair.dyspec import ordered_tree
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.engines.vocabularies.retokenise import Retokeniser
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import PairError
from adec.sampling import Sampler
from adec.signals import Row
from adec.tree import TokenTree


def intersection(small: Vocabulary, large: Vocabulary) -> dict[int, int]:
    """Ids of `large` to those of `small` with the same bytes; end tokens by their names.

    Other control tokens are left out. Of several ids with the same bytes the lowest counts.
    """

    def by_piece(vocabulary: Vocabulary) -> dict[tuple[bytes, bool], int]:
        silent = vocabulary.control - vocabulary.end
        known: dict[tuple[bytes, bool], int] = {}
        for token, piece in enumerate(vocabulary.pieces):
            if piece and token not in silent:
                known.setdefault((piece, token in vocabulary.end), token)
        return known

    ours = by_piece(small)
    return {
        token: ours[piece]
        for piece, token in sorted(by_piece(large).items(), key=lambda known: known[1])
        if piece in ours
    }


class Intersection(SmallModelByText):
    """Drafts chains by q', the small model's law on the tokens that both models have."""

    sampled_in_order = True

    def __init__(
        self,
        engine: Engine,
        words: Retokeniser,
        shared: dict[int, int],
        ends: frozenset[int],
        curve: CostCurve | None = None,
    ) -> None:
        """`shared`: see `intersection`. `ends`: the large model's end tokens."""
        super().__init__(engine, words, curve)
        self._shared = shared
        self._ends = ends
        self._theirs = np.array(sorted(shared), dtype=np.int64)
        self._ours = np.array([shared[token] for token in sorted(shared)], dtype=np.int64)
        self._base = 0

    def law(self, row: Row) -> Law:
        """q' after a row of the small model, over ids of the large one."""
        law = law_of(row[self._ours], self.limits.sampler)
        return Law(self._theirs[law.ids], law.probabilities)

    def sampler_of(self, limits: Limits) -> Sampler:
        """Drafts are drawn as the answer is."""
        return limits.sampler

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        self._base = len(sequence)
        return super().propose(sequence, growth, meter)

    def grow(self, draft: Drafting) -> Grown:
        return ordered_tree(
            draft.growth,
            lambda tree, node: self._law_after(draft, tree, node),
            SeededChance(self.limits.sampler.seed, self._base),
            self._ends,
            lambda tree, node: self.draft_ms(),
        )

    def in_large_ids(self, own: Proposal, growth: Growth) -> Proposal:
        """It is grown in them; the small model's rows describe no token of the large one."""
        return replace(own, rows={})

    def _law_after(self, draft: Drafting, tree: TokenTree, node: int) -> Law | None:
        path = [self._shared[token] for token in tree.tokens_to(node)]
        scores = self.row_after(draft, path)
        return None if scores is None else self.law(scores.row(0))


@dataclass(frozen=True, slots=True)
class TliSettings:
    """`--set tli.NAME=VALUE`."""

    longest: int = setting(8, "tokens in a draft at most", least=1, most=256)
    size: Literal["time", "fixed"] = setting(
        "time", "time: draft while tokens per millisecond rise. fixed: always the longest"
    )


def build(engines: Engines, settings: TliSettings, aids: Aids) -> DraftVerify:
    """TLI on a pair. Raises PairError where the two share no token."""
    small, large = engines["small"], engines["large"]
    shared = intersection(small.vocabulary, large.vocabulary)
    if not shared:
        raise PairError(f"tli: {small.info.name} and {large.info.name} have no token in common")
    drafter = Intersection(
        small,
        Retokeniser(small, large),
        shared,
        large.vocabulary.end,
        aids.curves.get("small"),
    )
    return one_drafter(
        "tli",
        "arXiv 2502.05202",
        engines,
        aids,
        drafter,
        settings.longest,
        Rejection(),
        size=settings.size,
        chain=True,
    )
