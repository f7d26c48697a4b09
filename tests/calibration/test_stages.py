"""Whole calibrations on table engines: what they find, that they go on after an interruption, how
often the proof errs."""

from __future__ import annotations

import json
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from adec.calibration.journal import Journal
from adec.calibration.replay.grids import PAIR_FAMILIES
from adec.calibration.trials.held_out import PROVED_FAMILIES
from adec.calibration.trials.proof import binomial_tail
from adec.calibration.trials.trial import Point, Runner, disagreement, loss_of
from adec.calibration.trials.tryouts import GIVEN_UP_AT
from adec.calibration.wishes import Wishes
from adec.engines.pair import Engines
from adec.errors import UsageError
from adec.events.hostile_json import JsonReader
from tests.calibration.coverage import coverage
from tests.calibration.tables import calibration, engines, plan_of, prompts

ANY: JsonReader[Any] = JsonReader(Any)
ALLOWED = 1e-3
"""Chance that the coverage test fails although the proof keeps its promise."""


@pytest.mark.parametrize("metric", ["agreement", "answer", "perplexity"])
def test_a_calibration_finds_all_its_parts(tmp_path: Path, metric) -> None:
    wishes = Wishes(keep=0.7, metric=metric, confidence=0.9, seconds=1e6, max_tokens=10)
    result = calibration(tmp_path, engines(1), prompts(1, 70, fit=20), wishes).run()
    assert {m.point.strategy for m in result.measured} >= {"plain", "speculate", "ead", "cascade"}
    for measured in result.measured:
        # what cannot win is given up on the way
        assert len(measured.runs) in (GIVEN_UP_AT, 20) and (measured.forecast_ms or 0) > 0
        if measured.exact:
            assert measured.unlike == 0 and measured.quality == 1
        assert 0 <= measured.quality <= 1 and measured.ms_per_token > 0
    assert len(result.plain.runs) == 20
    assert 1 <= len(result.tests) <= PROVED_FAMILIES and set(result.tests) <= set(PAIR_FAMILIES)
    assert set(result.tried) >= {"speculate", "dyspec", "lookup", "suffix", "ead accept=exact"}
    assert set(result.tried) >= set(PAIR_FAMILIES)
    assert result.recommended.exact or result.proved is not None
    if metric != "answer":
        assert result.held_out == 50
    for tests in result.tests.values():
        for test in tests:
            assert test.confidence == pytest.approx(1 - 0.1 / len(result.tests))
            # what is called proved is what the bound says
            assert test.proved == (test.tested and test.bound <= 0.3)
    assert result.agreement.answers == 20 and 0 < result.agreement.share < 1


def test_keep_1_is_exact_and_proves_nothing(tmp_path: Path) -> None:
    result = calibration(
        tmp_path, engines(1), prompts(1, 12, fit=4), Wishes(keep=1, seconds=1e6, max_tokens=8)
    ).run()
    assert all(m.exact for m in result.measured)
    assert result.tests == {} and result.budget is None and result.within_budget is None


def test_one_model_alone(tmp_path: Path) -> None:
    pair = Engines(large=engines(1)["large"])
    wishes = Wishes(seconds=20, max_tokens=8)
    result = calibration(tmp_path, pair, prompts(1, 12, fit=4), wishes, measure=True).run()
    assert set(result.tables) == {"large"}
    names = [m.point.strategy for m in result.measured]
    assert names[:2] == ["plain", "speculate"] and set(names[2:]) == {
        "lookup",
        "suffix",
        "recycling",
    }
    assert result.agreement.by_depth == [] and result.tests == {}


