"""Fits of what drafts: broken off and gone on with, refused where they cannot end well."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adec.parts.kept_parts import part_path
from adec.parts.part import Part
from adec.parts.part_file import read_part, write_part
from tests.calibration.fit.test_fit_part import prompts
from tests.cli.command import Outcome, call
from tests.engines.torch.tiny_folder import write_tiny_folder

torch = pytest.importorskip("torch")

from adec.calibration.fit import fit_ppd, fit_transfer, fitting, own_texts  # noqa: E402
from adec.calibration.fit.fitting import Fitting  # noqa: E402
from adec.engines.torch.torch_fit import prompt_fit, pseudo_fit  # noqa: E402

__all__ = ["prompts"]

KINDS = ("ppd", "hidden-transfer", "lexical")
ARRAYS = {"ppd": "embeddings", "hidden-transfer": "maps", "lexical": "shifts"}
STEPS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("models") / "three", layers=3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "TESTED", 2)
    for module in (prompt_fit, pseudo_fit):
        monkeypatch.setattr(module, "STEPS", STEPS)
        monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)


@pytest.fixture
def fit(folder: Path, prompts: Path, capsys: Any) -> Callable[..., Outcome]:
    """Fit a kind, of the folder unless another model is named."""

    def run(kind: str, model: Path = folder) -> Outcome:
        return call(
            capsys, "calibrate", model, "--fit", kind, "--prompts", prompts, "-n", 6, "-q",
            "--threads", 1,
        )  # fmt: skip

    return run


def parts_of(folder: Path, capsys: Any) -> dict[str, Any]:
    shown = json.loads(call(capsys, "inspect", folder, "--json").out)["parts"]
    return {part["kind"]: part for part in shown}


def test_prompt_tokens_are_learned_shown_and_used(
    folder: Path, fit: Callable[..., Outcome], capsys: Any
) -> None:
    missing = call(capsys, "run", "-m", folder, "--strategy", "ppd", "-n", 4, "hi")
    assert missing.code == 2 and "--fit ppd" in missing.err
    learned = fit("ppd")
    assert learned.code == 0 and "3 prompt tokens of" in learned.out, learned.err
    assert f"in {STEPS} steps" in learned.out and "100.0 % of the answers unchanged" in learned.out
    part = parts_of(folder, capsys)["ppd"]
    assert part["facts"]["steps"] == STEPS and 0 < part["facts"]["right_1_further"] < 1
    said = [
        json.loads(
            call(
                capsys, "run", "-m", folder, "-n", 16, "--json", "--strategy", name, *more,
                "what is 3",
            ).out
        )["text"]
        for name, *more in (
            ("ppd",), ("ppd", "--set", "ppd.size=fixed"), ("plain",), ("speculate",),
        )
    ]  # fmt: skip
    assert len(set(said)) == 1


def broken_off(
    monkeypatch: pytest.MonkeyPatch, fit: Callable[..., Outcome], kind: str
) -> np.ndarray[Any, Any]:
    """A fit that dies while it learns; what it had kept by then."""
    kept: list[Path] = []

    class Killed(BaseException):
        """As a signal that nobody catches."""

    def tick(self: Fitting, share: float) -> None:
        (begun,) = [part_path(f"{kind}_begun", self.model)]
        if begun.exists():
            kept.append(begun)
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Fitting, "tick", tick)
        with pytest.raises(Killed):
            fit(kind)
    array: np.ndarray[Any, Any] = read_part(kept[0]).tensor(ARRAYS[kind], *[None] * dims(kind))
    return array


def dims(kind: str) -> int:
    return 3 if kind == "hidden-transfer" else 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_was_killed_goes_on_where_it_was(
    folder: Path, fit: Callable[..., Outcome], kind: str, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    begun = broken_off(monkeypatch, fit, kind)
    assert set(parts_of(folder, capsys)) == {f"{kind}_begun"}
    # the next one begins with it, and leaves nothing of it
    monkeypatch.setattr(prompt_fit, "RATE", 0.0)
    monkeypatch.setattr(pseudo_fit, "RATE", dict.fromkeys(pseudo_fit.RATE, 0.0))
    done = fit(kind)
    assert done.code == 0, done.err
    (part,) = parts_of(folder, capsys).values()
    assert part["kind"] == kind
    learned = read_part(Path(part["path"])).tensor(ARRAYS[kind], *[None] * dims(kind))
    np.testing.assert_array_equal(learned, begun)
    assert kind != "hidden-transfer" or "goes on from an earlier fit" in done.out


@pytest.mark.parametrize("kind", KINDS)
def test_a_begun_part_that_does_not_fit_is_begun_anew(
    folder: Path, fit: Callable[..., Outcome], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(monkeypatch, fit, kind)
    (path,) = part_path(kind, "x").parent.glob(f"{kind}_begun-*")
    for spoil in (
        lambda: write_part(
            Part(f"{kind}_begun", path.stem.rpartition("-")[2], {"a": np.zeros(2, np.float32)}),
            path,
        ),
        lambda: path.write_bytes(b"\xff" * 40),
    ):
        spoil()
        done = fit(kind)
        assert done.code == 0 and "Traceback" not in done.err
        assert not path.exists()


def test_a_part_of_another_model_is_refused(
    folder: Path, fit: Callable[..., Outcome], tmp_path: Path, capsys: Any
) -> None:
    assert fit("ppd").code == 0
    other = write_tiny_folder(tmp_path / "other", layers=2)
    (mine,) = part_path("ppd", "x").parent.glob("ppd-*")
    from adec.engines.torch.folder_header import read_folder_header
    from adec.parts.kept_parts import model_fingerprint

    fingerprint = model_fingerprint(read_folder_header(other).info)
    assert fingerprint is not None
    shutil.copy(mine, part_path("ppd", fingerprint))
    refused = call(capsys, "run", "-m", other, "--strategy", "ppd", "-n", 4, "hi")
    assert refused.code == 1 and "of another model" in refused.err
    assert refused.err.count("\n") == 1 and "--fit ppd" in refused.err
    # what can do without it does, and says so
    told = call(capsys, "run", "-m", other, "--strategy", "speculate", "-n", 4, "hi")
    assert told.code == 0 and "going on without a part" in told.err and told.out.strip()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_and_disk_are_asked_for_before_much_is_learned(
    fit: Callable[..., Outcome], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fit_ppd, "memory", lambda: (1 << 30, 1 << 10))
        patch.setattr(own_texts, "memory", lambda: (1 << 30, 1 << 10))
        refused = fit(kind)
        assert refused.code == 1 and "GiB are free" in refused.err and not refused.out
    steps: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr("adec.parts.part_file.write_whole", full)
        patch.setattr(Fitting, "tick", lambda self, share: steps.append(share))
        for module in (prompt_fit, pseudo_fit):
            patch.setattr(module, "STEPS", 1_000)
        refused = fit(kind)
    assert refused.code == 1 and "No space left" in refused.err and not refused.out
    assert len(steps) < 100


def test_maps_that_outgrow_a_part_are_refused_before_they_are_learned(
    fit: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_transfer, "LIMIT", 1000)
    refused = fit("hidden-transfer")
    assert refused.code == 2 and "a part has" in refused.err and "--fit lexical" in refused.err
