"""A calibration's profile: what is written is read, what is hostile is refused, what is stale is
named."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from adec.answering.choice import Choice, Chosen, choose_strategy, is_proved
from adec.answering.session import Question, Session
from adec.calibration.replay.grids import FAMILIES
from adec.calibration.report.printout import chart, plot, sentence, table
from adec.calibration.report.to_profile import Named, profile_text
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import PLAIN, Point, Trial
from adec.calibration.wishes import Wishes
from adec.decoding.pair.clock.cost_curve import CostCurve, Curves
from adec.decoding.registry import METHODS
from adec.decoding.settings import build
from adec.errors import AdecError, ProfileError, UsageError
from adec.places import shipped_profiles
from adec.profiles.read import read_profile
from adec.profiles.write import check_writable, write_profile
from tests.calibration.tables import calibration, engines, plan_of, prompts

EARLIER = Path(__file__).parent.parent / "earlier"
NAMED = Named("letters", "large.gguf", "small.gguf", "letters", 0)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    wishes = Wishes(keep=0.6, confidence=0.9, seconds=1e6, max_tokens=10)
    folder = tmp_path_factory.mktemp("result")
    return calibration(folder, engines(1), prompts(1, 90, fit=20), wishes).run()


@pytest.fixture(scope="module")
def headers():
    return plan_of(engines(1)).models


def test_what_is_written_is_read(result, headers, tmp_path: Path) -> None:
    path = tmp_path / "letters.toml"
    write_profile(path, profile_text(result, NAMED, headers))
    profile = read_profile(path)
    assert (
        profile.name == "letters" and profile.vocabulary == headers["large"].vocabulary.fingerprint
    )
    assert profile.recommended == result.recommended.point.strategy
    assert profile.choice is not None and profile.choice.exact == result.exact.point.strategy
    curve = profile.costs.curves
    assert curve.large.ms(8) == pytest.approx(18) and curve.small.ms(1) == pytest.approx(1.1)
    assert profile.costs.context == result.agreement.context
    test = result.budget
    assert profile.budget is not None and profile.budget.proved == test.proved is True
    assert profile.budget.proved_keep == pytest.approx(1 - test.bound, rel=1e-4)
    settings = profile.settings[profile.budget.strategy]
    assert settings == pytest.approx(test.point.point.table(), rel=1e-5)
    # every family's table is a valid setting of that strategy
    for name, values in profile.settings.items():
        build(METHODS[name].settings, name, ("profile", values))
    assert [p for p in tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    "path",
    [EARLIER / "profile.toml", shipped_profiles() / "practice.toml"],
)
def test_profiles_of_an_earlier_adec_are_read(path: Path) -> None:
    profile = read_profile(path)
    assert profile.recommended in METHODS and set(profile.models) == {"large", "small"}
    assert profile.budget is not None and profile.choice is not None and profile.front
    assert profile.costs is None or profile.costs.curves is not None
    for name, values in profile.settings.items():
        build(METHODS[name].settings, name, ("profile", values))


def test_every_key_that_needs_it_has_a_comment(result, headers) -> None:
    """In each of its tables; and every table that a calibration of a pair promises is there."""
    text = profile_text(result, NAMED, headers)
    explained = {
        "budget": {"metric", "keep", "confidence", "proved", "kept", "proved_keep", "held_out"},
        "choice": {"exact", "exact_tokens_per_second", "draft_ms", "draft_ms_break_even"},
        "cost": {"context", "largest_useful_batch", "outliers"},
        "[cost.large]": {"sizes", "ms", "spread_ms"},
        "signals": {"agreement", "best_chain", "acceptance_by_depth"},
        "[front]": {"kept", "tokens_per_second", "large_share"},
        **{name: set(FAMILIES[name].thresholds) for name in FAMILIES if f"\n[{name}]\n" in text},
    }
    assert any(name in explained for name in FAMILIES)
    for name, keys in explained.items():
        tables = text.split(f"\n[{name}]\n")[1:]
        assert tables, name
        for found in tables:
            lines = found.split("\n\n")[0].split("\n[")[0].splitlines()
            comments = {line.split(" = ")[0]: line.partition("  # ")[2] for line in lines if line}
            assert keys <= set(comments), name
            assert all(comments[key] for key in keys), name


def test_names_and_remarks_of_others_cannot_break_the_file(result, headers, tmp_path: Path) -> None:
    evil = 'x"\n[pair]\nlarge = "/etc/passwd" # \x1b[2J'
    named = Named(evil, evil, evil, evil, 0)
    path = tmp_path / "evil.toml"
    write_profile(path, profile_text(replace(result, remarks=[evil]), named, headers))
    profile = read_profile(path)
    assert profile.models["large"] == evil and profile.name == evil


def test_mutated_profiles_are_read_or_refused_in_one_line(result, headers, tmp_path: Path) -> None:
    good = profile_text(result, NAMED, headers).encode()
    rng = random.Random(7)
    path = tmp_path / "mutant.toml"
    for _ in range(150):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            profile = read_profile(path)
            if profile.costs is not None:
                _ = profile.costs.curves
        except AdecError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cost]\nlarge = 3", "cost.large: expected a list, got a whole number"),
        (
            "[[cost.large]]\ncontext = -1\nsizes = [1]\nms = [1]",
            "cost.large[0].context: expected a whole number >= 0",
        ),
        ("[[cost.large]]\ncontext = 1\nsizes = [1, 2]\nms = [1]", "sizes and ms differ in length"),
        (
            "[[cost.large]]\ncontext = 1\nsizes = [0]\nms = [1]",
            "cost.large[0].sizes[0]: expected a whole number >= 1",
        ),
        (
            "[[cost.large]]\ncontext = 1\nsizes = [1]\nms = [nan]",
            "cost.large holds a number that is not finite",
        ),
        (
            "[[cost.large]]\ncontext = 1\nsizes = []\nms = []",
            "cost.large[0].sizes: expected a list of length >= 1",
        ),
        (
            "[budget]\nmetric = 'a'\nkeep = 1\nconfidence = 1\nstrategy = 'ead'\nproved = 1",
            "budget.proved: expected true or false, got a whole number",
        ),
        (
            "[budget]\nmetric = 'a'\nkeep = 2\nconfidence = 1\nstrategy = 'ead'",
            "budget.keep: expected a number <= 1.0",
        ),
        ("[choice]\nexact = 5", "choice.exact: expected a text, got a whole number"),
        ("[choice]\nexact = 'specualte'", "did you mean speculate"),
        ("[machine]\ncoers = 2", "did you mean machine.cores"),
        ("front = 3", "front: expected a list"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(f"schema = 1\n{text}\n")
    with pytest.raises(ProfileError) as caught:
        read_profile(path)
    assert said.lower() in str(caught.value).lower() and "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(ProfileError, match="cannot be written"):
        check_writable(folder / "p.toml")


def test_a_folder_that_cannot_be_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "p.toml", tmp_path):
        with pytest.raises(ProfileError, match="cannot be written"):
            check_writable(path)
    target = tmp_path / "there.toml"
    target.mkdir()
    with pytest.raises(ProfileError, match="cannot be written"):
        write_profile(target, "schema = 1\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "there.toml"]


def test_auto_obeys_a_profile_as_far_as_it_is_proved(result, headers, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    write_profile(path, profile_text(result, NAMED, headers))
    profile = read_profile(path)
    sure = replace(
        profile,
        recommended="ead",
        choice=msgspec.structs.replace(profile.choice, exact="dyspec", within_budget="ead"),
        budget=msgspec.structs.replace(profile.budget, strategy="ead", keep=0.9, proved=True),
    )
    unsure = replace(sure, budget=msgspec.structs.replace(sure.budget, proved=False))

    def chosen(known, **wishes):
        return choose_strategy(Choice(**wishes), known, headers)

    assert chosen(sure) == Chosen("ead") == chosen(sure, strategy="auto")
    assert chosen(sure, keep=1) == Chosen("dyspec")
    assert chosen(sure, keep=0.9) == Chosen("ead") == chosen(sure, keep=0.5)
    found = chosen(sure, keep=0.95)
    assert found.strategy == "dyspec" and "has no proof for --keep 0.95" in found.remark
    assert chosen(unsure, keep=0.9).strategy == "dyspec"
    assert chosen(sure, strategy="plain") == Chosen("plain")
    assert chosen(sure, assignments=("cascade.alpha=0.1",)) == Chosen("cascade")
    found = chosen(None)
    assert found.strategy == "speculate" and "adec calibrate SMALL LARGE" in found.hint
    stuck = replace(headers["large"], capabilities=frozenset())
    assert choose_strategy(Choice(), None, {"large": stuck}).strategy == "plain"
    for wrong in ({"keep": 0.0}, {"keep": 1.5}, {"keep": 0.9, "strategy": "ead"}):
        with pytest.raises(UsageError, match="--keep"):
            chosen(sure, **wrong)


def test_an_exact_choice_brings_its_own_settings(result, headers, tmp_path: Path) -> None:
    """EAD may be both: the exact choice, judging its drafts, and what is proved in the budget."""
    path = tmp_path / "p.toml"
    write_profile(path, profile_text(result, NAMED, headers))
    exact = {"up": 0.25, "accept": "exact"}
    known = msgspec.structs.replace(
        read_profile(path).choice, exact="ead", exact_settings=exact, within_budget="ead"
    )
    profile = replace(
        read_profile(path),
        recommended="ead",
        choice=known,
        budget=msgspec.structs.replace(
            read_profile(path).budget, strategy="ead", keep=0.9, proved=True
        ),
    )

    def chosen(known, **wishes):
        return choose_strategy(Choice(**wishes), known, headers)

    assert chosen(profile, keep=1) == Chosen("ead", exact)
    assert chosen(profile) == chosen(profile, keep=0.9) == Chosen("ead")
    alone = replace(profile, choice=msgspec.structs.replace(known, within_budget=None))
    assert chosen(alone) == chosen(alone, keep=1) == Chosen("ead", exact)
    text = path.read_text().replace("[budget]", "[choice.exact_settings]\nup = 0.5\n[budget]", 1)
    if "[choice.exact_settings]" not in path.read_text():
        path.write_text(text)
        assert read_profile(path).choice.exact_settings == {"up": 0.5}
    path.write_text("schema = 1\n[choice]\nexact = 'ead'\nexact_settings = 3\n")
    with pytest.raises(ProfileError, match="exact_settings: expected a table"):
        read_profile(path)


def test_a_budget_covers_its_own_settings_only(result, headers, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    write_profile(path, profile_text(result, NAMED, headers))
    profile = read_profile(path)
    method = METHODS[profile.budget.strategy]
    fitted = build(method.settings, method.name, ("p", profile.settings[method.name]))
    assert is_proved(profile, method, fitted)
    assert not is_proved(profile, method, build(method.settings, method.name))
    assert not is_proved(replace(profile, budget=None), method, fitted)
    assert not is_proved(profile, METHODS["plain"], fitted)


def test_why_an_exact_strategy_that_looks_faster_is_not_taken(result) -> None:
    def runs(*ms: float) -> list[Trial]:
        return [Trial((1,) * 11, "", each * 10, 0.0, 11, 10, 10) for each in ms]

    def said(*looks: list[Trial]) -> str:
        plain = Measured(PLAIN, exact=True, runs=runs(11, 13, 11, 13))
        points = [Measured(Point("lookup"), exact=True, runs=each) for each in looks]
        return sentence(replace(result, measured=[plain, *points], tests={}), "mine")

    scattered = said(runs(10, 13, 10, 13))
    assert "Take plain: lookup ran 1.04 times as fast, but these speeds are uncertain" in scattered
    assert "--time-limit" in scattered and "nothing" not in scattered
    assert "but on 2 prompts only" in said(runs(7, 7), runs(20, 20, 20, 20))
    assert "nothing that is exact pays here" in said(runs(20, 20, 20, 20))
    # a clear lead is taken
    assert "Take lookup" in said(runs(4, 6, 4, 6))


def test_what_is_shown_fits_and_names_everything(result) -> None:
    for columns in (40, 80, 200):
        assert max(len(line) for line in chart(result, columns).splitlines()[:-1]) <= max(
            columns, 40
        )
    rows = table(result)
    for measured in result.measured:
        assert measured.point.label in rows
    assert "recommended" in rows
    for columns in (40, 60, 100):
        narrow = table(result, columns)
        figures = [line for line in narrow.splitlines() if "ead" not in line and "=" not in line]
        assert max(len(line) for line in figures if "proved" not in line) <= columns
        assert all(measured.point.label in narrow for measured in result.measured)
    assert table(result, 500) == rows
    said = sentence(result, "mine")
    assert "adec run --pair mine" in said and "\n" not in said
    assert result.recommended.point.strategy in said
    picture = plot(result).svg()
    assert picture.startswith("<svg") and picture.count("<circle") == len(result.measured)
    assert "script" not in picture and "http" not in picture.replace(
        "http://www.w3.org/2000/svg", ""
    )


@pytest.mark.parametrize("name", ["speculate", "smartspec", "dyspec", "lookup", "adaedl"])
def test_measured_times_reach_the_strategy(name: str) -> None:
    """A chooser decides by a profile's curves from the start, unless it looks at no clock."""
    pair = engines(1)
    method = METHODS[name]
    curves = Curves(CostCurve({1: 7.0, 8: 8.0}), CostCurve({1: 0.5}))
    plan = replace(
        plan_of(pair), method=method, settings=build(method.settings, name), curves=curves
    )
    session = Session(plan, pair, 0.0)
    events = list(session.answer(Question("abc", max_tokens=5)))
    fresh = Session(plan, pair, 0.0)._strategy.chooser
    assert fresh.plain_ms == (None if name == "adaedl" else 7.0)
    for candidate in getattr(fresh, "candidates", []):
        if candidate.drafter.runs_a_model:
            assert candidate.drafter.draft_ms() == 0.5
    assert events[0].plain_ms_per_token == 7.0
