"""AdaDec's threshold from known solutions: what is read, what a profile says, who obeys."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.calibration.journal import Journal
from adec.calibration.prompts import KnownPrompt, PromptSet, built_in, read_prompts
from adec.calibration.replay import pause_thresholds
from adec.calibration.replay.pause_thresholds import learn, learn_thresholds
from adec.calibration.report.measured_tables import pause_tables
from adec.calibration.wishes import Wishes
from adec.decoding.search.threshold import TRIGGER_RATE, observe
from adec.engines.pair import Engines
from adec.errors import ProfileError, UsageError
from adec.profiles.read import read_profile
from tests.calibration.tables import calibration, engines, prompts


def asked(count: int = 60) -> list[KnownPrompt]:
    found = prompts(1, count, fit=count)
    return [
        dataclasses.replace(prompt, solution="abcde"[i % 5] + "cabbade"[: 3 + i % 4])
        for i, prompt in enumerate(found.fit)
    ]


def encode(prompt: KnownPrompt) -> list[int]:
    return [ord(letter) - ord("a") for letter in prompt.text]


def test_thresholds_by_hand(tmp_path: Path) -> None:
    """Each model's own entropies at the solutions' positions; the chosen share of them lies at or
    above."""
    pair, known = engines(1), asked()
    learned, remarks = learn_thresholds(pair, known, encode, Journal(tmp_path / "j", "k"))
    assert set(learned) == {"large", "small"} and not remarks
    for role, engine in (("large", pair["large"]), ("small", pair["small"])):
        assert engine is not None
        end = min(engine.vocabulary.end)
        parts = [
            observe(engine, encode(p), [*engine.tokenizer.encode(p.solution, special=False), end])
            for p in known
        ]
        entropies = np.concatenate([values for values, _ in parts])
        found = learned[role]
        assert found.threshold.positions == len(entropies) and found.solutions == 60
        share = float((entropies >= found.threshold.nats - 1e-6).mean())
        assert share == pytest.approx(found.threshold.trigger_rate, abs=2 / len(entropies))
        assert 0 < share <= TRIGGER_RATE and found.percentile == pytest.approx(100 * (1 - share))
        assert found.wrong == sum(int((~right).sum()) for _, right in parts)
    assert learned["large"].threshold.nats != learned["small"].threshold.nats


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    known = asked()
    first, _ = learn_thresholds(engines(1), known, encode, Journal(tmp_path / "j", "k"))
    pair = engines(1)
    again, _ = learn_thresholds(pair, known, encode, Journal(tmp_path / "j", "k"))
    assert again["small"].threshold.nats == pytest.approx(first["small"].threshold.nats, abs=1e-5)
    assert pair["large"].length == 0  # nothing was fed


def test_a_broken_journal_is_measured_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "k")
    for i, bad in enumerate([None, 3, [[1.0]], [["x"], [1]], [[1.0, 2.0], [1]], {"a": 1}]):
        journal.put(f"solution large {i}", bad)
    learned, _ = learn_thresholds(Engines(large=engines(1)["large"]), asked(), encode, journal)
    whole, _ = learn_thresholds(
        Engines(large=engines(1)["large"]), asked(), encode, Journal(tmp_path / "other", "k")
    )
    assert learned["large"].threshold.nats == pytest.approx(whole["large"].threshold.nats, abs=1e-5)


def test_without_solutions_there_is_none_and_with_few_it_is_said(tmp_path: Path) -> None:
    pair = engines(1)
    journal = Journal(tmp_path / "j", "k")
    assert learn_thresholds(pair, prompts(1, 9, fit=9).fit, encode, journal) == ({}, [])
    learned, remarks = learn_thresholds(pair, asked(5), encode, journal)
    assert not learned and len(remarks) == 2 and "are needed" in remarks[0]
    calls: list[float] = []
    late, _ = learn_thresholds(
        pair, asked(), encode, Journal(tmp_path / "k", "k"), late=lambda: True, tick=calls.append
    )
    assert len(calls) == pause_thresholds.LEAST and not late


def test_a_model_that_is_always_right_has_a_threshold_without_a_fit() -> None:
    entropies = np.linspace(0.0, 1.0, 400)
    found = learn([(entropies, np.ones(400, dtype=np.bool_))])
    assert not found.fitted and found.threshold.trigger_rate == TRIGGER_RATE
    text = "".join(pause_tables({"large": found}))
    assert "weight" not in text and "nan" not in text and "threshold = 0.98" in text


def test_a_calibration_writes_it_and_a_profile_is_obeyed(tmp_path: Path) -> None:
    pair, known = engines(1), asked(40)
    wishes = Wishes(keep=1, seconds=1e6, max_tokens=8)
    split = PromptSet(tuple(known[:36]), tuple(known[36:]), "x")
    result = calibration(tmp_path, pair, split, wishes).run()
    assert set(result.thresholds) == {"large", "small"}
    learned = "\n".join(pause_tables(result.thresholds))
    path = tmp_path / "mine.toml"
    head = 'schema = 1\n[pair]\nsmall = "practice:small"\nlarge = "practice:large"\n'
    path.write_text(f"{head}[adadec]\ncandidates = 2\n{learned}")
    profile = read_profile(path)
    assert profile.settings["adadec"] == {"candidates": 2}
    for role in ("large", "small"):
        wanted = result.thresholds[role].threshold.nats  # type: ignore[index]
        chosen = Choice(pair=str(path), strategy="adadec", assignments=(f"adadec.model={role}",))
        made = plan(chosen).settings
        assert made.threshold == pytest.approx(wanted, rel=1e-4) and made.candidates == 2
    chosen = Choice(pair=str(path), strategy="adadec", assignments=("adadec.threshold=0.7",))
    assert plan(chosen).settings.threshold == 0.7
    path.write_text(f"{head}[adadec]\nthreshold = 0.6\n{learned}")
    assert plan(Choice(pair=str(path), strategy="adadec")).settings.threshold == 0.6


@pytest.mark.parametrize(
    "bad", ["[adadec.large]\nthreshold = -1", "[adadec.small]\nthreshold = nan"]
)  # fmt: skip
def test_a_profile_with_a_wrong_threshold_is_refused(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(f'schema = 1\n[pair]\nmodel = "practice:small"\n{bad}\n')
    with pytest.raises(ProfileError, match=r"adadec\.(large|small)\.threshold"):
        read_profile(path)


def test_where_solutions_come_from(tmp_path: Path) -> None:
    assert all(p.solution for p in built_in(0, 12).all)
    path = tmp_path / "mine.jsonl"
    lines = [f'{{"prompt": "p{i}", "answer": "{i}"}}' for i in range(8)]
    lines.append('{"prompt": "q", "answer": "4", "solution": "2 + 2 = 4. Answer: 4"}')
    path.write_text("\n".join(lines))
    found = {p.text: p.solution for p in read_prompts(path, 0, answers=False).all}
    assert found["p3"] == "3" and found["q"] == "2 + 2 = 4. Answer: 4"
    path.write_text("\n".join([*lines, '{"prompt": "r", "solution": 3}']))
    with pytest.raises(UsageError, match='"solution" is not a text'):
        read_prompts(path, 0, answers=False)
