"""What the suffix drafter proposes: the likeliest continuations, with chances that add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.meter import Meter
from adec.decoding.pair.model_free import suffix
from adec.decoding.pair.model_free.suffix import Suffix
from tests.decoding.pair.drafters.test_drafters import fixed, grows, paths, started


def chain(drafter, text, nodes):
    return drafter.propose(text, fixed(nodes, leaves=1), Meter()).tree.tokens


def chances(drafter, text):
    proposal = drafter.propose(text, fixed(60, leaves=60, depth=1), Meter())
    return dict(zip(proposal.tree.tokens, proposal.chances, strict=True))


def test_the_longest_match_decides_and_shorter_ones_come_behind() -> None:
    text = [9, 1, 2, 3, 7, 1, 2, 3, 8, 9, 1, 2, 3]
    found = chances(started(Suffix(), text), text)
    assert found[7] > 0.5 > found[8] > 0


def test_what_followed_more_often_is_likelier() -> None:
    text = [1, 2, 4, 1, 2, 3, 5, 1, 2, 3, 7, 1, 2, 3, 1, 2]
    found = chances(started(Suffix(), text), text)
    assert found[3] > 2 * found[4] > 0


def test_a_longer_match_and_one_that_stood_more_often_are_surer() -> None:
    texts = (
        [1, 9, 5, 1],
        [2, 1, 9, 5, 2, 1],
        [3, 2, 1, 9, 5, 3, 2, 1],
        [3, 2, 1, 9, 4, 3, 2, 1, 9, 5, 3, 2, 1],
    )
    sure = [chances(started(Suffix(), text), text)[9] for text in texts]
    assert sure == sorted(sure) and sure[0] < sure[-1]


def test_a_copy_that_runs_past_the_end_goes_on_where_it_stood_before() -> None:
    text = [5, 7, 1, 2, 3, 1, 2, 3, 1, 2]
    assert chain(started(Suffix(), text), text, 8) == [3, 1, 2, 3, 1, 2, 3, 1]


def test_a_match_shorter_than_asked_for_is_none() -> None:
    text = [1, 2, 3, 4, 2]
    assert chain(started(Suffix(least=2), text), text, 3) == []
    assert chain(started(Suffix(), text), text, 2) == [3, 4]


def test_the_answer_is_text_too_and_the_next_one_forgets_it() -> None:
    drafter = started(Suffix(), [1, 2])
    grows(drafter, [1, 2], [3, 1, 2])
    assert chain(drafter, [1, 2, 3, 1, 2], 1) == [3]
    assert chain(started(drafter, [1, 2]), [1, 2], 1) == []


def test_with_consent_texts_are_remembered_and_never_run_into_each_other() -> None:
    drafter = started(Suffix([[7, 8, 9], [4]]), [1, 2])
    grows(drafter, [1, 2], [3])
    assert chain(started(drafter, [7, 8]), [7, 8], 5) == [9]
    assert chain(started(drafter, [1]), [1], 5) == [2, 3]
    assert chain(started(drafter, [9]), [9], 5) == []


def test_what_is_remembered_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(suffix, "REMEMBERED", 10)
    drafter = Suffix([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13]])
    assert chain(started(drafter, [11]), [11], 1) == [12]
    for first in range(20, 60, 4):
        started(drafter, range(first, first + 4))
        assert len(drafter._automaton) <= 2 * 10 + 5 + 2
    assert chain(started(drafter, [11]), [11], 1) == []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 3))
def test_chances_add_up_to_less_than_one_and_every_token_followed_some_match(text, least) -> None:
    drafter = started(Suffix(least=least), text)
    proposal = drafter.propose(text, fixed(30), Meter())
    tree = proposal.tree
    for node in (-1, *range(len(tree))):
        below = [proposal.chances[child] for child in tree.children(node)]
        assert sum(below) < 1 and all(chance > 0 for chance in below)
    for path in paths(tree):
        whole = [*text, *path]
        assert any(whole[i : i + 2] == whole[-2:] for i in range(len(whole) - 2))
