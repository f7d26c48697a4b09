"""Which drafters would pay if they were fitted, by forward times and hit rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adec.calibration import unfitted
from adec.calibration.unfitted import (
    LEARNABLE,
    FitForecast,
    forecast_fits,
    forecast_lines,
    measured_hits,
)
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.parts.kept_parts import keep_part
from adec.parts.part import Part

KINDS = [learnable.kind for learnable in LEARNABLE]
FREE = CostCurve({1: 10.0, 64: 10.0})
"""A machine on which a batch costs what a token costs."""
LINEAR = CostCurve({1: 10.0, 64: 640.0})


@pytest.fixture(autouse=True)
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(unfitted, "user_parts", lambda: tmp_path)
    monkeypatch.setattr("adec.parts.kept_parts.user_parts", lambda: tmp_path)
    return tmp_path


def test_where_batches_are_free_the_speed_is_the_tokens_of_a_round() -> None:
    forecasts = {forecast.kind: forecast for forecast in forecast_fits(FREE, KINDS, [])}
    first = 0.48
    tokens = 1 + first + first * 0.8 * first + first * 0.8 * first * 0.64 * first
    # a few rounds in a thousand foresee nothing
    assert forecasts["ppd"].speed == pytest.approx(tokens, rel=2e-3)
    assert forecasts["ppd"].drafts == 3 and "published" in forecasts["ppd"].source
    # that of its paper
    assert forecasts["lexical"].speed == pytest.approx(1.33, abs=0.01)


def test_one_draft_is_counted_right() -> None:
    forecast = FitForecast("ppd", 2.24, 1, "guessed")
    assert "2.24 times plain with 1 draft (" in "".join(forecast_lines([forecast], "m.gguf"))


def test_where_a_batch_costs_what_its_tokens_cost_nothing_pays_and_no_command_is_named() -> None:
    forecasts = forecast_fits(LINEAR, KINDS, [])
    assert not any(forecast.pays for forecast in forecasts)
    assert all(forecast.speed == 1 and forecast.drafts == 0 for forecast in forecasts)
    told = forecast_lines(forecasts, "m.gguf")
    assert all("does not pay" in line for line in told[1:]) and "--fit" not in " ".join(told)


def test_only_what_the_model_can_learn_and_has_not_is_forecast() -> None:
    assert [f.kind for f in forecast_fits(FREE, ["lexical", "exits"], [])] == ["lexical"]
    assert forecast_fits(FREE, KINDS, KINDS) == [] and forecast_lines([], "m") == []
    (one,) = forecast_fits(FREE, ["ppd"], ["lexical"])
    assert "adec calibrate m.gguf --fit ppd" in forecast_lines([one], "m.gguf")[-1]


def test_hit_rates_that_were_measured_here_count_before_published_ones() -> None:
    facts = {"right_1_further": 0.6, "right_2_further": 0.3, "right_9_further": 0.1, "x": 1}
    keep_part(Part("ppd", "a" * 16, {"a": np.zeros(1, np.float32)}, facts, "2026-01-31"))
    assert measured_hits("ppd") == ((0.6, 0.3), "measured on another model here, 2026-01-31")
    (one,) = forecast_fits(FREE, ["ppd"], [])
    assert one.speed == pytest.approx(1 + 0.6 + 0.6 * 0.3, rel=2e-3) and "measured" in one.source
    assert measured_hits("hidden-transfer") is None


@pytest.mark.parametrize("facts", [{"right_1_further": 7.0}, {"right_2_ahead": 0.5}, {}])
def test_rates_that_are_none_and_broken_parts_are_passed_over(parts: Path, facts) -> None:
    keep_part(Part("ppd", "a" * 16, {"a": np.zeros(1, np.float32)}, facts, "2026-01-31"))
    (parts / "ppd-b.safetensors").write_bytes(b"\xff" * 20)
    assert measured_hits("ppd") is None
