"""Ids to text: whole characters, stop strings, exact attribution."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.answering.text import TextStream
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import UsageError
from adec.events.records import Step, Token, TreeRecord

BYTES = tuple(bytes([value]) for value in range(256))
PIECES = (*BYTES, b" the", "é".encode(), "né".encode(), b"\n\n", b"<end>")
END = len(PIECES) - 1
VOCABULARY = Vocabulary("gpt2", PIECES, control=frozenset({END}), end=frozenset({END}))


def steps_of(ids: list[int], sizes: list[int] | None = None) -> list[Step]:
    steps: list[Step] = []
    sizes, at = sizes or [1], 0
    while at < len(ids):
        size = sizes[len(steps) % len(sizes)]
        steps.append(Step("write", tuple(Token(i, "large") for i in ids[at : at + size])))
        at += size
    return steps


def text_of(steps: list[Step]) -> str:
    return "".join(token.text for step in steps for token in step.tokens)


def texts_of(steps: list[Step]) -> list[list[str]]:
    return [[token.text for token in step.tokens] for step in steps]


ids = st.lists(st.integers(0, len(PIECES) - 2), max_size=40)
sizes = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(ids, sizes)
def test_any_bytes_any_split(tokens: list[int], split: list[int]) -> None:
    stream = TextStream(VOCABULARY)
    whole = b"".join(PIECES[i] for i in tokens).decode("utf-8", errors="replace")
    given_back = list(stream.read(steps_of(tokens, split)))
    assert text_of(given_back) == whole
    assert [t.id for s in given_back for t in s.tokens] == tokens


@given(
    st.text("ab\n🙂é", max_size=30),
    st.lists(st.text("ab\n🙂é", min_size=1, max_size=4), max_size=3),
    sizes,
)
def test_stop_at_first_complete(text: str, stops: list[str], split: list[int]) -> None:
    stream = TextStream(VOCABULARY, stops)
    given_back = list(stream.read(steps_of(list(text.encode()), split)))
    ends = [(text.find(s) + len(s), text.find(s)) for s in stops if s in text]
    assert stream.stopped == bool(ends)
    assert text_of(given_back) == (text[: min(ends)[1]] if ends else text)
    if ends:  # the token that completes the stop string is the last one kept
        assert sum(len(s.tokens) for s in given_back) == len(text[: min(ends)[0]].encode())


@given(st.text("ab", max_size=20), sizes, st.integers(0, 20))
def test_an_interruption_loses_nothing(text: str, split: list[int], cut: int) -> None:
    stream, out = TextStream(VOCABULARY, ["abab", "bbb!"]), []
    for step in steps_of(list(text.encode()), split)[:cut]:
        out += stream.add(step)
    if not stream.stopped:
        out += stream.finish()
        taken = sum(split[i % len(split)] for i in range(cut))
        assert text_of(out) == text[:taken]


def test_a_character_belongs_to_the_token_that_completes_it() -> None:
    stream = TextStream(VOCABULARY)
    first, second, third, fourth = steps_of(list("🙂".encode()))
    assert stream.add(first) == []
    # only the step with the last of the open bytes must wait
    assert texts_of(stream.add(second)) == texts_of(stream.add(third)) == [[""]]
    assert texts_of(stream.add(fourth)) == [[""], ["🙂"]]


def test_invalid_bytes_are_shown_at_once() -> None:
    stream = TextStream(VOCABULARY)
    assert texts_of(stream.add(steps_of([0xFF])[0])) == [["\ufffd"]]
    assert stream.add(steps_of([0xED])[0]) == []
    assert texts_of(stream.add(steps_of([0xA0])[0])) == [[""], ["\ufffd\ufffd"]]


def test_incomplete_bytes_at_the_end() -> None:
    stream = TextStream(VOCABULARY)
    given_back = list(stream.read(steps_of([ord("a"), 0xF0, 0x9F, END])))
    assert texts_of(given_back) == [["a"], [""], ["\ufffd"], [""]]


def test_stop_inside_an_accepted_run() -> None:
    run = Step(
        "wake",
        (*(Token(ord(c), "small", "accepted") for c in "x.\n\nyz"), Token(65, "large", "bonus")),
        drafted=6,
        accepted=6,
    )
    stream = TextStream(VOCABULARY, ["\n\n"])
    (step,) = stream.add(run)
    assert texts_of([step]) == [["x", ".", "", ""]]
    assert (step.drafted, step.accepted) == (6, 4)
    assert stream.stopped and stream.add(run) == [] and stream.finish() == []


def test_what_may_be_a_stop_waits_and_keeps_its_source() -> None:
    stream = TextStream(VOCABULARY, ["\n\n"])
    newline = Step("draft", (Token(10, "small"),))
    assert stream.add(newline) == []
    released = stream.add(Step("wake", (Token(ord("a"), "large"),)))
    assert [(t.source, t.text) for s in released for t in s.tokens] == [
        ("small", "\n"),
        ("large", "a"),
    ]


def test_control_tokens_and_unknown_ids() -> None:
    given_back = list(TextStream(VOCABULARY).read(steps_of([97, END, 10_000, -1])))
    assert text_of(given_back) == "a\ufffd\ufffd"


def test_steps_without_tokens_keep_their_place() -> None:
    stream = TextStream(VOCABULARY)
    prompt = Step("prompt")
    assert stream.add(prompt) == [prompt]
    assert stream.add(steps_of([0xC3])[0]) == []
    assert stream.add(prompt) == []
    assert [s.kind for s in stream.add(steps_of([0xA9])[0])] == ["write", "prompt", "write"]


@pytest.mark.parametrize(("prefix", "expected"), [(True, " a a"), (False, "  a a")])
def test_the_space_before_the_first_word(prefix: bool, expected: str) -> None:
    vocabulary = Vocabulary("llama", (b" ", b" a"), space_prefix=prefix)
    assert text_of(list(TextStream(vocabulary).read(steps_of([0, 1, 1])))) == expected


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(UsageError):
        TextStream(VOCABULARY, ["a", ""])


def test_a_tree_is_named_node_by_node() -> None:
    """Also halves of characters, control tokens, and ids that nobody knows; names given before
    stay.
    """
    tree = TreeRecord((97, 256, END, 195, -1), (-1, 0, 0, 1, 2), (None,) * 5, (0,))
    (step,) = TextStream(VOCABULARY).add(Step("wake", (Token(97, "small"),), detail=tree))
    assert isinstance(step.detail, TreeRecord) and step.detail.texts == (
        "a",
        " the",
        "<end>",
        "\ufffd",
        "\ufffd",
    )
    (again,) = TextStream(VOCABULARY).add(step)
    assert again.detail == step.detail
