"""What a drafter may lose, and how it comes out of debt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.clock.account import DEBT, LOSABLE, Account
from adec.decoding.pair.drafters.drafter import Proposal
from adec.tree import ROOT, TokenTree

PLAIN_MS = 10.0


def chain(*tokens: int) -> Proposal:
    tree = TokenTree()
    for number, token in enumerate(tokens):
        tree.add(number - 1 if number else ROOT, token, 1.0)
    return Proposal(tree)


@given(st.lists(st.floats(-8.0, 0.0), min_size=1, max_size=200))
def test_what_a_losing_drafter_costs_is_a_share_of_the_run_and_one_round(losses) -> None:
    account, run_ms, lost_ms = Account(), 0.0, 0.0
    for loss in losses:
        run_ms += PLAIN_MS
        if not account.is_overdrawn(run_ms):
            account.book(loss, PLAIN_MS)
            lost_ms -= loss
    assert lost_ms <= LOSABLE * run_ms + 8.0


def test_an_offer_that_would_have_won_clears_the_debt_but_gives_no_credit() -> None:
    account = Account()
    account.book(-6.0, PLAIN_MS)
    assert account.is_overdrawn(0.0)
    account.watch(chain(1, 2, 3), 5.0)
    account.follow([1], PLAIN_MS)  # 10 ms won, 5 spent: not yet enough
    assert account.balance_ms == -6.0
    account.follow([2], PLAIN_MS)
    assert account.balance_ms == 0.0
    assert not account.is_overdrawn(0.0)


def test_a_loss_in_an_answer_that_won_more_is_no_debt_of_the_next_one() -> None:
    winning, losing = Account(), Account()
    for account, wins in ((winning, 20), (losing, 0)):
        for _ in range(wins):
            account.book(PLAIN_MS, PLAIN_MS)
        account.book(-8 * PLAIN_MS, PLAIN_MS)
        assert account.is_overdrawn(0.0)
        account.new_answer()
    assert not winning.is_overdrawn(0.0) and losing.is_overdrawn(0.0)
    winning.book(-6.0, PLAIN_MS)
    winning.new_answer()
    assert winning.balance_ms == -6.0  # what was won long ago pays for nothing


def test_an_offer_that_would_have_lost_deepens_the_debt_down_to_its_bound() -> None:
    account = Account()
    account.book(-6.0, PLAIN_MS)
    for _ in range(50):
        account.watch(chain(1, 2), 5.0)
        account.follow([7], PLAIN_MS)
    assert account.balance_ms == -DEBT * PLAIN_MS


def test_a_branch_is_followed_as_the_text_goes() -> None:
    tree = TokenTree()
    first = tree.add(ROOT, 1, 0.5)
    second = tree.add(ROOT, 2, 0.5)
    tree.add(first, 3, 1.0)
    tree.add(second, 4, 1.0)
    account = Account()
    account.book(-30.0, PLAIN_MS)
    account.watch(Proposal(tree), 8.0)
    account.follow([2, 4], PLAIN_MS)
    assert account.balance_ms == -30.0 + 2 * PLAIN_MS - 8.0


def test_a_debt_outlives_an_answer_and_a_credit_does_not() -> None:
    account = Account()
    account.book(25.0, PLAIN_MS)
    account.new_answer()
    assert account.balance_ms == 0.0
    account.book(-6.0, PLAIN_MS)
    account.new_answer()
    assert account.balance_ms == -6.0
