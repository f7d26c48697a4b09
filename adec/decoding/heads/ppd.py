"""PPD: learned prompt tokens behind every candidate foresee what follows it, as it is verified.

Chen et al. 2024, "Hardware-Aware Parallel Prompt Decoding for Memory-Efficient Acceleration of LLM
Inference", arXiv 2405.18628. A round of `pair/draft_verify.py` takes one forward of one model:

    1. propose   the tree of this round's state (`prompt_trees.py`): candidate (distance d, rank j)
                 is the j-th likeliest token of the d-th row foreseen at the end of the last round
    2. verify    one forward reads the candidates and the prompt tokens behind them
    3. accept    greedy or sampled, the model's own choices stand
    4. learn     the rows behind the last accepted node; which ranks were right in the rows before

Exact: a candidate only says which forwards have been made already, and nothing attends to a prompt
token but the chain it is in. `accept=typical` is the paper's rule where it samples: approximate.

What is different here: trees are sized by the measured forward times of this machine, in each state
of the chain, where the paper takes one size (`size=fixed`); accuracies begin as they were counted
when the part was learned (`adec calibrate MODEL --fit ppd`), and are counted on in every answer;
where no tree pays, none is verified and nothing is foreseen, and both are tried again now and then.
The ensemble of prompt tokens (EPT) is left out: the paper finds one best for latency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from msgspec.structs import replace

from adec.decoding.heads.prompt_trees import Accuracy, PromptTree, TreePlan, plan_trees
from adec.decoding.heads.prompted_engine import PromptedEngine
from adec.decoding.heads.typical import TypicalAcceptance
from adec.decoding.pair.accept import FollowTarget, Verifier
from adec.decoding.pair.clock.candidate import OWN_MS
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_verify import DraftChooser, DraftVerify, Turn
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.pair import Engines
from adec.engines.protocols import EmbedEngine, Vectors
from adec.errors import EngineError, ModelFileError
from adec.events.records import Step
from adec.parts.part import Part
from adec.tree import ROOT, TokenTree

KIND = "ppd"
"""Of the part that it needs, and the name of the strategy."""
PROMPTS = 8
"""Prompt tokens of a chain at most."""
RANKS = 10
"""Likeliest tokens of a row that may be drafted, as in the paper."""
TRUST, MEMORY = 60.0, 240.0
"""Trials that the part's accuracies count for, and that are remembered at most."""
FIRST_PLAN, LAST_PLAN = 4, 256
"""Rounds between two plans: twice as many each time."""
PROBE, LONGEST_PAUSE = 64, 4096
"""Rounds after which it is tried again where nothing pays: four times as many each time."""
LOST, WON = 4.0, 16.0
"""Plain rounds that drafting may have lost before it pauses, and that it is remembered to have won:
the plan is a forecast, this is what became of it."""
PLAIN = 64
"""Rounds with prompt tokens after which one is made without, while they win less than SURELY."""
SURELY = 1.5


@dataclass(frozen=True)
class PromptTokens:
    """What a part holds."""

    embeddings: Vectors
    """Shape (prompt tokens, width)."""
    accuracy: Accuracy
    """See `prompt_trees.py`."""


def prompts_of(part: Part, width: int) -> PromptTokens:
    """The prompt tokens of a part. Raises ModelFileError where they do not fit the model."""
    embeddings = part.tensor("embeddings", None, width)
    count = len(embeddings)
    if not 1 <= count <= PROMPTS:
        raise ModelFileError(f"the part {KIND} has {count} prompt tokens, not 1 to {PROMPTS}")
    accuracy = part.tensor("accuracy", count, RANKS).astype(np.float64)
    if accuracy.min() < 0 or (accuracy.sum(1) > 1 + 1e-4).any():
        raise ModelFileError(f"the accuracies of the part {KIND} are no shares")
    return PromptTokens(embeddings, accuracy)


