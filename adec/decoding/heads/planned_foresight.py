"""Drafts from rows that a forward foresees, in trees that are planned by the clock.

The plan is PPD's, on this machine's forward times (`prompt_trees.py`): a tree for each number of
rows that a round may begin with, with their value in tokens. It begins with the hit rates that were
counted when the part was learned, and goes on counting.

    bid       is the plan faster than plain decoding? If not, nothing is asked for
    propose   the tree of this round's state, and rows behind its nodes
    plant     rows behind what another drafter wrote: those that are worth more than their time
    learn     the rows behind the last accepted node are the next round's state

So nothing is ever tried that the forecast is against. What the forecast had wrong is bounded by
`loss_bound.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from adec.decoding.heads.carrying_engine import CarryingEngine
from adec.decoding.heads.loss_bound import LossBound
from adec.decoding.heads.prompt_trees import (
    Accuracy,
    PromptTree,
    TreePlan,
    carried_by,
    plan_trees,
)
from adec.decoding.heads.rank_counts import RANKS, RankCounts
from adec.decoding.pair.clock.candidate import OWN_MS
from adec.decoding.pair.clock.round_costs import SURE, RoundCosts
from adec.decoding.pair.draft_chooser import Turn
from adec.decoding.pair.drafters.ahead_drafter import AheadDrafter
from adec.decoding.pair.drafters.drafter import Outcome, Proposal
from adec.decoding.strategy import Limits
from adec.events.records import Step
from adec.tree import ROOT, TokenTree

UNSEEN = 4
"""`RoundCosts.next_size` as long as no larger forward than that of two tokens was seen."""
BUDGET = 32
"""Tokens of a forward at most, rows counted as what they cost."""
FIRST_PLAN, LAST_PLAN = 16, 256
"""Rounds between two plans: twice as many each time."""
PLAN_MS = 4.0
"""What planning takes, until it was measured."""
PLANNING, AT_ONCE = 0.005, 0.5
"""Share of a run's time that planning may take; a plan that takes so much of a plain round is made
in any case."""


class PlannedForesight(AheadDrafter):
    """One fitted part, on the engine that foresees by it."""

    def __init__(
        self, name: str, engine: CarryingEngine, accuracy: Accuracy, *, budget: int = BUDGET
    ) -> None:
        """`accuracy`: as counted when the part was learned. `budget`: tokens of a forward."""
        self.name = name
        self.engine = engine
        engine.carry = {}
        self._counts = RankCounts(accuracy)
        self._most_rows = len(accuracy)
        self._budget = budget
        self._bound = LossBound()
        self._plan: TreePlan | None = None
        self._hope = 0.0  # the rate of a plan with all the budget, where that was not tried yet
        self._planned_for = 0  # tokens of a forward in that plan
        self._until_plan, self._between = 0, FIRST_PLAN
        self._plan_ms, self._planning_ms = PLAN_MS, 0.0
        self._own_ms = OWN_MS  # running mean, of its rounds
        self._ahead: list[list[int]] = []
        self._tree = PromptTree()
        self._ms: Callable[[int], float] = float  # of a round, by tokens of its forward
        self._end: frozenset[int] = frozenset()

    @property
    def resting(self) -> int:
        return self._bound.resting

    @property
    def planted(self) -> int:
        carry = self.engine.carry
        return self.engine.rows.size(sum(carry.values())) if carry else 0

    @property
    def accuracy(self) -> Accuracy:
        """By distance and rank, as counted so far."""
        return self._counts.accuracy

    def start(self, limits: Limits) -> None:
        self._counts.new_answer()
        self._ahead, self._end = [], limits.end
        self.engine.carry = {}

    def stop(self) -> None:
        self.engine.carry = {}

    def speed(self, turn: Turn, costs: RoundCosts) -> float | None:
        """The plan's, as a multiple of plain decoding's; None while nothing can be planned."""
        plan = self._planned(turn, costs)
        curve = costs.curve
        if plan is None or curve is None:
            return None
        return max(plan.rate, self._hope) * costs.plain_round_ms(curve, 1)

    def bid(self, turn: Turn, costs: RoundCosts) -> float | None:
        self.engine.carry = {}
        if self._bound.resting or turn.unread != 1:
            return None
        speed = self.speed(turn, costs)
        if speed is None or self._plan is None:
            return None
        state = min(len(self._ahead), turn.room.depth)
        # once it has won, the plan is believed; where no forward of several tokens was seen, it is
        # one that a try may find to be cheaper than it is taken to be
        believed = self._bound.balance_ms > 0 or costs.next_size <= UNSEEN
        pays = speed >= (1.0 if believed else SURE) and self._plan.drafts
        if not pays and not state:
            self._bound.refuse()
            return None
        self._tree = self._plan.trees[state]
        if self._tree.size == 1:
            return None
        return self._plan.rate + self._plan.values[state] / self._ms(self._tree.size)

    def propose(self, turn: Turn) -> Proposal:
        return self.propose_tree(self._tree, turn)

    def plant(self, proposal: Proposal, reach: Sequence[float], turn: Turn) -> None:
        plan = self._plan
        if plan is None or self._bound.resting or turn.unread != 1 or plan.rate <= 0:
            return
        tree = proposal.tree
        ends = [1.0, *reach]
        for node, parent in enumerate(tree.parents):
            ends[parent + 1] -= reach[node]
        # behind an end token nothing follows, and a chain behind an inner node is a branch more
        inner = sorted({parent + 1 for parent in tree.parents}, key=lambda row: -ends[row])
        full = inner[max(0, self.engine.branches - len(tree.leaves())) :]
        ended = [row for row, token in enumerate(tree.tokens, 1) if token in self._end]
        ends = [max(0.0, end) for end in ends]
        for row in (*full, *ended):
            ends[row] = 0.0
        prompts, _ = carried_by(
            ends, plan.values, lambda size: plan.rate * self._ms(size),
            most=len(ends) + self._budget, rows=self.engine.rows,
        )  # fmt: skip
        self._carry({row: count for row, count in enumerate(prompts) if count}, turn)

    def learn(self, outcome: Outcome) -> None:
        if self._bound.resting:
            self._ahead = []
            return
        path = outcome.accepted.path
        foreseen = self.engine.foreseen(path[-1] + 1 if path else 0)
        self._ahead = [[token for token, _ in scores.top(row, RANKS)] for scores, row in foreseen]
        self._counts.observe(outcome.sequence)
        self._counts.foresee(len(outcome.sequence), self._ahead)

    def account(self, step: Step, plain_ms: float | None, *, own: bool) -> None:
        rows_ms = sum(f.ms for f in step.forwards if f.model == "large" and f.purpose == "draft")
        if not own and not rows_ms:
            self.pass_rounds(1)
            return
        self._until_plan -= 1
        if plain_ms is None:
            return
        if own:
            self._own_ms += 0.2 * (step.own_ms - self._own_ms)
            won_ms = len(step.tokens) * plain_ms - step.ms() - step.own_ms
        else:
            won_ms = -rows_ms
        self._bound.book(won_ms, plain_ms)

    def pass_rounds(self, rounds: int) -> None:
        if self._bound.resting and self._bound.pass_rounds(rounds):
            self._until_plan = 0
            if self._plan is not None:
                self._counts.soften()

    def fixed_plan(self) -> TreePlan:
        """The plan of most tokens a round, where all forwards have as many as the budget says."""
        nodes = min(self._budget, self.engine.branches)
        return plan_trees(
            self._counts.accuracy, lambda size: 1.0, most=self._budget, nodes=nodes, fixed=True,
            rows=self.engine.rows,
        )  # fmt: skip

    def propose_tree(self, tree: PromptTree, turn: Turn) -> Proposal:
        """A tree with the tokens that were foreseen; asks for the rows that it shall carry."""
        found, room = TokenTree(), turn.room
        accuracy = self._counts.accuracy
        chances: list[float] = []
        places: dict[int, int] = {ROOT: ROOT}
        depths = {ROOT: 0}
        carry = {0: tree.prompts[0]}
        for node, (parent, rank) in enumerate(zip(tree.parents, tree.ranks, strict=True)):
            above = places.get(parent)
            if above is None or len(found) >= room.nodes or depths[parent] >= room.depth:
                continue
            likeliest = self._ahead[depths[parent]]
            ended = above != ROOT and found.tokens[above] in self._end
            if ended or rank >= len(likeliest):
                continue
            chance = float(min(1.0, max(1e-6, accuracy[depths[parent], rank])))
            places[node] = found.add(above, likeliest[rank], chance)
            depths[node] = depths[parent] + 1
            chances.append(chance)
            if tree.prompts[node + 1] and likeliest[rank] not in self._end:
                carry[places[node] + 1] = tree.prompts[node + 1]
        self._carry(carry, turn)
        return Proposal(found, [self.name] * len(found), chances)

    @property
    def state(self) -> int:
        """Rows that this round begins with."""
        return len(self._ahead)

    def _carry(self, carry: dict[int, int], turn: Turn) -> None:
        # behind the last tokens there is nothing to foresee
        far = turn.room.depth
        if self.engine.rows.whole:
            carry = carry if far > 0 else {}
        else:
            carry = {row: min(count, far) for row, count in carry.items()}
        self.engine.carry = {row: count for row, count in carry.items() if count > 0}

    def _planned(self, turn: Turn, costs: RoundCosts) -> TreePlan | None:
        # a size of which nothing is known counts as it is hoped to as long as losses allow that
        curve = costs.times.hopeful if costs.may_explore else costs.curve
        if costs.curve is None or curve is None:
            return self._plan
        # such sizes are come near to by doubling, where those that follow promise to pay
        most = min(self._budget, costs.next_size)
        if self._plan is not None and self._until_plan > 0 and most <= self._planned_for:
            return self._plan
        plain_ms = curve.ms(1)
        lacking_ms = (self._planning_ms + self._plan_ms) / PLANNING - costs.run_ms
        if self._plan_ms > AT_ONCE * plain_ms and lacking_ms > 0:
            if self._plan is None:
                self._bound.wait(ceil(lacking_ms / max(plain_ms, 1e-3)))
            return self._plan
        began = turn.meter.ms
        own_ms, more_ms, known = costs.own_ms, self._own_ms, curve

        def ms(size: int) -> float:
            return known.ms(size) + (more_ms if size > 1 else own_ms)

        def planned(most: int) -> TreePlan:
            nodes = min(most, self.engine.branches)
            return plan_trees(self.accuracy, ms, most=most, nodes=nodes, rows=self.engine.rows)

        self._plan = planned(most)
        self._hope = planned(self._budget).rate if most < self._budget else 0.0
        self._ms, self._planned_for = ms, most
        self._until_plan, self._between = self._between, min(2 * self._between, LAST_PLAN)
        self._plan_ms = turn.meter.ms - began
        self._planning_ms += self._plan_ms
        return self._plan
