"""Records say what the rows said, and broken ones are noticed."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from adec.calibration.replay.agreement import acceptance_by_depth, acceptance_by_rank, best_chain
from adec.calibration.replay.recording import Answer, Record, record
from adec.decoding.pair.clock.cost_curve import CostCurve, Curves
from adec.decoding.plain import Plain
from adec.decoding.strategy import Limits, Prompt
from adec.events.hostile_json import JsonReader
from tests.calibration.tables import engines


def path_of(pair: Any, prompt: list[int], tokens: int = 24) -> tuple[list[int], Record]:
    """The large model's own answer, and the record of it."""
    steps = Plain(pair["large"]).generate(Prompt(tuple(prompt)), Limits(tokens, frozenset({5})))
    answer = [token.id for step in steps for token in step.tokens]
    return answer, record(pair, prompt, answer)


def test_tables_count_what_they_say() -> None:
    pair = engines(1)
    kept = next(kept for i in range(5) if len(kept := path_of(pair, [i, 1])[1]) > 4)
    by_rank = acceptance_by_rank([kept])
    assert by_rank[0] == pytest.approx(kept.agrees.mean()) and sum(by_rank) <= 1
    assert acceptance_by_depth([kept])[0] == pytest.approx(kept.agrees[1:].mean())
    surely = Curves(CostCurve({1: 10.0, 64: 10.0}), CostCurve({1: 0.001}))
    assert best_chain([1.0], surely, 0.0)[0] == 16
    never = Curves(CostCurve({1: 10.0, 64: 640.0}), CostCurve({1: 10.0}))
    assert best_chain([0.5], never, 0.0)[0] == 0


def test_records_survive_the_journal_and_broken_ones_are_noticed() -> None:
    _, kept = path_of(engines(2), [0, 1, 2])
    reader: JsonReader[Record] = JsonReader(Record)
    assert reader.read(msgspec.json.encode(kept)) == kept
    data = msgspec.to_builtins(kept)
    for broken in (
        {**data, "rank": [1.0]},
        {**data, "tokens": []},
        {**data, "tokens": [-1] * len(kept)},
        {"tokens": [1]},
        {**data, "distance": "x"},
        {**data, "distance": data["small_list"]},
        {**data, "small_ids": data["distance"]},
        {**data, "small_ids": [[]] * len(kept)},
        {**data, "large_ids": [[-1.0] * len(row) for row in data["large_ids"]]},
    ):
        with pytest.raises(ValueError):
            reader.read(msgspec.json.encode(broken))
    with pytest.raises(ValueError, match="right"):
        JsonReader(Answer).read(b'{"tokens": [1], "text": "a", "ms": 1.0, "right": "yes"}')


def test_a_record_says_what_the_rows_say() -> None:
    pair = engines(3)
    prompt = [0, 1, 2]
    answer, kept = path_of(pair, prompt)
    for engine in pair.values():
        engine.rewind(0)
    large = pair["large"].forward([*prompt, *answer[:-1]], rows=len(answer))
    small = pair["small"].forward([*prompt, *answer[:-1]], rows=len(answer))
    for i, token in enumerate(answer):
        first = small.argmax(i)
        assert kept.large_entropy[i] == pytest.approx(large.entropy(i), abs=1e-6)
        assert kept.small_top[i] == pytest.approx(small.probability(i, first), abs=1e-6)
        assert kept.rank[i] == [t for t, _ in small.top(i, 6)].index(token)
        assert kept.surprise[i] == pytest.approx(-np.log(large.probability(i, first)), abs=1e-5)
        assert kept.distance[i] == pytest.approx(large.distance(i, small, i), abs=1e-6)
