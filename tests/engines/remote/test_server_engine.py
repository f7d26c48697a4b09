"""A model behind a server is an engine like the others, whatever the server speaks.

vLLM itself runs nowhere here: its dialect is held against the shapes that its documentation gives.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.plain import Plain
from adec.decoding.registry import METHODS, remaining
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import ModelHeader
from adec.engines.pair import Engines
from adec.engines.protocols import PROTOCOLS
from adec.engines.remote.likeliest_scores import LikeliestRow
from adec.engines.remote.server_engine import ServerEngine
from adec.engines.table import TableEngine
from adec.errors import EngineError, RemoteError
from adec.sampling import Sampler
from tests import laws
from tests.engines.contract import EngineContract
from tests.engines.remote.fake_server import KEY, FakeServer
from tests.engines.test_table import prefix_law

SIZE = 8
DIALECTS = ("llama-server", "vllm", "echo", "openai")
SCORING = ("vllm", "echo")
PROMPT = (0, 1, 2, 1)


@pytest.fixture
def start() -> Iterator[Callable[..., FakeServer]]:
    with ExitStack() as stack:
        yield lambda *given, **named: stack.enter_context(FakeServer(*given, **named))


def table(law, context: int = 4096) -> TableEngine:
    return TableEngine(law, size=SIZE, context=context)


def endless(seed: int):
    """A law without an end, which servers of text do not name."""
    law = laws.law(SIZE - 1, seed)
    return lambda prefix: [*law(prefix), 0.0]


def tokens(strategy, *, count: int = 40, sampler: Sampler | None = None) -> list[int]:
    limits = Limits(count, frozenset({SIZE - 1}), sampler or Sampler())
    steps = strategy.generate(laws.prompt_of(PROMPT), limits)
    return [token.id for step in steps for token in step.tokens]


class TestScoringServer(EngineContract):
    """Where all tokens are among the likeliest, rows are whole: nothing is left out of a row."""

    tolerance = 1e-5
    # these need the capability "tree"
    test_tree_rows_equal_rows_of_paths = None
    test_tree_first_row = None
    test_a_tree_grows_by_what_is_new = None
    test_what_does_not_grow_a_tree_leaves_it_pending = None
    test_after_keep_rows_are_a_fresh_engines = None
    test_any_sequence_of_operations = None

    @pytest.fixture
    def fresh(self, start: Callable[..., FakeServer]) -> Callable[[], ServerEngine]:
        server = start(prefix_law, SIZE, "vllm")
        return lambda: server.engine()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_plain_is_one_request_and_equals_the_model(dialect: str, start) -> None:
    for seed in range(4):
        law = laws.law(SIZE, seed)
        server = start(law, SIZE, dialect)
        engine = server.engine()
        server.requests.clear()
        assert tokens(Plain(engine)) == tokens(Plain(table(law)))
        assert len(server.requests) == engine.bill.requests == 1
        assert engine.bill.read == len(PROMPT)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("dialect", SCORING)
@pytest.mark.parametrize("name", ["speculate", "adaedl", "smartspec", "suffix", "lookup", "fly"])
def test_exact_methods_are_exact(name: str, dialect: str, shifted: bool, start) -> None:
    method = METHODS[name]
    for seed in range(3):
        law = laws.law(SIZE, seed)
        draft = laws.blend(law, laws.law(SIZE, seed + 100), 0.8)
        engines = Engines(
            large=start(law, SIZE, dialect, shifted=shifted).engine(), small=table(draft)
        )
        strategy = method.build(engines, method.settings(), Aids())
        if strategy.guarantee.value == "exact":
            assert tokens(strategy) == tokens(Plain(table(law)))
        else:
            assert tokens(strategy)


@pytest.mark.parametrize("dialect", SCORING)
def test_a_draft_is_scored_in_one_request(dialect: str, start) -> None:
    law = endless(5)
    server = start(law, SIZE, dialect)
    engine = server.engine()
    server.requests.clear()
    given = [*PROMPT, 3, 4, 5]
    scores = engine.forward(given, rows=4)
    expected = table(law).forward(given, rows=4)
    for row in range(4):
        assert scores.argmax(row) == expected.argmax(row)
        # by text, the end has no name that could be told from a word
        for token in range(SIZE if dialect == "vllm" else 0):
            assert scores.probability(row, token) == pytest.approx(
                expected.probability(row, token), abs=1e-5
            )
            assert scores.entropy(row) == pytest.approx(expected.entropy(row), abs=1e-4)
    assert len(server.requests) == 1


def test_draws_within_the_likeliest_are_those_of_the_model(start) -> None:
    law = laws.law(SIZE, 3)
    for seed in range(5):
        sampler = Sampler(temperature=1.0, top_k=4, seed=seed)
        engine = start(law, SIZE, "llama-server").engine()
        assert tokens(Plain(engine), sampler=sampler) == tokens(Plain(table(law)), sampler=sampler)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_trust_works_on_any_server(dialect: str, start) -> None:
    law = laws.law(SIZE, 2)
    draft = laws.blend(law, laws.law(SIZE, 77), 0.6)
    settings = EadSettings(up=1.2, window=1, dwell=2)
    server = start(law, SIZE, dialect)
    engine = server.engine()
    found = tokens(Ead(table(draft), engine, settings))
    assert found == tokens(Ead(table(draft), table(law), settings))
    assert engine.bill.written > 0


def test_capabilities_say_what_a_server_can_do(start) -> None:
    for dialect in DIALECTS:
        engine = start(laws.law(SIZE, 1), SIZE, dialect).engine()
        assert engine.capabilities == {"text"} | ({"rewind"} if dialect in SCORING else set())
        for capability in engine.capabilities:
            assert isinstance(engine, PROTOCOLS[capability])
        header = ModelHeader(engine.info, engine.vocabulary, engine.capabilities)
        small = ModelHeader(engine.info, engine.vocabulary, frozenset({"rewind", "tree"}))
        able = remaining({"large": header, "small": small})
        assert {"plain", "ead"} <= set(able)
        assert ("speculate" in able) == (dialect in SCORING)


def test_other_tokens_are_spoken_to_by_text(start) -> None:
    for dialect in ("llama-server", "vllm", "echo"):
        engine = start(laws.law(SIZE, 1), SIZE, dialect, vocabulary_bias=1).engine()
        assert not engine.takes_ids and "rewind" not in engine.capabilities
        prompts = [engine.forward(list(PROMPT))]
        assert prompts[0].argmax(0) == table(laws.law(SIZE, 1)).forward(PROMPT).argmax(0)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_refusals_are_tried_again_and_a_broken_stream_goes_on(dialect: str, start) -> None:
    law = laws.law(SIZE, 4)
    server = start(law, SIZE, dialect)
    engine = server.engine()
    server.states, server.breaks = [429, 503, 200], [3, 0, 2]
    assert tokens(Plain(engine)) == tokens(Plain(table(law)))
    server.states = [500] * 50
    with pytest.raises(RemoteError, match="answers 500: state 500"):
        tokens(Plain(engine))


def test_what_a_stream_hides_is_asked_for_whole(start) -> None:
    law = laws.law(SIZE, 6)
    server = start(law, SIZE, "llama-server")
    server.hidden = {1, 3}
    assert tokens(Plain(server.engine())) == tokens(Plain(table(law)))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_any_walk_gives_the_models_rows(dialect: str, start) -> None:
    """Appended, cut and asked in any order, the likeliest token is the model's."""
    law = endless(11)
    engine, known = start(law, SIZE, dialect).engine(), table(law)
    rng = random.Random(3)
    likeliest = 0
    for _ in range(150):
        if "rewind" in engine.capabilities and rng.random() < 0.3:
            length = rng.randrange(engine.length + 1)
            engine.rewind(length)
            known.rewind(length)
        rows = rng.choice((0, 1, 1, 1, 3)) if "rewind" in engine.capabilities else 1
        count = max(1, rows)
        fed = [rng.randrange(SIZE - 1) for _ in range(count)]
        if count == 1 and rng.random() < 0.6:
            fed = [likeliest]
        engine.expect(rng.choice((1, 1, 4)))
        scores, expected = engine.forward(fed, rows=rows), known.forward(fed, rows=rows)
        for row in range(rows):
            assert scores.argmax(row) == expected.argmax(row)
            likeliest = scores.argmax(row)


