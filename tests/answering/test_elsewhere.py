"""A plan on another machine: its models are found again by what they hold, or one line says why."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from adec.answering.choice import Choice
from adec.answering.elsewhere import carried, find_again
from adec.answering.plan import plan
from adec.errors import ModelFileError, UsageError
from adec.models.stores import Surroundings
from tests.engines.gguf.tiny_gguf import write_tiny_gguf


def test_a_plan_that_was_carried_opens_the_same_models(tiny_pair: tuple[Path, Path]) -> None:
    small, large = tiny_pair
    made = plan(Choice(small=str(small), large=str(large), strategy="plain"))
    again = pickle.loads(pickle.dumps(carried(made))).plan()
    assert {role: h.info.path.resolve() for role, h in again.models.items()} == {
        "small": small.resolve(), "large": large.resolve(),
    }  # fmt: skip
    assert again.method.name == "plain" and again.unlike == made.unlike


def test_the_built_in_pair_keeps_its_profile() -> None:
    made = plan(Choice(strategy="plain"))
    again = pickle.loads(pickle.dumps(carried(made))).plan()
    assert again.profile == made.profile is not None
    assert again.with_strategy("ead").settings == made.with_strategy("ead").settings


def test_a_model_is_found_by_its_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    original = write_tiny_gguf(tmp_path / "here" / "m.gguf", seed=1)
    known = carried(plan(Choice(model=str(original), strategy="plain"))).models["large"]
    around = Surroundings(environment={}, home=tmp_path / "nobody", here=tmp_path / "nobody")
    assert find_again(known, around) == original
    # under the home folder of another user
    home = tmp_path / "other"
    copy = home / "models" / "m.gguf"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(original.read_bytes())
    monkeypatch.setattr(Path, "home", lambda: home)
    moved = replace(known, path=Path("/gone/models/m.gguf"), home=Path("/gone"))
    assert find_again(moved, around) == copy
    # by its file name in a named folder
    elsewhere = replace(known, path=Path("/gone/m.gguf"), home=Path("/nobody"))
    named = replace(around, environment={"ADEC_MODELS": str(home)})
    assert find_again(elsewhere, named).read_bytes() == original.read_bytes()
    with pytest.raises(ModelFileError, match="does not lie here"):
        find_again(elsewhere, around)
    write_tiny_gguf(copy, seed=2)
    with pytest.raises(ModelFileError, match="is another model here"):
        find_again(moved, around)
    with pytest.raises(ModelFileError):
        find_again(elsewhere, named)


def test_a_model_on_no_disk_is_not_carried(tiny_pair: tuple[Path, Path]) -> None:
    made = plan(Choice(model=str(tiny_pair[1]), strategy="plain"))
    header = made.models["large"]
    gone = replace(header, info=replace(header.info, path=Path("http://x/v1")))
    with pytest.raises(UsageError, match="lies on no disk"):
        carried(replace(made, models={"large": gone}))
