"""Workers that answer ahead: the calibration finds in its journal what it would have measured."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adec.calibration.helpers import Asked, Helpers, Told
from adec.calibration.journal import Journal
from adec.calibration.replay.answers_to_fit import LEAST_ANSWERS
from adec.calibration.replay.grids import CLOCK, is_timed
from adec.calibration.replay.recording import Answer
from adec.calibration.trials.held_out import CLOCKED
from adec.calibration.trials.trial import PLAIN, Point, Runner, Trial
from adec.calibration.wishes import Wishes
from tests.calibration.tables import SIZE, calibration, engines, plan_of, prompts
from tests.spreading.fakes import FakeCrew


def items(folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert len({name for name, _ in lines}) == len(lines), "nothing is measured twice"
    return dict(lines)


@pytest.mark.parametrize("metric", ["agreement", "answer", "perplexity"])
def test_what_workers_answered_is_what_this_machine_would_have(tmp_path: Path, metric) -> None:
    rng = random.Random(metric)
    crew = FakeCrew(
        4,
        lambda worker, job: rng.choice(["well"] * 30 + ["slow", "dies"]) if worker > 1 else "well",
        named=True,
    )
    wishes = Wishes(keep=0.7, metric=metric, confidence=0.9, seconds=1e6, max_tokens=10)
    asked = prompts(1, 70, fit=20)
    result = calibration(tmp_path, engines(1), asked, wishes, crew=crew).run()
    assert result.held_out == 50 or metric == "answer"
    found = items(tmp_path)
    pair = engines(1)
    runner = Runner(plan_of(pair), pair, max_tokens=10)
    helped = 0
    for name, item in found.items():
        if not isinstance(item, dict) or "worker" not in item:
            continue
        where, _, rest = name.partition("fit ")
        elsewhere = bool(item["worker"])
        helped += elsewhere
        if where == "answer " and rest:
            assert elsewhere == (int(rest) >= LEAST_ANSWERS)
            prompt, point = asked.fit[int(rest)], PLAIN
        elif "held out" in name:
            index, _, label = name.partition("held out ")[2].partition(" ")
            prompt = asked.held_out[int(index)]
            known = {m.point.label: m.point for m in result.measured}
            point = PLAIN if name.startswith("answer") else known[label]
            assert elsewhere == (int(index) >= CLOCKED and not is_timed(point))
        else:
            assert not elsewhere, "what is timed is run here"
            continue
        own = runner.run(point, prompt)
        if not is_timed(point):
            assert (list(own.tokens), own.text, own.right) == (
                item["tokens"], item["text"], item["right"],
            )  # fmt: skip
    assert helped > 16
    for measured in result.measured:
        assert len(measured.fresh) <= CLOCKED or is_timed(measured.point)


def test_a_point_by_the_clock_is_not_spread() -> None:
    assert is_timed(Point("ead", (("up", 0.5), *CLOCK)))
    assert not is_timed(Point("ead", (("up", 0.5),)))


def test_garbage_of_a_worker_is_no_measurement(tmp_path: Path) -> None:
    helpers = Helpers(FakeCrew(1), lambda: None, SIZE, Journal(tmp_path / "j", "k"), print)  # type: ignore[arg-type,return-value]
    plain, proof = Asked("fit 0", "ab"), Asked("held out 0", "ab", points=(PLAIN,))
    trial = Trial((1, 2), "ab", 1.0, 0.1, 2, 2, 2)
    good = msgspec.json.encode(Told(Answer((1, 2), "ab", 1.0)))
    assert helpers._read(plain, good)[1].answer is not None
    for job, thing in (
        (plain, Told()),
        (plain, Told(trials=(trial,))),
        (plain, Told(Answer((1, SIZE), "a", 1.0))),
        (proof, Told(Answer((1,), "a", 1.0))),
        (proof, Told(trials=(trial, trial))),
        (proof, Told(trials=(trial,), losses=(0.0, 0.0))),
        (Asked("fit 0", "ab", recorded=True), Told(Answer((1,), "a", 1.0))),
    ):
        with pytest.raises(ValueError):
            helpers._read(job, msgspec.json.encode(thing))
    for data in (b"", b"{", b"[]", b'{"answer": {"tokens": [-1], "text": "", "ms": 0}}', b"\xff"):
        with pytest.raises(ValueError):
            helpers._read(plain, data)
