"""The simulation of many users: turns that cover an answer, and a line that adds up."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.errors import UsageError
from tools.many_users.scale import read_traces
from tools.many_users.server_line import Server, gpu, here, simulate
from tools.many_users.ways import NEVER, Trace, plain, speculation, trust

RECORDS = Path(__file__).parents[2] / "docs/results/scale-records.jsonl"

traces = st.lists(st.tuples(st.booleans(), st.floats(0, 3)), min_size=1, max_size=40).map(
    lambda rows: Trace(7, tuple(a for a, _ in rows), tuple(e for _, e in rows))
)
STEADY = Server("steady", lambda n: 10.0 + n)


@given(traces, st.integers(1, 12), st.sampled_from([0.0, 0.3, 1.0, NEVER]))
def test_drafts_cover_the_answer(trace: Trace, longest: int, sure: float) -> None:
    turns = speculation(longest, sure).turns(trace)
    size = len(trace.agrees)
    stands = size - len(turns)  # each turn gives one token more than what stands of its draft
    drafted = sum(turn.read for turn in turns) - 7 - (len(turns) - 1)
    assert 0 <= stands <= drafted and all(turn.written == 1 for turn in turns)
    assert all(turn.read >= 1 for turn in turns) and len(turns) >= ceil(size / (longest + 1))
    if all(trace.agrees) and sure == NEVER:
        assert len(turns) == ceil(size / (longest + 1)) and drafted == stands


@given(traces)
def test_trust_asks_at_every_doubt_and_else_never(trace: Trace) -> None:
    size = len(trace.agrees)
    doubting = trust(-1.0).turns(trace)
    assert sum(turn.read for turn in doubting) == 7 + size - 1
    assert sum(turn.written for turn in doubting) == size and trust(-1.0).unlike(trace) == 0
    (alone,) = trust(NEVER).turns(trace)
    assert alone.read == 0 and alone.drafted == size
    assert trust(NEVER).unlike(trace) == size - sum(trace.agrees)


def test_one_user_waits_for_what_the_curve_says() -> None:
    trace = Trace(5, (True,) * 4, (0.0,) * 4)
    settings = {"users": 1, "trip_ms": 100.0, "think_s": 50.0, "seconds": 3000.0, "seed": 3}
    totals = simulate(STEADY, plain(), [trace], **settings)
    assert totals.answers > 20 and totals.unlike == 0
    # the prompt in one batch, then three tokens one by one
    assert totals.latencies == pytest.approx([100 + 15 + 3 * 11] * totals.answers)
    drafts = simulate(STEADY, speculation(8), [trace], **settings)
    # three drafts, one turn: the prompt and all drafts in one batch
    assert drafts.latencies == pytest.approx([3 * 13 + 100 + 18] * drafts.answers)
    # the last one may be under way when time is up
    assert drafts.requests == drafts.forwards and drafts.forwards - drafts.answers in (0, 1)
    again = simulate(STEADY, speculation(8), [trace], **settings)
    assert again == drafts


def test_a_long_prompt_is_cut_in_pieces() -> None:
    trace = Trace(5000, (True,), (0.0,))
    totals = simulate(
        STEADY, plain(), [trace], users=1, trip_ms=0.0, think_s=50.0, seconds=3000.0, seed=3
    )
    assert totals.latencies == pytest.approx([3 * 10 + 5000] * totals.answers)


def test_curves() -> None:
    assert gpu().batch_ms(1) == gpu().batch_ms(100) < gpu().batch_ms(300)
    assert here().batch_ms(1) == 38.0 and here().batch_ms(64) == pytest.approx(2 * 471.0)


def test_the_records_are_read_and_garbage_is_one_error(tmp_path: Path) -> None:
    found = read_traces(RECORDS)
    assert len(found) > 20 and all(len(t.agrees) == len(t.entropy) for t in found)
    good = {"prompt_tokens": 3, "agrees": "10", "small_entropy": [0.1, 0.2]}
    for change in ({"agrees": "1"}, {"prompt_tokens": 0}, {"small_entropy": None}):
        file = tmp_path / "records.jsonl"
        file.write_text(json.dumps({**good, **change}))
        with pytest.raises(UsageError, match="no records"):
            read_traces(file)
    with pytest.raises(UsageError, match="no records"):
        read_traces(tmp_path / "nothing.jsonl")