class RankCounts:
    """How often the j-th likeliest token at a distance was the one that was written."""

    def __init__(self, prior: Accuracy) -> None:
        self._hits = prior * TRUST
        self._trials = np.full(len(prior), TRUST)
        # rows whose tokens are not all known yet: where the first one stands, and ids by distance
        self._waiting: list[tuple[int, list[list[int]]]] = []

    @property
    def accuracy(self) -> Accuracy:
        """By distance and rank."""
        return cast(Accuracy, self._hits / self._trials[:, None])

    def new_answer(self) -> None:
        """Forget rows of the answer before."""
        self._waiting.clear()

    def foresee(self, position: int, ids: list[list[int]]) -> None:
        """The row at distance d says `ids[d]`, likeliest first, of position `position` + d."""
        if ids:
            self._waiting.append((position, ids))

    def observe(self, sequence: Sequence[int]) -> None:
        """Count what the sequence has shown to be right or wrong."""
        waiting = []
        for position, ids in self._waiting:
            if position + len(ids) > len(sequence):
                waiting.append((position, ids))
                continue
            for distance, likeliest in enumerate(ids):
                self._trials[distance] += 1
                token = sequence[position + distance]
                if token in likeliest:
                    self._hits[distance, likeliest.index(token)] += 1
                if self._trials[distance] > MEMORY:
                    self._hits[distance] /= 2
                    self._trials[distance] /= 2
        self._waiting = waiting


class PromptChooser(DraftChooser):
    """Proposes the tree of the state, and says which nodes carry prompt tokens."""

    def __init__(
        self,
        engine: PromptedEngine,
        accuracy: Accuracy,
        costs: RoundCosts,
        *,
        budget: int,
        fixed: bool,
    ) -> None:
        """`budget`: tokens of a forward at most; `fixed`: always so many."""
        self._engine = engine
        self._counts = RankCounts(accuracy)
        self._costs = costs
        self._budget = budget
        self._fixed = fixed
        self._plan: TreePlan | None = None
        self._most = 0  # tokens of a forward in that plan
        self._until_plan, self._between = 0, FIRST_PLAN
        self._pause, self._tries, self._since_plain = PROBE, False, 0
        self._own_ms = OWN_MS  # running mean, of rounds with prompt tokens
        self._balance_ms, self._resting = 0.0, 0
        self._ahead: list[list[int]] = []
        self._drafted = False
        self._end: frozenset[int] = frozenset()

    @property
    def plain_ms(self) -> float | None:
        return self._costs.times.plain_ms

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._counts.new_answer()
        self._ahead, self._end = [], limits.end
        yield from ()

    def read(self, step: Step) -> None:
        self._costs.record_prompt(step)

    def finish(self) -> None:
        self._costs.keep()
        self._costs.new_answer()
        self._engine.carry = {}

    def rest(self) -> int:
        if self._resting:
            self._engine.carry, self._drafted, self._ahead = {}, False, []
        return self._resting

    def propose(self, turn: Turn) -> Proposal:
        self._engine.carry, self._drafted = {}, False
        tree = self._tree(min(len(self._ahead), turn.room.depth))
        if tree is None or turn.unread != 1:
            return empty()
        proposal, carry = self._filled_in(tree, turn)
        # behind the last tokens there is nothing to foresee
        far = turn.room.depth
        self._engine.carry = {row: min(count, far) for row, count in carry.items() if far > 0}
        self._drafted = len(proposal) > 0 or bool(self._engine.carry)
        return proposal

    def learn(self, outcome: Outcome) -> None:
        path = outcome.accepted.path
        foreseen = self._engine.foreseen(path[-1] + 1 if path else 0)
        self._ahead = [[token for token, _ in scores.top(row, RANKS)] for scores, row in foreseen]
        self._counts.observe(outcome.sequence)
        self._counts.foresee(len(outcome.sequence), self._ahead)

    def account(self, step: Step) -> None:
        if any(forward.purpose == "prompt" for forward in step.forwards):
            return
        steady = self._costs.record(_whole(step), plain=not self._drafted)
        if self._drafted and steady and not self._fixed:
            self._judge(step)
        self._since_plain = self._since_plain + 1 if self._drafted else 0
        # a pause lasts beyond the end of an answer
        self._resting = max(0, self._resting - (not self._drafted))
        self._until_plan -= 1

    def _judge(self, step: Step) -> None:
        """Count what a round with prompt tokens won, and pause when they have lost too much."""
        self._own_ms += 0.2 * (step.own_ms - self._own_ms)
        curve = self._costs.curve
        if curve is None:
            return
        plain_ms = self._costs.plain_round_ms(curve, 1)
        won_ms = len(step.tokens) * plain_ms - step.ms() - step.own_ms
        self._balance_ms = min(WON * plain_ms, self._balance_ms + won_ms)
        if self._balance_ms < -LOST * plain_ms:
            self._balance_ms = 0.0
            self._rest_for_long()
        elif self._balance_ms >= WON * plain_ms:
            self._pause = PROBE

    def _tree(self, state: int) -> PromptTree | None:
        """The tree of a state; None for a plain round."""
        if self._fixed:
            plan = self._planned(lambda size: 1.0)
        else:
            curve = self._costs.times.hopeful
            if self._costs.curve is None or curve is None:
                return None
            plain_ms, more_ms, known = self._costs.own_ms, self._own_ms, curve
            plan = self._planned(lambda size: known.ms(size) + (more_ms if size > 1 else plain_ms))
            won = plan.rate * max(known.ms(1) + plain_ms, 1e-9)
            if self._since_plain >= PLAIN and won < SURELY:
                return None
        if plan.drafts or state:
            self._tries = not plan.drafts and self._tries
            return plan.trees[state]
        if self._tries:
            self._tries = False
            return PromptTree(prompts=(len(plan.trees) - 1,))
        self._rest_for_long()
        return None

    def _rest_for_long(self) -> None:
        """Pause four times as long as the last time, and then try once."""
        self._resting, self._tries = self._pause, True
        self._pause = min(4 * self._pause, LONGEST_PAUSE)

    def _planned(self, ms: Callable[[int], float]) -> TreePlan:
        # sizes of which nothing is known are come near to by doubling
        most = self._budget if self._fixed else min(self._budget, self._costs.next_size)
        if self._plan is None or self._until_plan <= 0 or most > self._most:
            nodes = min(most, self._engine.branches)
            self._most = most
            self._plan = plan_trees(
                self._counts.accuracy, ms, most=most, nodes=nodes, fixed=self._fixed
            )
            self._until_plan, self._between = self._between, min(2 * self._between, LAST_PLAN)
        return self._plan

    def _filled_in(self, tree: PromptTree, turn: Turn) -> tuple[Proposal, dict[int, int]]:
        """A tree with its tokens, and by row the prompt tokens behind it."""
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
        return Proposal(found, [KIND] * len(found), chances), carry


