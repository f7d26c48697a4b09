"""Products of few rows: the same numbers either way round, and the faster way by a measurement."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from adec.engines.torch import few_rows  # noqa: E402
from adec.engines.torch.few_rows import FEW, TurnedLinear, turn, turned  # noqa: E402


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADEC_HOME", str(tmp_path))
    monkeypatch.setattr(few_rows, "_known", {})
    return tmp_path


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(), (1,), (2, 1)])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6])
def test_both_ways_give_the_same_numbers(
    bias: bool, leading: tuple[int, ...], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(48, 32, bias=bias)
    states = torch.randn(*leading, rows, 48)
    calls = []
    product = few_rows.multiply
    monkeypatch.setattr(few_rows, "multiply", lambda *both: calls.append(1) or product(*both))
    with torch.inference_mode():
        wanted = layer(states)
        turn(layer)
        assert type(layer) is TurnedLinear
        assert torch.equal(layer(states), wanted) and not calls  # only when asked
        with turned():
            found = layer(states)
    assert found.shape == wanted.shape and found.is_contiguous()
    assert torch.allclose(found, wanted, atol=1e-5)
    assert bool(calls) == (states.numel() // 48 in FEW)


def test_only_plain_linear_layers_are_turned() -> None:
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 4), Own(4, 4), nn.Embedding(4, 4))
    turn(model)
    turn(model)
    assert [type(layer) for layer in model] == [TurnedLinear, Own, nn.Embedding]


class Clock:
    """Products that take made-up seconds: torch's, then ours, in turn."""

    def __init__(self, of_torch: float, ours: float) -> None:
        self.durations = [of_torch, ours]
        self.calls = count()
        self.now = 0.0

    def __call__(self) -> float:
        call = next(self.calls)
        if call % 2:
            self.now += self.durations[call // 2 % 2]
        return self.now


def test_the_faster_way_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert few_rows.turned_is_faster(Clock(4.0, 3.0))
    (file,) = (home / "few_rows").iterdir()
    assert json.loads(file.read_text()) == {"turned": True}
    for known in (few_rows._known, {}):  # this process, and another one
        monkeypatch.setattr(few_rows, "_known", known)
        assert few_rows.turned_is_faster(Clock(4.0, 5.0))


def test_torchs_way_is_kept_where_ours_gains_little(home: Path) -> None:
    assert not few_rows.turned_is_faster(Clock(4.0, 3.5))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"turned": 1}', "[" * 99, "\xff"])
def test_a_damaged_file_is_measured_anew(
    home: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_rows.turned_is_faster(Clock(4.0, 3.0))
    (file,) = (home / "few_rows").iterdir()
    file.write_text(text, encoding="latin-1")
    monkeypatch.setattr(few_rows, "_known", {})
    assert not few_rows.turned_is_faster(Clock(4.0, 4.0))
    assert json.loads(file.read_text()) == {"turned": False}


def test_a_home_that_cannot_be_written_is_no_failure(home: Path) -> None:
    (home / "few_rows").write_text("in the way")
    assert few_rows.turned_is_faster(Clock(4.0, 3.0))
