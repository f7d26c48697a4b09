"""The same text in two vocabularies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from adec.engines.vocabularies.retokenise import Retokeniser, exact_ids
from adec.engines.vocabularies.vocabulary import Vocabulary
from tests.vocabularies import speaker, vocabularies

WHOLE = (b"a", b"b", b" ", b"\n")


def text_of(vocabulary: Vocabulary, ids) -> bytes:
    silent = vocabulary.control | vocabulary.end
    return b"".join(vocabulary.pieces[token] for token in ids if token not in silent)


def stretches(vocabulary: Vocabulary, ids) -> list[list[int]]:
    """What stands between control tokens."""
    silent = vocabulary.control | vocabulary.end
    parts: list[list[int]] = [[]]
    for token in ids:
        if token in silent:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def model(*pieces: bytes, **options):
    end = len(pieces)
    vocabulary = Vocabulary(
        "made-up", (*pieces, b"<end>"), control=frozenset({end}), end=frozenset({end}), **options
    )
    return speaker(vocabulary, 0)


@settings(max_examples=150, deadline=None)
@given(vocabularies(), vocabularies(), st.lists(st.lists(st.integers(0, 99), max_size=6)))
def test_the_ids_read_have_the_text_that_was_read(small, large, parts) -> None:
    words = Retokeniser(speaker(small, 0), speaker(large, 0))
    read: list[int] = []
    for part in parts:
        before = list(words.ids)
        tokens = [token % len(large) for token in part]
        standing = words.read(tokens)
        read += tokens
        assert words.ids[:standing] == before[:standing]
    if all(byte in small.pieces for byte in (b"a", b"b", b" ", b"\xc3", b"\xa9")):
        text = text_of(large, read)
        try:
            for stretch in stretches(large, read):
                text_of(large, stretch).decode()
        except UnicodeDecodeError:
            return  # broken text is read as well as it goes, also on both sides of a control token
        ours = text_of(small, words.ids)
        if small.space_prefix:
            ours, text = ours.replace(b" ", b""), text.replace(b" ", b"")
        assert ours == text


@settings(max_examples=150, deadline=None)
@given(
    vocabularies(letters=WHOLE),
    vocabularies(letters=WHOLE),
    st.lists(st.integers(0, 99), max_size=8),
    st.lists(st.integers(0, 99), max_size=8),
)
def test_drafts_are_a_beginning_of_what_the_small_model_wrote(small, large, read, wrote) -> None:
    words = Retokeniser(speaker(small, 0), speaker(large, 0))
    words.read([token % len(large) for token in read])
    tokens = [token % len(small) for token in wrote]
    drafts = words.drafts(tokens, [0.5] * len(tokens))
    ids = [token for token, _ in drafts]
    assert text_of(small, tokens).startswith(text_of(large, ids))
    assert all(large.pieces[token] for token in ids)
    assert all(0 < chance <= 1 for _, chance in drafts)
    assert not any(token in large.end for token in ids[:-1])


def test_a_last_token_waits_where_more_text_could_change_it() -> None:
    words = Retokeniser(model(b"a", b"b", b"ab", b" "), model(b"a", b"b", b"aab", b" "))
    assert words.drafts([0, 3, 0], [0.5] * 3) == [(0, 0.5), (3, 0.5), (0, 0.5)]
    # "ab" is one token of the small model and two of the large one, of which the last waits
    assert words.drafts([2], [0.5]) == [(0, 0.5)]
    assert words.drafts([2, 3], [0.5, 0.25]) == [(0, 0.5), (1, 1.0), (3, 0.25)]
    assert words.drafts([2, 4], [0.5, 0.25]) == [(0, 0.5), (1, 1.0), (4, 0.25)]  # the end came
    assert words.drafts([0, 2], [0.5, 0.25]) == [(2, 0.125)]


def test_an_id_without_text_ends_a_draft() -> None:
    words = Retokeniser(model(b"a", b""), model(b"a", b""))
    assert words.drafts([0, 1, 0], [0.5] * 3) == [(0, 0.5)]
    words.read([0, 1, 0])
    assert words.ids == [0, 0]
    blank = Retokeniser(model(b"a"), model(b"", b"b"))
    assert blank.drafts([0, 0], [0.5] * 2) == []


def test_half_a_character_is_held_until_it_is_whole() -> None:
    words = Retokeniser(model("é".encode(), b"a"), model(b"\xc3", b"\xa9", b"a"))
    words.read([2, 0])
    assert (words.ids, words.held) == ([1], b"\xc3")
    assert words.drafts([0], [0.5]) == []
    assert words.read([1]) <= 1
    assert (words.ids, words.held) == ([1, 0], b"")


def test_a_space_that_a_tokenizer_puts_first_is_no_part_of_a_draft() -> None:
    prefixed = model(b"a", b" ", b" a", b"\n", space_prefix=True)
    assert exact_ids(prefixed, b"a") == [0]
    assert exact_ids(prefixed, b" a") == [2]
    assert exact_ids(prefixed, b"a", opens=True) == [2]


def test_control_tokens_go_by_their_names() -> None:
    small = Vocabulary("s", (b"<x>", b"a", b"<end>"), control=frozenset({0, 2}), end=frozenset({2}))
    large = Vocabulary(
        "l",
        (b"a", b"<end>", b"<y>", b"<x>"),
        control=frozenset({1, 2, 3}),
        end=frozenset({1}),
    )
    words = Retokeniser(speaker(small, 0), speaker(large, 0))
    words.read([3, 0, 2, 0, 1, 0])
    assert words.ids == [0, 1, 1, 2, 1]
    assert words.drafts([1, 2], [0.5, 0.25]) == [(0, 0.5), (1, 0.25)]
    assert words.drafts([0], [0.5]) == []
