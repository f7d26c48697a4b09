"""Caches: what they compute, and that they change nothing where nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.diffusion.dkv_cache import beside
from adec.decoding.strategy import Limits
from adec.engines.table_canvas import TableCanvas
from tests.decoding.diffusion.tables import (
    END,
    SIZE,
    answer_of,
    canvas_strategy,
    filled_in,
    law,
    steps_of,
)

RULES = ("steps", "threshold", "frontier", "entropy", "localleap", "prophet", "ccd")
CACHES = ("prefix", "dual", "prompt", "delayed", "greedy")


def own(seed: int, end: float = 0.2) -> object:
    """A law by which a position looks at nothing but itself."""
    table = law(seed, end)
    return lambda canvas, place: table(canvas[place : place + 1], place)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(RULES),
    cache=st.sampled_from([name for name in CACHES if name != "greedy"]),
    refresh=st.integers(1, 4),
)
def test_where_nothing_else_changes_a_cache_changes_no_token(
    seed: int, rule: str, cache: str, refresh: int
) -> None:
    limits = Limits(12, frozenset({END}))
    plain, cached = (
        steps_of(
            canvas_strategy(
                rule, TableCanvas(own(seed), size=SIZE), canvas=8, block=4, cache=name,
                refresh=refresh,
            ),
            [0], limits,
        )
        for name in ("none", cache)
    )  # fmt: skip
    if rule == "prophet" and cache == "dual":
        # it does not see beyond the block there, and fills the rest when it comes to it
        assert answer_of(cached)[-1:] == [END] or len(answer_of(cached)) == 12
    else:
        assert answer_of(cached) == answer_of(plain)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cache", CACHES)
def test_every_cache_goes_with_every_rule(rule: str, cache: str) -> None:
    for seed in range(6):
        engine = TableCanvas(law(seed), size=SIZE)
        strategy = canvas_strategy(
            rule, engine, canvas=8, block=4, cache=cache, refresh=3, window=2
        )
        made = steps_of(strategy, [0, 1], Limits(13, frozenset({END})))
        answer = answer_of(made)
        assert len(answer) == 13 or answer[-1] == END


def test_a_position_is_kept_one_forward_after_it_was_filled() -> None:
    engine = TableCanvas(law(2, end=0.0), size=SIZE)
    strategy = canvas_strategy("steps", engine, canvas=8, block=8, cache="delayed", refresh=5)
    made = steps_of(strategy, [0, 1], Limits(8))
    everything = list(range(10))
    masked = set(range(8))
    for at, step in enumerate(made):
        if at in (0, 1, 5):
            assert engine.fed[at] == everything
        else:
            fresh = masked | set(filled_in(made[at - 1]))
            assert engine.fed[at] == sorted(place + 2 for place in fresh)
        assert step.fed("large") == len(engine.fed[at])
        masked -= set(filled_in(step))


def test_at_a_refresh_of_one_it_is_exact() -> None:
    for seed in range(5):
        single, cached = (
            steps_of(
                canvas_strategy(
                    "steps", TableCanvas(law(seed), size=SIZE), canvas=8, block=4, **more
                ),
                [0], Limits(12, frozenset({END})),
            )
            for more in ({}, {"cache": "delayed", "refresh": 1})
        )  # fmt: skip
        assert answer_of(single) == answer_of(cached)


def test_the_prompt_is_read_once() -> None:
    engine = TableCanvas(law(2, end=0.0), size=SIZE)
    strategy = canvas_strategy("steps", engine, canvas=4, block=4, cache="prompt")
    steps_of(strategy, [0, 1, 2], Limits(4))
    assert engine.fed == [list(range(7)), *[[3, 4, 5, 6]] * 3]


def test_greedy_computes_a_window_beside_what_was_filled() -> None:
    def rising(canvas: tuple[int, ...], place: int) -> Sequence[float]:
        row = [0.0] * SIZE
        row[0] = 0.5 + 0.02 * ((place * 5) % 11)
        row[1] = 1 - row[0]
        return row

    engine = TableCanvas(rising, size=SIZE)
    strategy = canvas_strategy(
        "steps", engine, canvas=10, block=10, cache="greedy", refresh=20, window=3
    )
    made = steps_of(strategy, [0], Limits(10))
    for before, step, fed in zip(made[1:], made[2:], engine.fed[2:], strict=False):
        (last,) = filled_in(before)
        assert last + 1 in fed and len(fed) <= 4
        assert filled_in(step)[0] + 1 in fed


def test_the_window_lies_on_both_sides() -> None:
    assert beside([1, 2, 4, 6, 7, 9], {5}, 4) == [2, 4, 6, 7]
    assert beside([1, 2, 4, 6, 7, 9], {5}, 1) == [6]
    assert beside([1, 2, 4, 6, 7, 9], {0, 10}, 2) == [1, 9]
    assert beside([3, 4, 8], set(), 2) == [3, 4]