def _whole(step: Step) -> Step:
    """A step with its prompt tokens counted into the forward that they were in."""
    one, *beside = sorted(step.forwards, key=lambda forward: forward.purpose == "draft")
    tokens = one.tokens + sum(forward.tokens for forward in beside)
    ms = one.ms + sum(forward.ms for forward in beside)
    return replace(step, forwards=(replace(one, tokens=tokens, ms=ms),))


@dataclass(frozen=True, slots=True)
class PpdSettings:
    """`--set ppd.NAME=VALUE`."""

    accept: Literal["exact", "typical"] = setting(
        "exact", "exact: the model's own choices. typical: whatever it finds likely (approximate)"
    )
    size: Literal["time", "fixed"] = setting(
        "time", "time: as many tokens a forward as pay on this machine. fixed: always the budget"
    )
    budget: int = setting(
        32, "candidates and prompt tokens of a forward at most (paper: 105 on its GPU)",
        least=2, most=256,
    )  # fmt: skip
    threshold: float = setting(
        0.09, "typical: a probability that always suffices (paper)", least=0, most=1
    )
    alpha: float = setting(
        0.3, "typical: what suffices is alpha * exp(-entropy) where that is less (paper)",
        least=0, most=1,
    )  # fmt: skip


def parts(settings: PpdSettings) -> tuple[str, ...]:
    """The part that the prompt tokens are in."""
    return (KIND,)


class Ppd:
    """The strategy; its part is read when the first answer begins."""

    name = KIND
    paper = "arXiv 2405.18628"

    def __init__(self, engines: Engines, settings: PpdSettings, aids: Aids) -> None:
        self._large = engines["large"]
        self._settings, self._aids = settings, aids
        self._verifier: Verifier = FollowTarget()
        if settings.accept == "typical":
            self._verifier = TypicalAcceptance(settings.threshold, settings.alpha)
        self._rounds: DraftVerify | None = None
        self.guarantee = self._verifier.guarantee

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`.

        Raises UsageError where there is no part, ModelFileError where it does not fit.
        """
        if self._rounds is None:
            self._rounds = self._wired()
        yield from self._rounds.generate(prompt, limits)

    def _wired(self) -> DraftVerify:
        large, chosen = self._large, self._settings
        if not isinstance(large, EmbedEngine):
            raise EngineError(
                f"{large.info.name} takes no vectors as it is run here",
                hint="run it on this machine, without --rpc",
            )
        prompts = prompts_of(self._aids.part(KIND), large.width)
        engine = PromptedEngine(large, prompts.embeddings)
        costs = RoundCosts(engine, self._aids.curves.get("large"))
        fixed = chosen.size == "fixed"
        chooser = PromptChooser(engine, prompts.accuracy, costs, budget=chosen.budget, fixed=fixed)
        return DraftVerify(self.name, self.paper, engine, chooser, self._verifier)
