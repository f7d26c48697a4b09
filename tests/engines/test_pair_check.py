"""Which two models may share ids, and what is said when they may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adec.engines.base import ModelHeader, ModelInfo
from adec.engines.pair import check_pair, differences
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import PairError

BASE = Vocabulary(
    "gpt2",
    (*tuple(bytes([97 + i]) for i in range(20)), b"<|end|>"),
    control=frozenset({20}),
    end=frozenset({20}),
    pre_tokenizer="qwen2",
)


def header(name: str, vocabulary: Vocabulary, parameters: int = 1) -> ModelHeader:
    info = ModelInfo(
        name, Path(name), "gguf", "llama", 1, parameters, len(vocabulary), 64, 1, "F16"
    )
    return ModelHeader(info, vocabulary, frozenset({"rewind"}))


def test_equal_vocabularies_pass() -> None:
    assert check_pair(header("s", BASE, 1), header("l", BASE, 9)) == []
    assert BASE.fingerprint == replace(BASE).fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "llama"}, "the tokenizer types are gpt2 and llama"),
        ({"pre_tokenizer": "llama-bpe"}, "texts are split by the rules qwen2 and llama-bpe"),
        ({"pieces": (*BASE.pieces[:-2], b"X", b"<|end|>")}, "id 19 is 't' and 'X'"),
        ({"pieces": (*BASE.pieces, b"more")}, "the sizes are 21 and 22"),
        ({"end": frozenset({3})}, "the end tokens are '<|end|>' (20) and 'd' (3)"),
        ({"begin": 4}, "the begin tokens are none and 'e' (4)"),
        ({"adds_begin": True}, "only the large one puts a begin token before a text"),
    ],
)
def test_each_difference_is_named(change, said) -> None:
    other = replace(BASE, **change)
    assert said in "; ".join(differences(BASE, other))
    with pytest.raises(PairError, match="do not speak the same vocabulary") as caught:
        check_pair(header("s", BASE), header("l", other))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_refusal_stays_short() -> None:
    """It names what tells most; `inspect` lists the rest."""
    ends = tuple(b"<|a rather long name of a token that ends an answer %d|>" % i for i in range(12))
    other = Vocabulary(
        "llama",
        (*(b"other %d" % i for i in range(40)), *ends),
        end=frozenset(range(40, 52)),
        begin=3,
        adds_begin=True,
        pre_tokenizer="llama-bpe",
    )
    assert len(differences(BASE, other)) == 7
    assert "and 9 more" in differences(BASE, other)[-1]
    with pytest.raises(PairError) as caught:
        check_pair(header("small.gguf", BASE), header("large.gguf", other))
    assert "the tokenizer types are gpt2 and llama, and 6 more differences" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_pair_of_which_one_names_no_pre_tokenizer_is_remarked_on() -> None:
    old = header("old.gguf", replace(BASE, pre_tokenizer=None))
    for small, large in ((old, header("l", BASE)), (header("s", BASE), old)):
        (remark,) = check_pair(small, large)
        assert "old.gguf names no pre-tokenizer" in remark
    assert check_pair(old, old) == []
    folder = replace(old, info=replace(old.info, format="safetensors"))
    assert check_pair(folder, header("l", BASE)) == []


def test_many_differences_are_counted() -> None:
    other = replace(BASE, pieces=tuple(piece.upper() for piece in BASE.pieces))
    assert "and 18 more" in "; ".join(differences(BASE, other))


def test_unused_ids_at_the_end_do_not_matter() -> None:
    padded = replace(BASE, pieces=(*BASE.pieces, b"[PAD21]", b""))
    assert differences(BASE, padded) == [] == differences(padded, BASE)


def test_remarks() -> None:
    other = replace(BASE, chat_template="{{ messages }}")
    remarks = check_pair(header("s", BASE, 9), header("l", other, 2))
    assert remarks == [
        "the chat templates differ; the large model's is used",
        "--small has more parameters than --large (9 and 2)",
    ]
