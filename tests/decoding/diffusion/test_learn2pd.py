"""The filter of Learn2PD: its rule on hand-made weights, its records, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from adec.calibration.fit.filter_records import filter_rows
from adec.decoding.diffusion.canvas_loop import CanvasSize
from adec.decoding.diffusion.learn2pd import (
    Filtered,
    UnmaskingFilter,
    confidences_of,
    filter_of,
)
from adec.decoding.diffusion.unmasking import Proposals
from adec.decoding.strategy import Limits
from adec.engines.table_canvas import TableCanvas
from adec.engines.torch.torch_fit.filter_fit import fit_unmasking_filter
from adec.errors import ModelFileError, UsageError
from adec.parts.part import Part
from adec.sampling import Sampler
from adec.signals import ArrayScores
from tests.decoding.diffusion.tables import (
    END,
    SIZE,
    answer_of,
    canvas_strategy,
    law,
    steps_of,
)


def proposals(places: list[int], values: list[float], inside: int, end: int = 9) -> Proposals:
    """Token 0 with these chances at these positions; the block is 10 to 13."""
    with np.errstate(divide="ignore"):
        rows = np.log(np.array([(v, 1 - v, 0) for v in values], dtype=np.float32))
    return Proposals(
        ArrayScores(rows), places, Sampler(), inside=inside, block=range(10, 14),
        end=frozenset({end}),
    )  # fmt: skip


def above(limit: float) -> UnmaskingFilter:
    """Sure of every position that is likelier than `limit`, and of no other."""
    eye = np.eye(4, dtype=np.float32)
    bias = np.full(4, -100 * limit, np.float32)
    return UnmaskingFilter(100 * eye, bias, 100 * eye, np.full(4, -5, np.float32))


def test_what_stands_counts_as_sure() -> None:
    assert confidences_of(proposals([11, 13], [0.75, 0.5], 2)).tolist() == [1, 0.75, 1, 0.5]


def test_positions_stand_that_the_filter_is_sure_of_and_the_surest() -> None:
    rule = Filtered(lambda: above(0.6), 0.9, 1.0)
    assert rule.choose(proposals([10, 11, 13], [0.7, 0.55, 0.8], 3)) == [0, 2]
    assert rule.choose(proposals([10, 11], [0.55, 0.58], 2)) == [1]


def test_a_likely_end_token_stands_wherever_it_is() -> None:
    found = proposals([10, 20, 21], [0.7, 0.95, 0.8], 1, end=0)
    assert Filtered(lambda: above(0.6), 0.9, 0.9).choose(found) == [0, 1]
    assert Filtered(lambda: above(0.6), 0.9, 1.0).choose(found) == [0]


def test_a_filter_of_another_block_length_is_refused() -> None:
    rule = Filtered(lambda: above(0.6), 0.9, 1.0)
    other = Proposals(
        ArrayScores(np.zeros((1, 3), np.float32)), [10], Sampler(), block=range(10, 18)
    )
    with pytest.raises(UsageError, match="blocks of 4, not 8"):
        rule.choose(other)


def test_a_part_whose_shapes_do_not_fit_is_refused() -> None:
    good = above(0.5)
    arrays = {
        "inner": good.inner, "inner_bias": good.inner_bias, "outer": good.outer,
        "outer_bias": good.outer_bias,
    }  # fmt: skip
    assert filter_of(Part("filter", "m", arrays)).block == 4
    for name in arrays:
        with pytest.raises(ModelFileError, match=name):
            filter_of(Part("filter", "m", {**arrays, name: np.zeros((3, 7, 2), np.float32)}))


@pytest.mark.parametrize("seed", range(8))
def test_records_lead_to_the_answer_and_say_what_of_it_was_known(seed: int) -> None:
    size, limits = CanvasSize(8, 4), Limits(11, frozenset({END}))
    engine = TableCanvas(law(seed, sway=0.3), size=SIZE)
    single = canvas_strategy("steps", engine, canvas=8, block=4)
    answer = answer_of(steps_of(single, [0, 1], limits))
    before = len(engine.fed)
    rows = filter_rows(engine, [0, 1], answer, size, limits)
    assert rows.confidences.shape == rows.labels.shape == rows.weights.shape
    assert len(rows.labels) == len(engine.fed) - before <= len(answer) + 4
    known = rows.weights == 0
    assert (rows.confidences[known] == 1).all() and (rows.labels[known] == 1).all()
    assert set(np.unique(rows.labels)) <= {0.0, 1.0}


def test_the_filter_learns_what_a_threshold_would_say() -> None:
    rng = np.random.default_rng(0)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = rng.random((count, 4), dtype=np.float32)
        return x, (x > 0.7).astype(np.float32), np.ones_like(x)

    arrays, loss = fit_unmasking_filter(drawn(400), drawn(200), seconds=20)
    assert loss < 0.3  # knowing nothing: 0.61
    x, labels, _ = drawn(200)
    chances = filter_of(Part("filter", "m", arrays)).chances(x)
    assert ((chances > 0.5) == (labels > 0)).mean() > 0.9
