"""The grade of an answer's exactness follows from the forwards that the large model made."""

from __future__ import annotations

import pytest

from adec.answering import exactness_watch
from adec.answering.exactness_watch import ExactnessWatch
from adec.engines.exactness.invariance import Invariance, Reach
from adec.events.records import Forward, Step, TreeRecord
from tests.laws import pair

CHUNK = 256


def forward(purpose: str, tokens: int, model: str = "large") -> Forward:
    return Forward(model, purpose, tokens, 1.0)


def grade(
    *steps: Step,
    known: Invariance | None,
    prompt: int = 10,
    changed: bool = False,
    planned: bool = False,
    **now,
):
    _, large = pair()
    large.rewind(0)
    large.forward([0] * now.pop("length", 20))
    # what an engine says of itself is a property of its class
    large.__class__ = type("Changed", (type(large),), now)
    watch = ExactnessWatch(large, prompt, CHUNK)
    for step in steps:
        watch.add(step)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactness_watch, "kept_invariance", lambda engine: known)
        found = watch.summary(threads_changed=changed, planned=planned)
    return found["exactness"], found["exactness_noise"]


PROMPT = Step("prompt", forwards=(forward("prompt", 10),))
CHAIN = Step("wake", forwards=(forward("verify", 3), forward("draft", 9, "small")))
TREE = Step(
    "wake",
    forwards=(forward("verify", 4),),
    detail=TreeRecord((1, 2, 3), (-1, -1, 0), (None, None, None), (0,)),
)


def measured(chains: int, trees: int, length: int) -> Invariance:
    reach = Reach(length, tuple(range(2, chains + 1)), tuple(range(2, trees + 1)), (2, 3, 4, 8))
    return Invariance((reach,), (0.1, 0.2, 0.3, 0.5))


KNOWN = measured(3, 4, 100)


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
        (measured(2, 4, 100), {}),
        (measured(3, 3, 100), {}),
        (measured(3, 4, 19), {}),
        (KNOWN, {"in_order": False}),
        (KNOWN, {"prompt": 11}),
    ],
    ids=["chain", "tree", "length", "cells", "prompt"],
)
def test_what_was_not_measured_equal_is_up_to_rounding(known: Invariance, changes) -> None:
    assert grade(PROMPT, CHAIN, TREE, known=known, **changes) == ("rounding", 0.5)


def test_a_change_of_threads_counts_where_attention_is_split() -> None:
    known = measured(3, 4, 1000)
    assert grade(PROMPT, CHAIN, known=known, changed=True)[0] == "bitwise"
    assert grade(PROMPT, CHAIN, known=known, changed=True, length=300)[0] == "rounding"


def test_what_was_planned_within_the_measured_sizes_is_bit_for_bit() -> None:
    assert grade(PROMPT, CHAIN, TREE, known=None, planned=True) == ("bitwise", 0.0)
    changed = {"changed": True, "length": 300}
    assert grade(PROMPT, CHAIN, known=None, planned=True, **changed)[0] == "rounding"
