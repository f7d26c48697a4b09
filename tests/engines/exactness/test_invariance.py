"""Up to which sizes forwards give the rows of single tokens, and how far others move them."""

from __future__ import annotations

import numpy as np
import pytest

from adec.engines.exactness.invariance import (
    QUANTILES,
    SIZES,
    Invariance,
    Reach,
    logit_gap,
    measure_invariance,
    reach_of,
)
from adec.engines.exactness.kept_invariance import keep_invariance, kept_entries, kept_invariance
from adec.engines.model_key import model_key
from adec.engines.table import TableEngine
from adec.places import kept_folder
from adec.signals import ArrayScores
from tests import laws


class Rounds(TableEngine):
    """Moves the likeliest token's logit by `error` in forwards of several tokens."""

    error = 0.0

    def _scores(self, prefixes):
        scores = super()._scores(prefixes)
        rows = np.array([scores.row(i) for i in range(len(scores))])
        if len(prefixes) > 1:
            rows[np.arange(len(rows)), rows.argmax(axis=1)] -= self.error
        return ArrayScores(rows)


@pytest.mark.parametrize("error", [0.0, 0.25])
def test_the_noise_is_what_other_forwards_change(error: float) -> None:
    engine = Rounds(laws.law(6, 3), size=6)
    engine.error = error
    answer = [1, 2, 3, 4, 0, 1, 2, 3, 4, 1, 2]
    found = measure_invariance(engine, [0, 1], answer)
    assert found.most == pytest.approx(error, abs=1e-5)
    assert found.noise == tuple(sorted(found.noise)) and len(found.noise) == len(QUANTILES)
    for reach in found.reaches:
        assert (reach.chains, reach.trees) == ((SIZES, SIZES) if error == 0 else ((), ()))
    assert found.is_bitwise(32, 1, found.length) == (error == 0)
    assert not found.is_bitwise(2, 1, found.length + 1)
    keep_invariance(engine, found)
    assert kept_invariance(engine) == found
    assert engine.length == 0


def test_an_engine_without_trees_and_a_short_answer() -> None:
    engine = TableEngine(laws.law(6, 3), size=6, capabilities=frozenset({"rewind"}))
    found = measure_invariance(engine, [0], [1])
    assert found.most == 0
    assert all(not reach.trees and reach.chains == SIZES for reach in found.reaches)
    assert kept_invariance(engine) is None


def test_an_engine_that_cannot_go_back_runs_single_tokens() -> None:
    engine = TableEngine(laws.law(6, 3), size=6, capabilities=frozenset())
    found = measure_invariance(engine, [0], [1])
    assert [reach.chains for reach in found.reaches] == [()]


def test_what_is_cut_off_counts_as_not_bit_for_bit() -> None:
    engine, asked = TableEngine(laws.law(6, 3), size=6), iter([False] * 3)
    found = measure_invariance(engine, [0], [1], enough=lambda: next(asked, True))
    assert [reach.chains for reach in found.reaches] == [SIZES[:3]]
    assert found.reaches[0].trees == ()


def test_a_size_counts_up_to_the_first_that_differs() -> None:
    reach = Reach(100, chains=(2, 3, 8), trees=(), tried=(2, 3, 4, 8))
    assert reach.holds(3, 1) and not reach.holds(4, 1) and not reach.holds(8, 1)
    assert not reach.holds(1, 2)
    short, long = Reach(100, (2, 3), (2,)), Reach(200, (2,), ())
    found = Invariance((short, long), (0.0,) * 4)
    assert found.is_bitwise(3, 2, 100) and not found.is_bitwise(3, 1, 101)
    assert found.is_bitwise(2, 1, 200) and not found.is_bitwise(1, 1, 201)


def test_a_measured_sequence_is_bounded_by_the_context() -> None:
    assert [reach_of(n, 8192) for n in (10, 512, 513, 10**9)] == [512, 512, 1024, 2048]
    assert reach_of(700, 600) == 600
    engine = TableEngine(laws.law(6, 3), size=6, context=40)
    found = measure_invariance(engine, [0, 1], [2], reach=reach_of(700, 40))
    assert [reach.length for reach in found.reaches] == [40]


