"""The rules by themselves, on rows made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adec.decoding.diffusion.ccd import Agreeing, Averaged
from adec.decoding.diffusion.eb_sampler import EntropyBound
from adec.decoding.diffusion.fast_dllm import Factor, SureTokens
from adec.decoding.diffusion.frontier import NearFirst
from adec.decoding.diffusion.localleap import Neighbours
from adec.decoding.diffusion.prophet import EarlyCommit
from adec.decoding.diffusion.reference_steps import Quota
from adec.decoding.diffusion.unmasking import Proposals, UnmaskingRule
from adec.sampling import Sampler
from adec.signals import ArrayScores


def proposals(
    *rows: tuple[float, ...],
    step: int = 0,
    inside: int | None = None,
    end: int | None = None,
    done: float = 0.0,
) -> Proposals:
    """Positions 10, 11, … with these distributions, each with its likeliest token."""
    with np.errstate(divide="ignore"):
        scores = ArrayScores(np.log(np.array(rows, dtype=np.float32)))
    ends = frozenset() if end is None else frozenset({end})
    places = range(10, 10 + len(rows))
    return Proposals(scores, places, Sampler(), step, inside=inside, end=ends, done=done)


def sure(*values: float) -> Proposals:
    return proposals(*((value, 1 - value, 0.0) for value in values))


def nats(probability: float) -> float:
    return -sum(p * math.log(p) for p in (probability, 1 - probability))


def test_a_threshold_takes_all_above_it_and_never_none() -> None:
    assert SureTokens(0.9).choose(sure(0.95, 0.6, 0.901, 0.89)) == [0, 2]
    assert SureTokens(0.9).choose(sure(0.6, 0.8, 0.7)) == [1]
    assert SureTokens(0.9).choose(sure(0.8, 0.8)) == [0]


def test_the_factor_rule_is_that_of_the_theorem() -> None:
    # the k-th likeliest must reach 1 - 1/(k + 1): 0.5, 0.667, 0.75, 0.8
    assert Factor(1.0).choose(sure(0.99, 0.99, 0.76, 0.9)) == [0, 1, 3]
    assert Factor(1.0).choose(sure(0.99, 0.99, 0.81, 0.9)) == [0, 1, 3, 2]
    # the released code would let both stand
    assert Factor(1.0).choose(proposals((0.99, 0.01, 0.0), (0.4, 0.3, 0.3))) == [0]
    assert Factor(0.0).choose(sure(0.7, 0.6)) == [0]


def test_the_entropy_bound_leaves_out_the_greatest() -> None:
    values = (0.999, 0.95, 0.99, 0.6)
    order = [0, 2, 1, 3]
    spent = [0.0, nats(0.999), nats(0.999) + nats(0.99)]
    for count in (1, 2, 3):
        bound = spent[count - 1] + 1e-6
        assert EntropyBound(bound).choose(sure(*values)) == order[:count]
    assert EntropyBound(10.0).choose(sure(*values)) == order
    assert EntropyBound(0.0).choose(sure(1.0, 1.0, 0.7)) == [0, 1, 2]


def test_orders_may_disagree() -> None:
    rows = (
        (0.50, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05),  # greatest margin
        (0.52, 0.48, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),  # likeliest
        (0.50, 0.49, 0.01, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    )
    assert Quota(1, "confidence").choose(proposals(*rows)) == [1]
    assert Quota(1, "margin").choose(proposals(*rows)) == [0]
    assert Quota(3, "entropy").choose(proposals(*rows)) == [1, 2, 0]


def test_a_random_order_changes_from_step_to_step() -> None:
    orders = {tuple(Quota(6, "random").choose(sure(*[0.5] * 6))) for _ in range(3)}
    assert len(orders) == 1
    steps = [Quota(6, "random").choose(proposals(*[(0.5, 0.5)] * 6, step=s)) for s in range(9)]
    assert len({tuple(order) for order in steps}) > 4


def test_beside_an_anchor_less_suffices() -> None:
    rule = Neighbours(0.9, 0.75, 2)
    assert rule.choose(sure(0.8, 0.8, 0.95, 0.7, 0.8, 0.8)) == [0, 1, 2, 4]
    # without an anchor the lower threshold counts for nothing
    assert rule.choose(sure(0.8, 0.85, 0.8)) == [1]
    # distances are positions of the canvas, whatever stands between
    with np.errstate(divide="ignore"):
        rows = ArrayScores(np.log(np.array([(0.95, 0.05), (0.8, 0.2)], dtype=np.float32)))
    assert rule.choose(Proposals(rows, [3, 5], Sampler())) == [0, 1]
    assert rule.choose(Proposals(rows, [3, 6], Sampler())) == [0]


def test_a_run_must_be_likely_together_or_a_token_alone_and_both_within_reach() -> None:
    rule = NearFirst(4, 0.8, 0.99, twins=True)
    # 0.95 * 0.9 = 0.855 and 0.855 * 0.9 = 0.7695
    assert rule.choose(sure(0.95, 0.9, 0.9, 0.6)) == [0, 1]
    # the third is likely enough alone; the run behind it is not likely together
    assert rule.choose(sure(0.95, 0.6, 0.995, 0.9)) == [0, 2]
    # beyond the reach nothing counts, and the surest within it stands in any case
    assert rule.choose(sure(0.5, 0.7, 0.6, 0.6, 0.999)) == [1]
    # a run begins anew behind a position that stands; reach counts positions of the canvas
    with np.errstate(divide="ignore"):
        rows = [(0.6, 0.4), (0.85, 0.15), (0.85, 0.15), (0.999, 0.001)]
        scores = ArrayScores(np.log(np.array(rows, dtype=np.float32)))
    assert rule.choose(Proposals(scores, [3, 5, 6, 7], Sampler())) == [1]
    wider = NearFirst(5, 0.8, 0.99, twins=True)
    assert wider.choose(Proposals(scores, [3, 5, 6, 7], Sampler())) == [1, 3]


def test_of_two_neighbours_with_one_token_the_less_sure_waits() -> None:
    first, other = (0.95, 0.05, 0.0), (0.05, 0.95, 0.0)
    rule = NearFirst(4, 0.8, 0.9)
    assert rule.choose(proposals(first, other, first)) == [0, 1, 2]
    assert rule.choose(proposals(first, first, other)) == [0, 2]
    assert rule.choose(proposals(first, (0.99, 0.01, 0.0), other)) == [1, 2]
    assert rule.choose(proposals((0.94, 0.06), (0.99, 0.01), (0.95, 0.05))) == [1]
    assert NearFirst(4, 0.8, 0.9, twins=True).choose(proposals(first, first, other)) == [0, 1, 2]
    # a run ends there: 0.95 alone is not enough for the third
    assert NearFirst(4, 0.8, 0.99).choose(proposals(first, first, other)) == [0]
    # the surest stands in any case, also beside one that is out of reach
    assert NearFirst(2, 1.0, 1.0).choose(proposals((0.6, 0.4), (0.7, 0.3), (0.9, 0.1))) == [1]
    # ends may be many
    assert rule.choose(proposals(first, first, other, end=0)) == [0, 1, 2]


def test_all_that_is_left_stands_once_the_gaps_are_great() -> None:
    rule = EarlyCommit((7.5, 5.0, 2.5), 0)
    wide = tuple((1 - 1 / (1 + math.exp(g)), 1 / (1 + math.exp(g)), 0.0) for g in (6, 5, 4))
    assert rule.choose(proposals(*wide, done=0.2)) == [0]
    assert list(rule.choose(proposals(*wide, done=0.4))) == [0, 1, 2]
    assert list(rule.choose(proposals(*wide[1:], done=0.4))) == [0]  # a mean of 4.5
    assert list(rule.choose(proposals(*wide[1:], done=0.7))) == [0, 1]
    # what lies behind the end that is proposed does not count
    ended = proposals((1e-5, 1 - 1e-5, 0.0), (0.5, 0.3, 0.2), end=1, done=0.4)
    assert list(rule.choose(ended)) == [0, 1]
    # until then only positions of the block at work are filled
    assert rule.choose(proposals((0.5, 0.4, 0.1), (0.9, 0.1, 0.0), inside=1)) == [0]
    last = EarlyCommit((7.5, 5.0, 2.5), 1)
    assert list(last.choose(proposals((0.5, 0.5, 0.0), wide[0], done=0.4))) == [0, 1]


def test_an_average_over_steps_must_be_sure() -> None:
    rule = Averaged(2, 2, 0.2, dynamic=True)
    assert rule.choose(sure(0.99, 0.98, 0.6)) == [0]  # nothing was there before
    assert rule.choose(proposals(*[(v, 1 - v, 0.0) for v in (0.99, 0.98, 0.6)], step=1)) == [0, 1]
    # the second one changed its mind, so that its average is unsure
    moved = proposals((0.99, 0.01, 0.0), (0.02, 0.98, 0.0), (0.6, 0.4, 0.0), step=2)
    assert rule.choose(moved) == [0]
    # another answer remembers nothing
    assert rule.choose(sure(0.99, 0.98, 0.6)) == [0]
    single = Averaged(2, 2, 0.2, dynamic=False)
    for step in range(3):
        rows = [(v, 1 - v, 0.0) for v in (0.9, 0.99, 0.6)]
        assert single.choose(proposals(*rows, step=step)) == [1]


def test_the_released_form_compares_ranks_and_tokens_of_two_steps() -> None:
    rule = Agreeing(4, dynamic=True)
    rows = [(v, 1 - v, 0.0) for v in (0.99, 0.97, 0.95, 0.9, 0.85, 0.8)]
    for step in range(5):  # plain steps at first
        assert rule.choose(proposals(*rows, step=step)) == [0]
    # the best position was not among those ranked behind the last one filled: it alone stands
    assert rule.choose(proposals(*rows, step=5)) == [0]
    later = Agreeing(4, dynamic=True)
    for step in range(5):
        later.choose(proposals(*rows, step=step))
    # position 10 stands now; the two behind it agree, the fourth has another token
    with np.errstate(divide="ignore"):
        left = [rows[1], rows[2], (0.1, 0.9, 0.0)]
        scores = ArrayScores(np.log(np.array(left, dtype=np.float32)))
    assert later.choose(Proposals(scores, [11, 12, 13], Sampler(), 5)) == [0, 1]


@pytest.mark.parametrize(
    "rule",
    [
        SureTokens(0.9), Factor(1.0), EntropyBound(0.1), Quota(2, "margin"),
        Neighbours(0.9, 0.5, 2), NearFirst(4, 0.6, 0.9), EarlyCommit((2.0, 1.0, 0.5), 0),
        Averaged(4, 2, 0.3, dynamic=True), Averaged(4, 3, 0.3, dynamic=False),
        Agreeing(4, dynamic=True), Agreeing(4, dynamic=False),
    ],
)  # fmt: skip
def test_every_rule_chooses_distinct_positions(rule: UnmaskingRule) -> None:
    rng = np.random.default_rng(0)
    for step in range(50):
        rows = rng.dirichlet([0.2] * 5, size=rng.integers(1, 9))
        done = float(rng.random())
        found = rule.choose(proposals(*map(tuple, rows), step=step % 11, done=done))
        assert 1 <= len(set(found)) == len(found) <= len(rows)
        assert all(0 <= i < len(rows) for i in found)


def test_signals_of_all_rows_are_those_of_each() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, (7, 40)).astype(np.float32)
    logits[:, 3] = -np.inf
    scores = ArrayScores(logits)
    for sampler in (Sampler(), Sampler(2.0, seed=4)):
        found = Proposals(scores, range(7), sampler)
        for i in range(7):
            assert found.tokens[i] == sampler.pick(scores, i, i)
            assert found.confidence(i) == pytest.approx(
                scores.probability(i, found.tokens[i]), rel=1e-4
            )
            assert found.margin(i) == pytest.approx(scores.margin(i), abs=1e-5)
            assert found.entropy(i) == pytest.approx(scores.entropy(i), abs=1e-4)
