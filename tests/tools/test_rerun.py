"""Two calibrations side by side: what is within the spread, and what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adec.calibration.report.to_profile import Named, profile_text
from adec.calibration.wishes import Wishes
from tests.calibration.tables import calibration, engines, plan_of, prompts
from tools.choices.rerun import Pick, differences, main, pick_of


def profile(folder: Path, seed: int) -> Path:
    wishes = Wishes(keep=0.7, confidence=0.9, seconds=1e6, max_tokens=10)
    result = calibration(folder, engines(1), prompts(seed, 60, fit=20), wishes).run()
    plan, path = plan_of(engines(1)), folder / "letters.toml"
    path.write_text(profile_text(result, Named("letters", "l", "s", "", seed), plan.models))
    assert result.budget is not None
    pick = pick_of(path)
    assert pick.label == result.budget.point.point.label
    assert pick.kept == pytest.approx(1 - result.budget.mean, rel=1e-4)
    assert pick.share == pytest.approx(result.budget.point.large_share, rel=1e-4)
    return path


def test_it_reads_what_a_calibration_wrote(tmp_path: Path, capsys) -> None:
    path = profile(tmp_path, 1)
    assert main([str(path), str(path)]) == 0
    assert capsys.readouterr().out.count("| letters.toml |") == 2
    path.write_text("schema = 1\n")
    assert main([str(path), str(path)]) == 2 and "has no budget" in capsys.readouterr().err


def test_what_is_further_apart_than_chance_is_named() -> None:
    first = Pick("ead", True, 0.99, 0.005, 0.2, 0.01)
    assert differences(first, replace(first, kept=0.98, share=0.22)) == []
    assert "quality kept" in differences(first, replace(first, kept=0.97))[0]
    assert "large share" in differences(first, replace(first, share=0.3))[0]
