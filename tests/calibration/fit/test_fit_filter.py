"""`--fit filter` on a table: records, a filter that is worth something, and honest lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import pytest

pytest.importorskip("torch")

from adec.calibration.fit.fit_filter import SIZE as CANVAS
from adec.calibration.fit.fit_filter import fit_filter
from adec.calibration.fit.fitting import Fitting
from adec.calibration.prompts import KnownPrompt, PromptSet
from adec.decoding.diffusion.learn2pd import filter_of
from adec.engines.table_canvas import TableCanvas
from adec.errors import UsageError
from tests.decoding.diffusion.tables import END, SIZE


def sure_of_even_places(canvas: tuple[int, ...], place: int) -> Sequence[float]:
    """At even places one token, whatever stands; at odd ones what the left neighbour says."""
    row = [0.0] * SIZE
    if place % 20 == 19:
        row[END] = 0.95
    elif place % 2 == 0:
        row[1] = 0.95
    else:
        row[2 if canvas[place - 1] == 1 else 3] = 0.6
    row[0] = 1 - sum(row)
    return row


def fitting(count: int, seconds: float = 30.0) -> Fitting:
    prompts = tuple(KnownPrompt("ab" * (1 + at % 3)) for at in range(count))
    engine: Any = TableCanvas(sure_of_even_places, size=SIZE)
    known = PromptSet(prompts, prompts[:4], "a table")
    return Fitting(
        cast(Any, engine), known, "model", 0, seconds, 40, 0.98,
        "linear", encode=lambda text: [ord(letter) - 97 for letter in text],
        stage=lambda name: None, update=lambda share: None, interrupted=lambda: False,
    )  # fmt: skip


def test_it_learns_which_proposals_are_final() -> None:
    measured = fit_filter(fitting(10))
    facts = measured.part.facts
    assert filter_of(measured.part).block == CANVAS.block == facts["block"]
    assert facts["answers"] == 10 and facts["tested_prompts"] == 4
    assert float(facts["final_of_those_let_stand"]) > 0.9
    assert float(facts["tokens_a_forward"]) > 1
    assert any("one a forward" in line for line in measured.lines)


def test_too_little_time_is_an_error_and_so_are_too_few_prompts() -> None:
    with pytest.raises(UsageError, match="the time was enough for 1 answer, and a fit needs 8"):
        fit_filter(fitting(10, seconds=1e-9))
    with pytest.raises(UsageError, match="3 of 3 prompts to fit on have an answer") as error:
        fit_filter(fitting(3))
    assert "--time-limit" not in str(error.value)


def test_prompts_without_room_for_a_whole_canvas_are_left_out_and_told() -> None:
    told: list[str] = []
    given = dataclasses.replace(fitting(27), remark=told.append)
    engine: Any = given.engine
    engine.context = CANVAS.canvas + 4
    measured = fit_filter(given)
    assert measured.part.facts["answers"] == 18
    assert told == [
        "10 of 31 prompts are left out: the context of 68 holds no canvas of 64 positions behind"
        " them; a larger --ctx holds more"
    ]
    engine.context = CANVAS.canvas
    with pytest.raises(UsageError, match="behind 31 of 31 prompts, and a fit needs 8") as error:
        fit_filter(given)
    assert "A larger --ctx" in str(error.value)