def test_threads_and_formats_have_entries_of_their_own() -> None:
    engine = TableEngine(laws.law(6, 3), size=6)
    for number, (threads, dtype) in enumerate([(1, None), (2, None), (2, "float32")]):
        engine.threads, engine.dtype = threads, dtype
        keep_invariance(engine, Invariance((Reach(10 + number, (2,)),), (0.0,) * 4))
    assert [(e.threads, e.dtype, e.found.length) for e in kept_entries(engine)] == [
        (1, None, 10),
        (2, None, 11),
        (2, "float32", 12),
    ]
    engine.threads = 3
    assert kept_invariance(engine) is None
    for threads in range(40):
        engine.threads = threads + 10
        keep_invariance(engine, Invariance((Reach(9, (2,)),), (0.0,) * 4))
    assert len(kept_entries(engine)) == 32 and kept_invariance(engine) is not None


GOOD = (
    '{"schema": 3, "entries": [{"threads": null, "dtype": null, "noise": [0, 0, 0, 0.5], '
    '"reaches": [{"length": 9, "chains": [2], "trees": [], "tried": [2, 3]}]}]}'
)


def test_a_kept_file_is_read() -> None:
    assert read_back(GOOD) == Invariance((Reach(9, (2,), (), (2, 3)),), (0.0, 0.0, 0.0, 0.5))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3,", "2,"),
        ("9", "-9"),
        ("9", "1e400"),
        ("[2]", '["2"]'),
        ("[2]", "[1]"),
        ("[2]", "[" + "2, " * 99 + "2]"),
        ("0.5", "NaN"),
        ("0.5", '"nan"'),
        ("0.5", "-1"),
        ("0, 0.5", "0.5"),
        ("[0, 0, 0, 0.5]", "[" * 20_000),
        ('"threads": null', '"threads": -1'),
        ('"dtype": null', '"dtype": "' + "x" * 99 + '"'),
        ("{", "\x00"),
        (" ", " " * 10_000),
        (GOOD, ""),
        (GOOD, '{"schema": 2, "chains": 3, "trees": 4, "length": 9, "median": 0, "most": 1}'),
    ],
)
def test_a_kept_file_that_is_none_is_measured_anew(old: str, new: str) -> None:
    assert read_back(GOOD.replace(old, new)) is None


def test_a_folder_in_its_place_is_nothing_kept() -> None:
    engine = TableEngine(laws.law(6, 3), size=6)
    (kept_folder("exactness") / f"{model_key(engine)}.json").mkdir(parents=True)
    assert kept_invariance(engine) is None
    keep_invariance(engine, Invariance((), (0.0,) * 4))


def read_back(text: str) -> Invariance | None:
    engine = TableEngine(laws.law(6, 3), size=6)
    path = kept_folder("exactness") / f"{model_key(engine)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return kept_invariance(engine)


def test_gaps_to_impossible_tokens_are_finite() -> None:
    scores = ArrayScores(np.array([[0.0, -np.inf]], dtype=np.float32))
    assert logit_gap(scores, 0, 0, 1) == pytest.approx(1e30)


class RoundsAfterPieces(TableEngine):
    """Moves the likeliest logit if the first forward was not a whole prompt."""

    def _scores(self, prefixes):
        scores = super()._scores(prefixes)
        rows = np.array([scores.row(i) for i in range(len(scores))])
        if self.length == 0:
            self.first = max(map(len, prefixes))
        if self.first not in WHOLE:
            rows[np.arange(len(rows)), rows.argmax(axis=1)] -= 0.25
        return ArrayScores(rows)


WHOLE = (256 - 24, 512 - 24)
"""Tokens in front of those that are fed again."""


def test_a_prompt_that_is_read_in_other_pieces_counts_as_noise() -> None:
    engine = RoundsAfterPieces(laws.law(6, 3), size=6)
    engine.first = 0
    found = measure_invariance(engine, [0, 1] * 10, [1, 2, 3, 4])
    assert all(reach.chains == reach.trees == SIZES for reach in found.reaches)
    assert found.most == pytest.approx(0.25, abs=1e-5)