@pytest.fixture
def exact_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes by a constant a look, so that all choices are the same each time."""
    looks = count()
    # powers of two: differences are exact, whatever the clock shows
    monkeypatch.setattr("adec.decoding.meter.perf_counter", lambda: next(looks) * 2.0**-20)


@pytest.mark.usefixtures("exact_clock")
def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """Ctrl-C after any number of forwards: the next calibration measures only what is missing."""
    asked = prompts(2, 24, fit=8)
    calibration(tmp_path / "whole", engines(2), asked).run()
    expected = item_names(tmp_path / "whole")
    seen: list[int] = []
    for limit in (3, 60, 900, 10**9):
        calls = iter(range(10**9))
        again = calibration(
            tmp_path / "cut", engines(2), asked, interrupted=lambda n=limit, c=calls: next(c) > n
        )
        seen.append(again._journal.resumed)
        if limit < 10**9:
            with pytest.raises(KeyboardInterrupt):
                again.run()
        else:
            again.run()
    assert seen == sorted(seen) and seen[-1] > 10
    # nothing twice, nothing else, nothing missing
    assert sorted(item_names(tmp_path / "cut")) == sorted(expected)


def item_names(folder: Path) -> list[str]:
    lines = (folder / "journal.jsonl").read_text().splitlines()
    return [json.loads(line)[0] for line in lines]


def test_a_finished_calibration_is_not_measured_again(tmp_path: Path) -> None:
    asked = prompts(2, 16, fit=5)
    first = calibration(tmp_path, engines(2), asked)
    one = first.run()
    first._journal.close()
    pair = engines(2)
    two = calibration(tmp_path, pair, asked).run()
    assert pair["large"].fed == [] and pair["small"].fed == []
    for a, b in zip(one.measured, two.measured, strict=True):
        assert (a.point, a.runs, a.losses) == (b.point, b.runs, b.losses)


def test_a_torn_or_foreign_journal_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "key")
    journal.put("a", 1)
    journal.put("b", {"x": [1.5]})
    journal.close()
    with path.open("a") as file:
        file.write('["c", 3')
    again = Journal(path, "key")
    assert (again.get("a", ANY), again.get("b", ANY), again.get("c", ANY)) == (
        1,
        {"x": [1.5]},
        None,
    )
    again.put("c", 4)
    again.close()
    assert Journal(path, "key").get("c", ANY) == 4
    assert Journal(path, "other").resumed == 0
    path.write_bytes(b"\xff\x00[[[\n" * 5)
    assert Journal(path, "key").resumed == 0


def test_a_journal_of_an_earlier_adec_is_gone_on_with(tmp_path: Path) -> None:
    """Nothing that it holds is measured again."""
    earlier = Path(__file__).parent / "earlier" / "journal.jsonl"
    shutil.copy(earlier, tmp_path)
    held = [json.loads(line)[0] for line in earlier.read_text().splitlines()]
    again = calibration(
        tmp_path,
        engines(2),
        prompts(2, 12, fit=4),
        Wishes(keep=0.8, seconds=1e6, max_tokens=6),
    )
    assert again._journal.resumed == len(held) - 1
    result = again.run()
    names = item_names(tmp_path)
    assert names[: len(held)] == held and len(set(names)) == len(names)
    assert len(result.plain.runs) == 4


def test_items_that_are_not_what_they_should_be_are_measured_again(tmp_path: Path) -> None:
    asked = prompts(2, 12, fit=4)
    first = calibration(tmp_path, engines(2), asked)
    first.run()
    first._journal.close()
    path = tmp_path / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    spoilt = [[name, value if name == "key" else {"tokens": "?"}] for name, value in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in spoilt))
    result = calibration(tmp_path, engines(2), asked).run()
    assert all(len(m.runs) == 4 for m in result.measured)


def test_a_prompt_longer_than_the_context_is_refused_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    pair = engines(1, context=96)
    with pytest.raises(UsageError, match="has 96 tokens, the context holds 96"):
        calibration(tmp_path, pair, prompts(1, 12, fit=4, length=96))
    assert pair["large"].fed == []


def test_losses_are_what_they_are_said_to_be() -> None:
    assert disagreement((1, 2, 3), (1, 2, 3)) == 0
    assert disagreement((1, 2, 3, 4), (1, 9, 3, 4)) == 0.25
    assert disagreement((1, 2), (1, 2, 3, 4)) == 0.5
    assert disagreement((), ()) == 0
    pair = engines(4)
    runner = Runner(plan_of(pair), pair, max_tokens=10)
    asked = prompts(4, 6, fit=6).fit
    for prompt in asked:
        own, ids = runner.run(Point("plain"), prompt), runner.encode(prompt)
        other = runner.run(Point("plain", (("model", "small"),)), prompt)
        for metric in ("agreement", "perplexity"):
            assert loss_of(metric, own, own, pair["large"], ids) == 0
            assert 0 <= loss_of(metric, own, other, pair["large"], ids) <= 1
        right = loss_of("answer", own, other, pair["large"], ids)
        assert right == (None if not own.right else float(not other.right))


@pytest.mark.slow
def test_proved_budgets_hold_on_fresh_prompts() -> None:
    """60 calibrations at 80 %: the failures are at most a binomial with chance 0.2, whose limit is
    passed less often than ALLOWED."""
    found = coverage(60, 0.8)
    assert found.proved > 5
    assert 1 - binomial_tail(found.failed - 1, found.calibrations, 0.2) > ALLOWED
