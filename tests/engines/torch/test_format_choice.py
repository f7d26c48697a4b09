"""Number format and threads of a model folder follow from forwards that are timed once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.engines.base import ModelHeader, ModelInfo
from adec.engines.torch import format_choice
from adec.engines.torch.format_choice import (
    BUDGET,
    FORMATS,
    SEVERAL,
    FormatTimes,
    fastest_format,
    format_times,
    measure_formats,
)
from adec.engines.vocabularies.vocabulary import Vocabulary

INFO = ModelInfo("m", Path("m"), "safetensors", "llama", 30, 10**8, 50, 64, 2 * 10**8, "BF16")
HEADER = ModelHeader(INFO, Vocabulary("gpt2", (b"a",)), frozenset())
NATIVE = {"float32": 6.0, "bfloat16": 3.0}
EMULATED = {"float32": 6.0, "bfloat16": 60.0}


class Machine:
    """Forwards that take made-up milliseconds, and the clock that shows them."""

    def __init__(self, ms: dict[str, float], gain: float = 0.5, setup: float = 0.0) -> None:
        """`gain`: share of the time that is left on two threads and more. `setup`: ms."""
        self.ms, self.gain, self.setup = ms, gain, setup
        self.now = 0.0
        self.forwards: list[tuple[str, int, int]] = []
        self.hiccup: Callable[[int], float] = lambda number: 1.0

    def clock(self) -> float:
        return self.now

    def feed(self) -> Callable[[str, int, int], None]:
        self.now += self.setup / 1000

        def forward(format: str, threads: int, tokens: int) -> None:
            ms = self.ms[format] * (self.gain if threads > 1 else 1.0) * (1 + tokens / SEVERAL)
            self.now += ms * self.hiccup(len(self.forwards)) / 1000
            self.forwards.append((format, threads, tokens))

        return forward


def times(machine: Machine, info: ModelInfo = INFO, busy=lambda: False, **changes):
    said = {"formats": FORMATS, "most": 2, "backend": "torch 1"} | changes
    format_choice._known.clear()  # another process
    return format_times(
        replace(HEADER, info=info), machine.feed, clock=machine.clock, busy=busy, **said
    )


@pytest.mark.parametrize(
    ("ms", "gain", "expected"),
    [
        (NATIVE, 0.5, ("bfloat16", 2)),
        (NATIVE, 1.0, ("bfloat16", 1)),
        (NATIVE, 8.0, ("bfloat16", 1)),
        (EMULATED, 0.5, ("float32", 2)),
        ({"float32": 6.0, "bfloat16": 5.7}, 0.5, ("float32", 2)),
    ],
)
def test_what_is_faster_by_a_margin_is_taken(ms, gain, expected) -> None:
    found = times(Machine(ms, gain))
    assert (found.format, found.threads(found.format)) == expected


@settings(deadline=None)
@given(st.floats(0.1, 3000.0), st.floats(0.05, 50.0), st.floats(0.3, 20.0), st.floats(0.0, 200.0))
def test_no_forward_begins_after_the_budget(ms, ratio, gain, setup) -> None:
    machine = Machine({"float32": ms, "bfloat16": ms * ratio}, gain, setup)
    begun: list[float] = []
    machine.hiccup = lambda number: begun.append(machine.now) or 1.0
    found = measure_formats(machine.feed, FORMATS, [1, 2], machine.clock)
    assert all(at <= BUDGET for at in begun)
    if found:
        assert fastest_format(found) in found
    if ratio > 3 and ms < 10:
        # an emulated format does not run the larger forward
        assert ("bfloat16", 1, SEVERAL) not in machine.forwards


def test_a_forward_that_was_interrupted_once_decides_nothing() -> None:
    for slow in range(8, 16):
        machine = Machine(NATIVE)
        machine.hiccup = lambda number, slow=slow: 5.0 if number == slow else 1.0
        assert times(machine, replace(INFO, name=str(slow))).format == "bfloat16"


def test_a_second_process_measures_nothing() -> None:
    first, second = Machine(NATIVE), Machine(EMULATED)
    found = times(first)
    assert times(second) == found and not second.forwards


def test_within_a_process_all_engines_agree_even_if_nothing_can_be_kept(home: Path) -> None:
    home.joinpath("number_format").write_text("in the way")
    found = times(Machine(NATIVE))
    second = Machine(EMULATED)
    again = format_times(HEADER, second.feed, FORMATS, 2, "torch 1", busy=lambda: False)
    assert again is found and not second.forwards


@pytest.mark.parametrize(
    "change", [{"most": 4}, {"backend": "torch 2"}, {"info": replace(INFO, parameters=7 * 10**7)}]
)
def test_another_machine_version_or_model_is_measured_anew(change) -> None:
    times(Machine(NATIVE))
    again = Machine(EMULATED)
    assert times(again, **change).format == "float32" and again.forwards


def test_what_a_busy_machine_said_stays_until_it_is_quiet() -> None:
    crowded = Machine(NATIVE)
    first = times(crowded, busy=lambda: True)
    assert {threads for _, threads, _ in crowded.forwards} == {1}
    assert first.format == "bfloat16" and first.threads("bfloat16") is None
    still = Machine(EMULATED)
    assert times(still, busy=lambda: True) == first and not still.forwards
    quiet = Machine(NATIVE)
    assert times(quiet).threads("bfloat16") == 2 and quiet.forwards
    assert not times(still).contended and not still.forwards


def test_a_second_measurement_needs_a_margin_to_change_the_format() -> None:
    near = {"float32": 6.0, "bfloat16": 6.3}
    assert times(Machine({"float32": 6.0, "bfloat16": 5.0}), busy=lambda: True).format == "bfloat16"
    assert times(Machine(near)).format == "bfloat16"
    assert times(Machine(near), replace(INFO, name="n")).format == "float32"


def test_without_memory_nothing_is_chosen() -> None:
    def full() -> Callable[[str, int, int], None]:
        raise RuntimeError("no memory")

    format_choice._known.clear()
    assert format_times(HEADER, full, FORMATS, 2, "torch 1", busy=lambda: False) is None


SPOILT = [
    b"", b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 4000, b"9" * 4096, b'{"schema": 1}', b'"x"',
    b'{"schema": 1, "format": "bfloat16", "contended": false, "ms": {}}',
    b'{"schema": 1, "format": "bfloat16", "contended": false, "ms": []}',
    b'{"schema": 1, "format": ["bfloat16"], "contended": false, "ms": {"bfloat16": {"1": [1, 1]}}}',
]  # fmt: skip


def whole() -> dict[str, object]:
    return {
        "schema": 1, "format": "bfloat16", "contended": False, "ms": {"bfloat16": {"1": [1.0, 2.0]}}
    }  # fmt: skip


@pytest.mark.parametrize(
    "spoilt",
    [
        *SPOILT,
        *(
            json.dumps(whole() | change).encode()
            for change in (
                {"schema": 0}, {"schema": True, "format": "float64"}, {"contended": "no"},
                {"format": "float32"}, {"format": None}, {"format": "../x"},
                *({"ms": {"bfloat16": ms}} for ms in (
                    {}, [], "1", {"0": [1.0, 2.0]}, {"x": [1.0, 2.0]}, {"99999": [1.0, 2.0]},
                    {"1": [1.0]}, {"1": [0.0, 1.0]}, {"1": [-1.0, 1.0]}, {"1": [1e9, 1.0]},
                    {"1": [float("nan"), 1.0]}, {"1": [float("inf"), 1.0]}, {"1": ["1", "2"]},
                    {"1": {"a": 1}}, {"1": [True, True]},
                )),
            )
        ),
        json.dumps(whole()).encode()[:-1] + b" " * 5000 + b"}",
    ],
)  # fmt: skip
def test_a_spoilt_file_is_measured_anew_and_mended(home: Path, spoilt: bytes) -> None:
    times(Machine(NATIVE))
    (file,) = (home / "number_format").iterdir()
    file.write_bytes(spoilt)
    machine = Machine(EMULATED)
    assert times(machine).format == "float32" and machine.forwards
    assert times(Machine(NATIVE)).format == "float32"


def test_a_folder_in_the_place_of_the_file_is_no_error(home: Path) -> None:
    times(Machine(NATIVE))
    (file,) = (home / "number_format").iterdir()
    file.unlink()
    file.mkdir()
    assert times(Machine(NATIVE)).format == "bfloat16"


def test_the_formats_of_a_checkpoint_in_float32_are_one() -> None:
    found = times(Machine(NATIVE), formats=FORMATS[:1])
    assert found == FormatTimes({"float32": found.times["float32"]}, "float32", False)
    assert found.threads("float32") == 2 and found.threads("bfloat16") is None
