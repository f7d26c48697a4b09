"""The small model's cache under any pattern of proposals and acceptances: it equals what is
committed, always.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adec.decoding.meter import Meter
from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.drafters.drafter import Accepted, Outcome, empty
from adec.decoding.pair.drafters.growth import Growth, Room
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.dyspec import SampledTree
from adec.decoding.strategy import Limits
from adec.engines.table import TableEngine
from adec.sampling import Sampler
from tests.laws import law

SIZE = 6
LAW = law(SIZE, 9, sharpness=2.0)


class Drafting(RuleBasedStateMachine):
    """A large model of whims: it accepts any path of any proposal, and writes anything after it."""

    @initialize(
        shape=st.sampled_from(["likeliest", "ordered", "layers"]),
        temperature=st.sampled_from([0.0, 0.8]),
        prompt=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=4),
        context=st.sampled_from([12, 200]),
    )
    def begin(self, shape, temperature, prompt, context) -> None:
        self.engine = TableEngine(LAW, size=SIZE, context=context)
        self.drafter = {
            "likeliest": lambda: SmallModel(self.engine),
            "ordered": lambda: SampledTree(self.engine),
            "layers": lambda: SampledTree(self.engine, threshold=0.05),
        }[shape]()
        self.sampler = Sampler(temperature, seed=3)
        self.answer(prompt)

    def answer(self, prompt) -> None:
        self.sequence = list(prompt)
        for _ in self.drafter.start(prompt, Limits(0, sampler=self.sampler)):
            pass

    @rule(
        nodes=st.integers(0, 10),
        leaves=st.integers(1, 5),
        depth=st.integers(1, 6),
        share=st.floats(0, 1),
        leaf=st.integers(0, 99),
        token=st.none() | st.integers(0, SIZE - 1),
    )
    def round_(self, nodes, leaves, depth, share, leaf, token) -> None:
        room = Room(nodes, leaves, depth)
        proposal = self.drafter.propose(self.sequence, Growth(nodes, room, Rates()), Meter())
        tree = proposal.tree
        assert len(tree) <= nodes and len(tree.leaves()) <= leaves
        for node, (scores, row) in proposal.rows.items():
            prefix = (*self.sequence, *(tree.tokens[i] for i in tree.path(node)))
            wanted = np.log(np.array(LAW(prefix)))
            assert scores.row(row) == pytest.approx(wanted, abs=1e-5)
        path: list[int] = []
        if len(tree):
            path = tree.path(tree.leaves()[leaf % len(tree.leaves())])
            path = path[: round(share * len(path))]
        if token is None and not path:
            token = 0
        self.commit(proposal, path, token)

    @rule(token=st.integers(0, SIZE - 1), times=st.integers(1, 4))
    def plain_rounds(self, token, times) -> None:
        for _ in range(times):
            self.commit(empty(), [], token)

    @rule(prompt=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=4))
    def new_answer(self, prompt) -> None:
        self.answer(prompt)

    def commit(self, proposal, path, token) -> None:
        base = len(self.sequence)
        self.sequence += [proposal.tree.tokens[node] for node in path]
        if token is not None:
            self.sequence.append(token)
        accepted = Accepted(tuple(path), token, False)
        self.drafter.learn(Outcome(proposal, accepted, self.sequence, base, None))

    @invariant()
    def the_cache_is_a_prefix_of_what_is_committed(self) -> None:
        if hasattr(self, "sequence"):
            assert self.engine.length < len(self.sequence)
            assert list(self.engine.tokens) == self.sequence[: self.engine.length]


TestDrafting = Drafting.TestCase
TestDrafting.settings = settings(max_examples=120, stateful_step_count=15, deadline=None)


def test_a_prompt_beyond_its_context_is_not_read() -> None:
    drafter = SmallModel(TableEngine(LAW, size=SIZE, context=4))
    prompt = [1, 2, 3, 4, 5]
    assert not list(drafter.start(prompt, Limits(9)))
    assert drafter.engine.length == 0
