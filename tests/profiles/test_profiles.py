"""Profiles are data, and hostile."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.errors import AdecError, ProfileError
from adec.profiles.find import available, find_profile
from adec.profiles.read import read_profile
from adec.profiles.schema import MeasuredOn

GOOD = """
schema = 1
name = "mine"
recommended = "ead"
[pair]
small = "s.gguf"
large = "/models/l.gguf"
vocabulary = "0123456789abcdef"
[ead]
up = 0.3
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADEC_HOME", str(tmp_path))
    (tmp_path / "profiles").mkdir()
    return tmp_path / "profiles"


def test_a_profile_is_found_by_name_and_by_path(home: Path) -> None:
    path = home / "mine.toml"
    path.write_text(GOOD)
    profile = find_profile("mine")
    assert profile == read_profile(path) == find_profile(str(path))
    assert profile.settings == {"ead": {"up": 0.3}}
    assert profile.model_path("small") == str(home / "s.gguf")
    assert profile.model_path("large") == "/models/l.gguf"
    assert profile.model_path("draft") is None


def test_the_shipped_profile_is_there_and_a_users_hides_it(home: Path) -> None:
    assert "practice" in available()
    (home / "practice.toml").write_text(GOOD)
    assert available()["practice"].parent == home


def test_the_shipped_profile_fits_the_shipped_models_on_every_machine(home: Path) -> None:
    profile = find_profile("practice")
    assert profile.costs is None and profile.machine == MeasuredOn()
    ready = plan(Choice(pair="practice"))
    assert ready.remarks == () and ready.curves is None and ready.threads is None
    if profile.budget is not None and profile.budget.proved:
        assert ready.bounded == (ready.method.name == profile.budget.strategy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema = 2", "has schema 2"),
        ("name = 1\nschema = 1", "name: expected a text, got a whole number"),
        ("schema = 1\nrecomended = 'x'", "did you mean recommended"),
        ("schema = 1\n[eda]\nup = 1", "unknown key eda"),
        ("schema = 1\npair = 3", "pair is not a table"),
        ("schema = 1\n[pair]\nlarg = 'x'", "did you mean pair.large"),
        ("schema = ", "is not valid TOML"),
        ("\x00", "is not valid TOML"),
        ("a = " + "[" * 5000, "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(home: Path, text: str, said: str) -> None:
    path = home / "bad.toml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        read_profile(path)
    assert said.lower() in str(caught.value).lower()
    assert caught.value.exit_code == 2


def test_an_unknown_name_is_helped(home: Path) -> None:
    with pytest.raises(ProfileError, match="Did you mean practice"):
        find_profile("practise")
    with pytest.raises(ProfileError, match="cannot be read"):
        find_profile("no/such.toml")


def test_mutated_profiles_are_read_or_refused(home: Path) -> None:
    rng = random.Random(5)
    path = home / "mutant.toml"
    for _ in range(400):
        data = bytearray(GOOD.encode())
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            read_profile(path)
        except AdecError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize("line", ["schema = {}", "[ead]\nup = {}", "[budget]\nkeep = {}"])
def test_numbers_of_hundreds_of_digits_are_one_line_of_error(tmp_path, line, digits) -> None:
    path = tmp_path / "huge.toml"
    pair = 'small = "practice:small"\nlarge = "practice:large"'
    number = line.format("9" * digits)
    path.write_text(
        f'name = "huge"\n{"" if "schema" in line else "schema = 1"}\n{number}\n[pair]\n{pair}\n'
    )
    with pytest.raises(AdecError) as caught:
        plan(Choice(pair=str(path), strategy="ead"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
