"""Two models that differ in a few special tokens: translated when read, never written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.plain import Plain
from adec.decoding.strategy import Limits
from adec.engines.pair import MOST_SPECIAL, check_pair, differences, translation
from adec.engines.table import TableEngine
from adec.engines.vocabularies.translated import TranslatedEngine
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import PairError
from adec.tree import ROOT, TokenTree
from tests.engines.test_pair_check import header
from tests.laws import blend, law, prompt_of

LETTERS = (b"a", b"b", b"c", b"d")
LARGE = Vocabulary(
    "gpt2",
    (*LETTERS, b"<user>", b"<turn>", b"<tool>", b"<end>"),
    control=frozenset({4, 5, 6, 7}),
    end=frozenset({5, 7}),
    begin=7,
)
SMALL = replace(
    LARGE, pieces=(*LETTERS, b"<turn>", b"<user>", b"<reserved_1>", b"<end>"), end=frozenset({4, 7})
)
SIZE = len(LARGE)


def test_special_ids_are_translated_by_their_text_and_never_written() -> None:
    assert differences(SMALL, LARGE) == []
    terms = translation(SMALL, LARGE)
    assert dict(terms.ids) == {4: 5, 5: 4}
    assert terms.barred == {4, 5, 6}
    (remark,) = check_pair(header("s", SMALL), header("l", LARGE))
    assert "never writes them: '<user>', '<turn>', '<tool>'" in remark


def test_equal_vocabularies_need_no_translation() -> None:
    terms = translation(LARGE, LARGE)
    assert (dict(terms.ids), terms.barred) == ({}, frozenset())


def test_a_base_model_and_a_tuned_one_differ_in_what_ends_an_answer() -> None:
    base = replace(LARGE, end=frozenset({7}), begin=5)
    assert differences(base, LARGE) == [] == differences(LARGE, base)
    assert translation(base, LARGE).barred == frozenset()
    assert translation(LARGE, base).barred == {5}


@pytest.mark.parametrize(
    "change",
    [
        {"pieces": (b"x", *SMALL.pieces[1:])},  # a letter
        {
            "control": frozenset({4, 5, 7}),
            "pieces": (*LETTERS, b"<turn>", b"<user>", b"e", b"<end>"),
        },
        {"end": frozenset({0, 4, 7})},
        {"begin": None},
        {"adds_begin": True},
    ],
)
def test_other_differences_are_refused(change) -> None:
    with pytest.raises(PairError):
        check_pair(header("s", replace(SMALL, **change)), header("l", LARGE))


def test_more_than_a_handful_is_refused() -> None:
    count = MOST_SPECIAL + 1
    names = tuple(b"<%d>" % i for i in range(count))
    large = Vocabulary("gpt2", (*LETTERS, *names), control=frozenset(range(4, 4 + count)))
    few = replace(large, pieces=(*LETTERS, *names[1:-1], names[0], names[-1]))
    assert differences(few, large) == []
    many = replace(large, pieces=(*LETTERS, *names[1:], names[0]))
    assert "id 4 is" in differences(many, large)[0]


@given(st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=12), st.integers(0, 99))
def test_rows_are_those_of_the_model_inside(ids: list[int], seed: int) -> None:
    inside = TableEngine(law(SIZE, seed), size=SIZE, vocabulary=SMALL)
    alone = TableEngine(law(SIZE, seed), size=SIZE, vocabulary=SMALL)
    terms = translation(SMALL, LARGE)
    engine = TranslatedEngine(inside, terms)
    own = [terms.ids.get(token, token) for token in ids]
    tree = TokenTree()
    branch = tree.add(ROOT, ids[0])
    tree.add(branch, ids[-1])
    tree.add(ROOT, 4)
    forwards = [
        (engine.forward(ids, rows=len(ids)), alone.forward(own, rows=len(ids))),
        (
            engine.forward_tree(tree),
            alone.forward_tree(replace(tree, tokens=[terms.ids.get(t, t) for t in tree.tokens])),
        ),
    ]
    for ours, theirs in forwards:
        for index in range(len(theirs)):
            row, expected = ours.row(index), theirs.row(index).copy()
            expected[[4, 5, 6]] = -np.inf
            assert np.array_equal(row, expected)
            assert np.isfinite(ours.entropy(index))
            assert ours.argmax(index) not in terms.barred
    engine.keep([branch])
    assert engine.length == len(ids) + 1


@given(st.integers(0, 200), st.floats(0, 1.5), st.sampled_from(["none", "exact"]))
def test_a_pair_stays_exact_and_trust_never_writes_what_differs(
    seed: int, up: float, accept: str
) -> None:
    target = law(SIZE, seed)
    large = TableEngine(target, size=SIZE, vocabulary=LARGE)
    draft = blend(target, law(SIZE, seed + 1), 0.6)
    small = TranslatedEngine(
        TableEngine(draft, size=SIZE, vocabulary=SMALL), translation(SMALL, LARGE)
    )
    limits = Limits(20, LARGE.end)
    settings = EadSettings(up=up, accept=accept)
    written = [
        token
        for step in Ead(small, large, settings).generate(prompt_of([0, 4, 1, 5]), limits)
        for token in step.tokens
    ]
    assert not any(t.source == "small" and t.id in (4, 5, 6) for t in written)
    if accept == "exact":
        again = TableEngine(target, size=SIZE, vocabulary=LARGE)
        steps = Plain(again).generate(prompt_of([0, 4, 1, 5]), limits)
        assert [t.id for t in written] == [t.id for step in steps for t in step.tokens]
