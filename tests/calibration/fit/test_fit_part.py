"""`adec calibrate MODEL --fit`: a part is learned, found by its model, and used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adec.calibration.fit.exit_records import LayerRecord
from adec.calibration.fit.fit_exits import choose_threshold, exits_of
from adec.calibration.fit.fit_sec import stop_threshold, worst_seen
from tests.cli.command import call
from tests.engines.torch.test_layer_engine import deep

__all__ = ["deep"]


def record(agrees: list[list[bool]]) -> LayerRecord:
    array = np.array(agrees)
    return LayerRecord((0,), tuple(range(len(agrees))), np.zeros((*array.shape, 2)), array)


def test_the_lowest_threshold_that_keeps_the_tokens_is_chosen() -> None:
    # four tokens, exits at layers 1 and 2 of 4; the first exit is wrong where it is least sure
    sure = [np.array([[0.9, 0.9], [0.8, 0.9], [0.3, 0.9], [0.1, 0.2]])]
    agrees = record([[True, True], [True, True], [False, True], [False, False]])
    threshold, kept, share = choose_threshold(sure, [agrees], [1, 2], 4, 1.0)
    assert 0.3 < threshold <= 0.8 and kept == 1.0
    assert share == pytest.approx((1 + 1 + 2 + 4) / 16)
    threshold, kept, share = choose_threshold(sure, [agrees], [1, 2], 4, 0.75)
    assert threshold <= 0.3 and kept == 0.75 and share < 0.5


def test_nothing_leaves_where_no_threshold_keeps_enough() -> None:
    sure = [np.array([[0.9], [0.9]])]
    agrees = record([[False], [True]])
    assert choose_threshold(sure, [agrees], [1], 2, 0.9) == (1.0, 1.0, 1.0)


def test_exits_are_every_layer_of_a_few_and_spread_over_many() -> None:
    assert exits_of(12) == list(range(1, 12))
    assert exits_of(2) == [1]
    many = exits_of(80)
    assert len(many) <= 16 and many[-1] < 80


def test_stopping_costs_at_most_the_share_of_right_answers_that_was_allowed() -> None:
    worst = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    right = np.array([False, False, True, False, True, True])
    assert stop_threshold(worst, right, 0.0) == (0.8, 2 / 3, 0.0)
    threshold, wrong, of_right = stop_threshold(worst, right, 0.4)
    assert (threshold, wrong) == (0.6, 1.0) and of_right == pytest.approx(1 / 3)
    # what lies above the exit of a token is never seen
    stops, exits = [np.array([[0.1, 0.9]])], [np.array([[0.8, 0.1]])]
    assert worst_seen(stops, exits, 0.5).tolist() == [0.1]
    assert worst_seen(stops, exits, 0.9).tolist() == [0.9]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Ten prompts to learn from, twenty to try on."""
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"what is {n}\n" for n in range(30)))
    return path


def test_a_part_is_learned_shown_and_used(deep: Path, prompts: Path, capsys: Any) -> None:
    missing = call(capsys, "run", "-m", deep, "--strategy", "exits", "-n", 4, "hi")
    assert missing.code == 2 and "--fit exits" in missing.err
    outcome = call(
        capsys, "calibrate", deep, "--fit", "exits", "--prompts", prompts, "-n", 6, "-q",
        "--threads", 1, "--keep", 0.5,
    )  # fmt: skip
    assert outcome.code == 0 and "classifiers, from layer 1 of 4" in outcome.out
    (part,) = json.loads(call(capsys, "inspect", deep, "--json").out)["parts"]
    assert part["kind"] == "exits" and 0 <= part["facts"]["threshold"] <= 1
    used = call(
        capsys, "run", "-m", deep, "--strategy", "exits", "-n", 12, "--json", "--threads", 1,
        "--set", "exits.threshold=0", "hi",
    )  # fmt: skip
    summary = json.loads(used.out)["summary"]
    assert used.code == 0 and set(summary["exits_by_layer"]) == {"1", "4"}
    assert summary["layers_computed"] < summary["layers_of"]


def test_too_few_answers_for_a_fit_are_counted_right(
    deep: Path, prompts: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "adec.calibration.fit.fitting.layer_records", lambda *_, **__: iter([record([[True]])])
    )
    monkeypatch.setattr("adec.calibration.fit.fitting.PATIENCE", 0)
    outcome = call(
        capsys, "calibrate", deep, "--fit", "exits", "--prompts", prompts, "-q", "--threads", 1
    )
    assert outcome.code == 2 and "enough for 1 answer, and a fit needs 8" in outcome.err


def test_routers_are_learned_shown_and_used(deep: Path, prompts: Path, capsys: Any) -> None:
    missing = call(capsys, "run", "-m", deep, "--strategy", "first", "-n", 4, "hi")
    assert missing.code == 2 and "--fit first" in missing.err
    outcome = call(
        capsys, "calibrate", deep, "--fit", "first", "--prompts", prompts, "-n", 8, "-q",
        "--threads", 1, "--keep", 0.2, "--time-limit", "8s",
    )  # fmt: skip
    assert outcome.code == 0 and "routers before 4 layers" in outcome.out
    assert "as many at random" in outcome.out
    (part,) = json.loads(call(capsys, "inspect", deep, "--json").out)["parts"]
    assert part["kind"] == "first" and 0 <= part["facts"]["threshold"] <= 1
    for control in ("none", "random"):
        used = call(
            capsys, "run", "-m", deep, "--strategy", "first", "-n", 12, "--json", "--threads", 1,
            "--set", "first.threshold=1", "--set", f"first.control={control}", "hi",
        )  # fmt: skip
        summary = json.loads(used.out)["summary"]
        assert used.code == 0 and summary["guarantee"] == "approximate"
        assert set(summary["tokens_by_source"]) == {"large", "1 layers"}


def test_too_few_prompts_are_told_before_weights_are_loaded(
    deep: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_weights(*_: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("adec.calibration.fit.fit_part.open_engines", no_weights)
    (few := tmp_path / "few.txt").write_text("".join(f"what is {n}\n" for n in range(22)))
    outcome = call(capsys, "calibrate", deep, "--fit", "exits", "--prompts", few)
    assert outcome.code == 2 and "few.txt has 7 prompts to fit on" in outcome.err


def test_what_cannot_be_learned_is_one_line(
    deep: Path, tiny_pair: tuple[Path, Path], prompts: Path, capsys: Any
) -> None:
    for arguments, code in (
        ((tiny_pair[1], "--fit", "exits"), 3),
        ((deep, deep, "--fit", "exits"), 2),
        (("--fit", "exits"), 2),
        ((deep, "--fit", "exits", "--keep", 2), 2),
        # nobody knows what is right
        ((deep, "--fit", "sec", "--prompts", prompts, "-n", 4, "-q", "--threads", 1), 2),
    ):
        outcome = call(capsys, "calibrate", *arguments)
        assert outcome.code == code and outcome.err.count("\n") == 1, outcome.err


def test_a_place_that_cannot_be_written_is_said_before_anything_is_learned(
    deep: Path, prompts: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ADEC_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setattr("adec.calibration.fit.fit_part.open_engines", None)
    outcome = call(capsys, "calibrate", deep, "--fit", "exits", "--prompts", prompts)
    assert outcome.code == 1 and outcome.err.count("\n") == 1, outcome.err
    assert "cannot be written" in outcome.err and "ADEC_HOME" in outcome.err
