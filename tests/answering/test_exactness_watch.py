"""The grade of an answer's exactness follows from the forwards that the large model made."""

from __future__ import annotations

import pytest

from adec.answering import exactness_watch
from adec.answering.exactness_watch import ExactnessWatch
from adec.engines.invariance import Invariance
from adec.events.records import Forward, Step, TreeRecord
from tests.laws import pair

CHUNK = 256


def forward(purpose: str, tokens: int, model: str = "large") -> Forward:
    return Forward(model, purpose, tokens, 1.0)


def grade(*steps: Step, known: Invariance | None, prompt: int = 10, changed: bool = False, **now):
    _, large = pair()
    large.rewind(0)
    large.forward([0] * now.pop("length", 20))
    for name, value in now.items():
        setattr(large, name, value)
    watch = ExactnessWatch(large, prompt, CHUNK)
    for step in steps:
        watch.add(step)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactness_watch, "kept_invariance", lambda engine: known)
        found = watch.summary(threads_changed=changed)
    return found["exactness"], found["exactness_noise"]


PROMPT = Step("prompt", forwards=(forward("prompt", 10),))
CHAIN = Step("wake", forwards=(forward("verify", 3), forward("draft", 9, "small")))
TREE = Step(
    "wake",
    forwards=(forward("verify", 4),),
    detail=TreeRecord((1, 2, 3), (-1, -1, 0), (None, None, None), (0,)),
)
KNOWN = Invariance(chains=3, trees=4, length=100, median=0.1, most=0.5)


def test_single_tokens_after_a_prompt_read_as_plain_reads_it_are_bit_for_bit() -> None:
    assert grade(PROMPT, Step("write", forwards=(forward("write", 1),)), known=None) == (
        "bitwise",
        0.0,
    )


def test_larger_forwards_need_a_measurement() -> None:
    assert grade(PROMPT, CHAIN, known=None) == ("rounding", None)
    assert grade(PROMPT, CHAIN, TREE, known=KNOWN) == ("bitwise", 0.0)


@pytest.mark.parametrize(
    ("known", "changes"),
    [
        (Invariance(2, 4, 100, 0.1, 0.5), {}),
        (Invariance(3, 3, 100, 0.1, 0.5), {}),
        (Invariance(3, 4, 19, 0.1, 0.5), {}),
        (KNOWN, {"in_order": False}),
        (KNOWN, {"prompt": 11}),
    ],
    ids=["chain", "tree", "length", "cells", "prompt"],
)
def test_what_was_not_measured_equal_is_up_to_rounding(known: Invariance, changes) -> None:
    assert grade(PROMPT, CHAIN, TREE, known=known, **changes) == ("rounding", 0.5)


def test_a_change_of_threads_counts_where_attention_is_split() -> None:
    known = Invariance(3, 4, 1000, 0.1, 0.5)
    assert grade(PROMPT, CHAIN, known=known, changed=True)[0] == "bitwise"
    assert grade(PROMPT, CHAIN, known=known, changed=True, length=300)[0] == "rounding"
