"""Whole strategies on a made-up clock: what they draft where it pays, and where it does not."""

from __future__ import annotations

import random

import pytest

from adec.decoding.pair.accept import FollowTarget
from adec.decoding.pair.clock.candidate import ASKING, HOPELESS, CandidateDrafter
from adec.decoding.pair.clock.chooser import RESTING, ClockChooser
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.clock.small_start import LATER
from adec.decoding.pair.draft_chooser import DraftChooser, Turn
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.model_free.lookup import LookupSettings
from adec.decoding.pair.model_free.suffix import Suffix
from adec.decoding.pair.smartspec import GoodputChooser, SmartSpecSettings
from adec.decoding.pair.speculate import SpeculateSettings
from adec.decoding.plain import Plain
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.events.records import Forward, Step, Token
from adec.sampling import Sampler
from adec.tree import TokenTree
from tests.decoding.clock import LARGE, SMALL, Clock, TimedTable, cpu, timed_pair
from tests.laws import law, prompt_of


def two_moods(change: int, back: int):
    """The small model is right before position `change` and after `back`, wrong between."""

    def target(prefix):
        row = [0.0] * 6
        row[(prefix[-1] + 1 + len(prefix) // 5 % 3) % 6] = 1.0
        return row

    def draft(prefix):
        if change <= len(prefix) < back:
            row = [0.0] * 6
            row[(prefix[-1] + 5) % 6] = 1.0
            return row
        return target(prefix)

    return draft, target


def run(name: str, settings, draft, target, *, small=SMALL, large=LARGE, count=400):
    clock = Clock()
    engines = Engines(
        large=TimedTable(target, clock, large, size=6, name="large"),
        small=TimedTable(draft, clock, small, size=6, name="small"),
    )
    strategy = find_method(name).build(engines, settings, Aids())
    with clock.installed():
        steps = list(strategy.generate(prompt_of([0]), Limits(count)))
    return [step for step in steps if step.kind != "prompt"]


ONLY_SMALL = SpeculateSettings(suffix=False, recycling=False)


@pytest.mark.parametrize(
    ("name", "settings"), [("speculate", ONLY_SMALL), ("smartspec", SmartSpecSettings())]
)
def test_drafting_stops_where_it_cannot_pay_and_comes_back(name, settings) -> None:
    steps = run(name, settings, *two_moods(150, 450), count=800)
    position, moods = 1, {"right": [], "wrong": [], "again": []}
    for step in steps:
        mood = "right" if position < 150 else "wrong" if position < 450 else "again"
        moods[mood].append(step)
        position += len(step.tokens)

    def speed(steps) -> float:
        return 10 * sum(len(s.tokens) for s in steps) / sum(s.ms() for s in steps)

    assert speed(moods["right"]) > 1.8
    assert speed(moods["wrong"]) > 0.85
    drafted = [step.drafted > 0 for step in moods["wrong"]]
    assert sum(drafted[20:]) <= 0.15 * len(drafted[20:])
    assert speed(moods["again"]) > 1.3
    assert speed(moods["again"][-20:]) > 1.8


def test_a_small_model_that_costs_too_much_is_left_alone() -> None:
    """Every draft is right, and still not worth it: acceptance cannot decide."""
    steps = run("speculate", ONLY_SMALL, *two_moods(0, 0), small=cpu(12, 1))
    assert sum(step.drafted > 0 for step in steps) <= 16
    assert 10 * 400 / sum(step.ms() for step in steps) > 0.9
    assert any(step.reason and "pause" in step.reason for step in steps)


def test_a_small_model_is_not_judged_for_ever_by_a_slow_moment() -> None:
    """Its first two forwards take twenty times as long as all later ones; another drafter pays
    meanwhile.
    """
    began = []

    def slow_at_first(count: int) -> float:
        began.append(count)
        return cpu(20.0, 4.0)(count) if len(began) <= 2 else SMALL(count)

    chosen = SpeculateSettings(suffix=False)
    steps = run("speculate", chosen, *two_moods(0, 0), small=slow_at_first, count=400)
    late = steps[-12:]
    assert 10 * sum(len(s.tokens) for s in late) / sum(s.ms() for s in late) > 1.8


def test_a_machine_whose_batches_cost_as_much_as_single_tokens_drafts_nothing() -> None:
    steps = run("speculate", SpeculateSettings(), *two_moods(0, 0), large=lambda n: 10.0 * n)
    assert 10 * 400 / sum(step.ms() for step in steps) > 0.95
    assert sum(step.drafted > 0 for step in steps) < 0.1 * len(steps)


def test_budgets_end_before_a_step_of_the_machine() -> None:
    """Verification is free up to four tokens, then doubles: blocks of four, whole or but for one,
    once that was seen.
    """
    steps = run(
        "speculate",
        ONLY_SMALL,
        *two_moods(0, 0),
        large=lambda n: 10.0 * -(-n // 4),
        small=cpu(2.5, 0.1),
    )
    late = [f.tokens for s in steps[len(steps) // 2 :] for f in s.forwards if f.purpose == "verify"]
    assert late and sum(tokens % 4 in (3, 0) for tokens in late) >= 0.9 * len(late)


def test_goodput_knows_no_draft_and_long_ones() -> None:
    engine = TableEngine(law(6, 1), size=6)
    small = SmallModel(engine, CostCurve({1: 1.0}))
    chooser = GoodputChooser(small, engine, SmartSpecSettings())
    flat, linear = CostCurve({1: 10.0, 9: 10.0}), CostCurve({1: 10.0, 9: 90.0})
    best = {}
    for alpha in (0.1, 0.5, 0.9):
        chooser.alpha = alpha
        for name, curve in (("flat", flat), ("linear", linear)):
            best[alpha, name] = max(range(9), key=lambda k, c=curve: chooser.goodput(k, 1, c))
    assert [best[a, "linear"] for a in (0.1, 0.5, 0.9)] == [0, 0, 0]
    assert best[0.1, "flat"] < best[0.5, "flat"] < best[0.9, "flat"] == 8


class Repeats:
    """Says the prompt again, then again."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, prefix):
        token = prefix[-self.length] if len(prefix) >= self.length else 0
        return [100.0 if t == token else 1.0 for t in range(12)]


def copied(cost, count: int = 200):
    clock = Clock()
    rng = random.Random(4)
    prompt = [rng.randrange(12) for _ in range(60)]
    engine = TimedTable(Repeats(60), clock, cost, size=12, context=600)
    curve = CostCurve({n: cost(n) for n in range(1, 33)})
    aids = Aids(curves={"large": curve})
    strategy = find_method("lookup").build(Engines(large=engine), LookupSettings(), aids)
    with clock.installed():
        steps = list(strategy.generate(prompt_of(prompt), Limits(count)))
    tokens = [token.id for step in steps for token in step.tokens]
    assert tokens == (prompt * 5)[:count]
    return steps


def test_a_forward_nearly_full_is_filled_up() -> None:
    filled = 0
    for count in range(190, 198):  # the answer's limit leaves less than a block at the end
        steps = copied(lambda n: (3.0 if n % 8 == 0 else 5.0) * n, count)
        forwards = [f for step in steps for f in step.forwards if f.purpose == "verify"]
        assert max(len(step.tokens) for step in steps) >= 8
        assert all(f.tokens % 8 == 0 for f in forwards if f.tokens >= 5)
        filled += any(s.forwards[0].tokens > s.drafted + 1 for s in steps if s.drafted)
    assert filled >= 2


def misled(lead: int):
    """A text in which what followed before does not follow again: each repeat is cut short.

    Every `lead` tokens two old ones return, so that suffixes match, and then something else comes.
    """

    def target(prefix):
        row = [0.0] * 64
        place = len(prefix)
        token = (place // lead * 7 + 3 * (place % lead)) % 64 if place % lead > 1 else place % lead
        row[token] = 1.0
        return row

    return target


@pytest.mark.parametrize("more", [0.5, 1.5, 3.0, 5.0])
@pytest.mark.parametrize("lead", [3, 4, 6])
def test_offers_that_are_wrong_cost_a_hundredth_of_the_answer_and_a_few_rounds(lead, more) -> None:
    clock = Clock()
    large = TimedTable(misled(lead), clock, cpu(10.0, more), size=64, context=600)
    curve = CostCurve({n: cpu(10.0, more)(n) for n in (1, 2, 4, 8, 16, 32, 64)})
    aids = Aids(curves={"large": curve})
    strategy = find_method("speculate").build(Engines(large=large), SpeculateSettings(), aids)
    with clock.installed():
        steps = list(strategy.generate(prompt_of([0]), Limits(400)))
    ms = sum(step.ms() for step in steps)
    assert ms <= 1.02 * 10.0 * 400 + 2 * 10.0


def start_forecast(*, small: float, pace_ms: float | None = None, written: int = 0):
    """The forecast for a small model of `small` ms a token that reads 60 tokens.

    The answer has taken `pace_ms` a token so far.
    """
    clock = Clock()
    large = TimedTable(law(6, 1), clock, LARGE, size=6)
    costs = RoundCosts(large, CostCurve({n: LARGE(n) for n in (1, 2, 4, 8, 16, 32, 64)}))
    if pace_ms is not None:
        tokens = tuple(Token(0, "large", "written") for _ in range(4))
        forward = Forward("large", "verify", 4, 4 * pace_ms)
        costs.record(Step("wake", tokens, (forward,), 0.0), plain=False)
    engine = TimedTable(law(6, 1), clock, cpu(small, small), size=6)
    drafter = SmallModel(engine, CostCurve({1: small, 64: 64 * small}))
    assert costs.curve is not None
    return CandidateDrafter(drafter).forecast_start(
        costs, costs.curve, read=60, written=written, left=300, longest=64
    )


def test_a_small_model_is_held_against_what_the_answer_takes_without_it() -> None:
    assert start_forecast(small=1.0).pays
    beaten = start_forecast(small=1.0, pace_ms=4.0)
    assert not beaten.pays
    assert beaten.speed < 1.0
    assert "not tried" in (beaten.refusal() or "")


def test_a_prompt_that_is_long_to_read_is_read_once_the_answer_is_long() -> None:
    assert not start_forecast(small=2.0).pays
    assert not start_forecast(small=2.0, written=40).pays
    assert start_forecast(small=2.0, written=200).pays


@pytest.mark.parametrize("asked", [5, 20, 60])
def test_a_first_draft_in_a_conversation_is_held_against_what_is_left_to_read(asked: int) -> None:
    """Not against the whole conversation, which would allow a first word many times later."""
    firsts = {}
    for name in ("plain", "speculate"):
        clock = Clock()
        small, large = timed_pair(clock, likeness=0.95, small_cost=cpu(0.02, 0.01))
        method = find_method(name)
        curves = {"large": CostCurve({n: LARGE(n) for n in range(1, 65)})}
        engines = Engines(small=small, large=large)
        strategy = method.build(engines, method.settings(), Aids(curves))
        ids = [n % 6 for n in range(400)]
        limits = Limits(40, resume=True)
        with clock.installed():
            for turn in range(3):
                began, first = clock.now, None
                for step in strategy.generate(prompt_of(ids), limits):
                    first = clock.now - began if step.tokens and first is None else first
                    ids += [token.id for token in step.tokens]
                firsts[name, turn] = first
                ids += [n % 5 for n in range(asked)]
    for turn in range(3):
        assert firsts["speculate", turn] <= (1 + LATER) * firsts["plain", turn]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_rounds_without_asking_change_no_token_and_are_learnt_at_their_end(temperature) -> None:
    class Resting(DraftChooser):
        """Rests for two rounds, is asked in one, and so on."""

        def __init__(self) -> None:
            self.learnt: list[int] = []
            self.asked = self.steps = 0

        def rest(self) -> int:
            return 2 * (self.asked % 2)

        def propose(self, turn: Turn) -> Proposal:
            self.asked += 1
            return Proposal(TokenTree.chain([1])) if turn.has_room else empty()

        def learn(self, outcome: Outcome) -> None:
            self.learnt += outcome.sequence[outcome.base :]
            self.asked += len(outcome.proposal) == 0

        def account(self, step: Step) -> None:
            self.steps += 1

    for seed in range(8):
        chooser = Resting()
        limits = Limits(25, frozenset({5}), Sampler(temperature, seed=seed))
        engine = TableEngine(law(6, seed), size=6)
        strategy = DraftVerify("x", None, engine, chooser, FollowTarget())
        steps = list(strategy.generate(prompt_of([0, 1]), limits))
        tokens = [token.id for step in steps for token in step.tokens]
        plain = Plain(TableEngine(law(6, seed), size=6)).generate(prompt_of([0, 1]), limits)
        assert tokens == [token.id for step in plain for token in step.tokens]
        assert chooser.learnt == (tokens if len(tokens) > 1 else [])
        assert chooser.steps == sum(step.kind != "prompt" for step in steps) - 1


def test_paused_drafters_are_not_asked_where_asking_shows() -> None:
    chooser = ClockChooser(
        [Suffix()], RoundCosts(TableEngine(law(6, 1), size=6), CostCurve({1: 10.0}))
    )
    for _ in chooser.start([0, 1], Limits(9)):
        pass
    assert chooser.rest() == 0
    candidate = chooser.candidates[0]
    candidate.backoff.pause_unused(20, longer=True)
    assert candidate.backoff.state == "paused"
    chooser.costs.own_ms = 0.0
    assert chooser.rest() == 0
    chooser.costs.own_ms = 0.1 * chooser.plain_ms
    assert chooser.rest() == RESTING
    # what repeats is taken up at the end of such a rest
    candidate.drafter.streak = 100
    assert chooser.rest() == 0 and candidate.backoff.state == "drafting"


def asked(ms: float, *, rounds: int, plain_ms: float = 10.0, won_ms: float = 0.0) -> list[int]:
    """Rounds in which a drafter is asked that takes `ms` to ask.

    Every fourth round is its own, and wins `won_ms`.
    """
    candidate = CandidateDrafter(Suffix())
    found = []
    for number in range(rounds):
        if candidate.backoff.state != "paused":
            found.append(number)
            candidate.note_asking(ms)
            candidate.note_promise(1.0)
            if won_ms and number % 4 == 3:
                token = Token(0, "suffix", "accepted")
                forward = Forward("large", "verify", 2, 2 * plain_ms - won_ms)
                candidate.forget_promises()
                candidate.judge_round(Step("wake", (token, token), (forward,)), plain_ms)
                continue
        candidate.sit_out(plain_ms)
    return found


def test_asking_in_vain_takes_a_small_share_of_the_answer() -> None:
    for ms in (0.2, 0.5, 2.0):
        rounds = asked(ms, rounds=2000)
        assert 0 < ms * len(rounds) <= 1.5 * ASKING * 10.0 * 2000
        # what asking takes is seen at once, and a long answer is not given up
        assert rounds[-1] > 1000


def test_asking_is_free_where_it_does_not_show_and_where_it_pays() -> None:
    assert len(asked(0.02, rounds=300)) == 300
    assert len(asked(0.5, rounds=300, won_ms=8.0)) == 300
    assert len(asked(0.5, rounds=300, won_ms=0.5)) < 100


def test_an_interruption_is_no_cost_of_asking() -> None:
    candidate = CandidateDrafter(Suffix())
    for ms in (0.02, 0.02, 300.0, 0.02, 0.02):
        candidate.note_asking(ms)
        candidate.sit_out(10.0)
    assert candidate.backoff.state == "drafting"


def test_a_hopeless_drafter_is_paused_for_longer_each_time() -> None:
    candidate, waits, waited = CandidateDrafter(Suffix()), [], 0
    for _ in range(400):
        if candidate.backoff.state == "paused":
            waited += 1
        elif waited:
            waits.append(waited)
            waited = 0
        if candidate.backoff.state != "paused":
            candidate.note_asking(0.1)
            candidate.note_promise(HOPELESS - 0.1)
        candidate.sit_out(10.0)
    assert len(waits) >= 2 and waits == sorted(waits) and waits[-1] > waits[0]


class Slow(Suffix):
    """Takes a fifth of a millisecond to ask, on the clock of the forwards."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.asked = 0

    def propose(self, sequence, growth, meter):
        self.asked += 1
        self.clock.now += 0.0002
        return super().propose(sequence, growth, meter)


def test_a_text_without_repeats_is_asked_about_seldom_and_one_with_repeats_always() -> None:
    for text, size, cost in ((law(64, 1), 64, cpu(5.0, 2.0)), (Repeats(20), 12, cpu(5.0, 0.5))):
        clock = Clock()
        large = TimedTable(text, clock, cost, size=size, context=700)
        drafter = Slow(clock)
        curve = CostCurve({n: cost(n) for n in (1, 2, 4, 8, 16, 32, 64)})
        chooser = ClockChooser([drafter], RoundCosts(large, curve))
        strategy = DraftVerify("x", None, large, chooser, FollowTarget())
        with clock.installed():
            steps = list(strategy.generate(prompt_of(list(range(12)) * 2), Limits(400)))
        rounds = [step for step in steps if step.tokens]
        if size == 64:
            own = sum(step.own_ms for step in rounds) / sum(step.ms() for step in rounds)
            assert own <= 2 * ASKING and drafter.asked < 0.2 * len(rounds)
        else:
            assert len(rounds) < 40 and drafter.asked > 0.7 * len(rounds)
