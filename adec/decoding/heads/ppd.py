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
where no plan pays, nothing is verified or foreseen (`planned_foresight.py`). `speculate` plans in
the same way, beside its other drafters, and has prompt tokens foresee behind their drafts, too.
The ensemble of prompt tokens (EPT) is left out: the paper finds one best for latency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.heads.planned_foresight import FIRST_PLAN, LAST_PLAN, PlannedForesight
from adec.decoding.heads.prompt_part import KIND, prompts_of
from adec.decoding.heads.prompt_trees import TreePlan
from adec.decoding.heads.prompted_engine import PromptedEngine
from adec.decoding.heads.typical import TypicalAcceptance
from adec.decoding.pair.accept import FollowTarget, Verifier
from adec.decoding.pair.clock.chooser import ClockChooser
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_chooser import DraftChooser, Turn
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.pair import Engines
from adec.engines.protocols import EmbedEngine
from adec.errors import EngineError
from adec.events.records import Step


class FixedTrees(DraftChooser):
    """Always as many tokens a forward: the paper's trees of most tokens a round."""

    def __init__(self, drafter: PlannedForesight) -> None:
        self._drafter = drafter
        self._plan: TreePlan | None = None
        self._until_plan, self._between = 0, FIRST_PLAN

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._drafter.start(limits)
        yield from ()

    def propose(self, turn: Turn) -> Proposal:
        drafter = self._drafter
        drafter.stop()
        if turn.unread != 1:
            return empty()
        if self._plan is None or self._until_plan <= 0:
            self._plan = drafter.fixed_plan()
            self._until_plan, self._between = self._between, min(2 * self._between, LAST_PLAN)
        self._until_plan -= 1
        return drafter.propose_tree(self._plan.trees[min(drafter.state, turn.room.depth)], turn)

    def learn(self, outcome: Outcome) -> None:
        self._drafter.learn(outcome)

    def finish(self) -> None:
        self._drafter.stop()


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
        drafter = PlannedForesight(KIND, engine, prompts.accuracy, budget=chosen.budget)
        chooser: DraftChooser = FixedTrees(drafter)
        if chosen.size == "time":
            costs = RoundCosts(engine, self._aids.curves.get("large"))
            chooser = ClockChooser([], costs, ahead=drafter)
        return DraftVerify(self.name, self.paper, engine, chooser, self._verifier)