def test_a_stretch_that_goes_on_doubles(start) -> None:
    law = laws.law(SIZE, 8)
    server = start(law, SIZE, "llama-server")
    engine = server.engine()
    server.requests.clear()
    sequence = list(PROMPT)
    scores = engine.forward(sequence)
    for _ in range(20):
        sequence.append(scores.argmax(0))
        if sequence[-1] == SIZE - 1:
            break
        scores = engine.forward(sequence[-1:])
    asked = [body["n_predict"] for body in server.requests]
    assert asked == [2**power for power in range(len(asked))]


def test_a_budget_is_never_passed(start) -> None:
    law = laws.law(SIZE, 9)
    draft = laws.blend(law, laws.law(SIZE, 70), 0.5)
    for budget in range(1, 60, 7):
        server = start(law, SIZE, "llama-server")
        engine = server.engine(budget=budget)
        server.requests.clear()
        try:
            tokens(Ead(table(draft), engine, EadSettings(up=1.0, window=1, dwell=1)))
        except EngineError as error:
            assert "budget" in error.message
        most = sum(len(body["prompt"]) + body["n_predict"] for body in server.requests)
        assert most <= budget


def test_a_key_is_sent_and_never_said(start) -> None:
    server = start(laws.law(SIZE, 1), SIZE, "openai")
    server.key = KEY
    with pytest.raises(RemoteError, match="asks for a key"):
        server.engine()
    assert server.engine(key=KEY).forward(list(PROMPT)).argmax(0) >= 0
    server.key = "another"
    with pytest.raises(RemoteError, match="refuses the key") as caught:
        server.engine(key=KEY)
    assert KEY not in str(caught.value)


def test_entropy_of_a_part_of_a_row_is_a_lower_bound() -> None:
    rng = random.Random(1)
    for _ in range(50):
        row = table(laws.law(SIZE, rng.randrange(99))).forward([rng.randrange(SIZE)])
        whole, told = row.entropy(0), row.top(0, rng.randrange(1, SIZE))
        part = LikeliestRow([(token, math.log(p)) for token, p in told])
        assert part.entropy() <= whole + 1e-6
        assert len(told) < SIZE - 1 or part.entropy() == pytest.approx(whole, abs=0.2)
