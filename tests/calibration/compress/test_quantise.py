"""The search for a type of each tensor: what a child is, and the files it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.calibration.compress.evopress import OutOfTime
from adec.calibration.compress.known_texts import know
from adec.calibration.compress.mixed_types import (
    MOST_LOWERED,
    Choices,
    Types,
    even,
    mutated,
    random_types,
    search_types,
)
from adec.calibration.compress.quantise_command import parse_bits
from adec.calibration.compress.typed_files import Candidates, TypedFiles, words_of
from adec.engines.base import OpenOptions
from adec.engines.opening import open_engine, read_header
from adec.errors import ModelFileError, UsageError
from adec.practice import large_gguf
from tests.cli.command import call

IDS = [1, 300, 7, 55, 900, 12, 41, 2, 640, 8, 8, 77]


@st.composite
def some_choices(draw: st.DrawFn) -> Choices:
    sizes = draw(
        st.lists(
            st.lists(st.integers(1, 60), min_size=2, max_size=5, unique=True).map(sorted),
            min_size=2,
            max_size=12,
        )
    )
    least, most = sum(each[0] for each in sizes), sum(each[-1] for each in sizes)
    return Choices(tuple(map(tuple, sizes)), draw(st.integers(least, most)))


@given(choices=some_choices(), seed=st.integers(0, 99))
def test_children_fit_the_budget_and_differ_by_few(choices: Choices, seed: int) -> None:
    rng = Random(seed)
    parent = random_types(choices, rng)
    assert choices.size(parent) <= choices.budget
    child = mutated(choices, parent, rng)
    assert choices.size(child) <= choices.budget
    raised = [b - a for a, b in zip(parent, child, strict=True) if b > a]
    lowered = [a - b for a, b in zip(parent, child, strict=True) if a > b]
    if child != parent:
        assert 1 <= len(raised) <= 3 and set(raised) == {1} and sum(lowered) <= MOST_LOWERED


@given(choices=some_choices())
def test_an_even_choice_leaves_no_room(choices: Choices) -> None:
    types = even(choices)
    room = choices.budget - choices.size(types)
    assert room >= 0
    for sizes, kind in zip(choices.sizes, types, strict=True):
        assert kind + 1 == len(sizes) or sizes[kind + 1] - sizes[kind] > room


def test_bits_go_to_the_tensors_that_need_them() -> None:
    """Losses add up here, so that the best choice is known: one tensor in four needs its bits."""
    choices = Choices(tuple((20, 30, 40, 50) for _ in range(16)), 16 * 30)
    weights = [9.0 if at % 4 == 0 else 0.3 for at in range(16)]

    def loss(types: Types, _: Sequence[int]) -> float:
        return sum(weight * (3 - kind) ** 2 for weight, kind in zip(weights, types, strict=True))

    best = tuple(3 if at % 4 == 0 else 0 for at in range(16))  # 4 * 50 + 12 * 20 = 440 <= 480
    found = list(search_types(choices, 4, loss, Random(0)))
    values = [loss(now.parent, ()) for now in found]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.3 * loss(best, ()) and values[-1] <= loss(best, ())


def test_it_ends_where_the_time_does() -> None:
    choices = Choices(((1, 2, 3),) * 6, 12)
    asked = []

    def loss(types: Types, _: Sequence[int]) -> float:
        asked.append(types)
        if len(asked) > 20:
            raise OutOfTime
        return float(-types[0])

    found = list(search_types(choices, 4, loss, Random(0)))
    assert len(asked) == 21 and all(choices.size(now.parent) <= 12 for now in found)


# ---- files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TypedFiles:
    pytest.importorskip("llama_cpp")
    folder = tmp_path_factory.mktemp("types")
    return TypedFiles(large_gguf(), folder, "Q4_K_M", 1, lambda share: None)


def test_a_file_of_the_mix_scores_as_the_mix(files: TypedFiles, tmp_path: Path) -> None:
    to = tmp_path / "again.gguf"
    types = files.of_mix()
    files.write(types, to)
    rows = [_rows(path) for path in (files.mix_path, to)]
    assert np.array_equal(*rows)
    again, mix = read_header(to).info, read_header(files.mix_path).info
    assert again.parameters == mix.parameters == read_header(large_gguf()).info.parameters
    assert 4.8 < files.bits(types) < 4.95


def test_candidates_are_models_one_at_a_time(files: TypedFiles, tmp_path: Path) -> None:
    options = OpenOptions(context=64, threads=1)
    engine = open_engine(read_header(large_gguf()), options)
    texts = [know(engine, IDS, 1), know(engine, IDS[::-1], 1)]
    engine.close()
    choices = files.choices(4.5)
    candidates = Candidates(files, options, texts)
    most = files.of_source()
    try:
        least = candidates.lost(even(choices), 0)
        assert 0 < least.kl < 1 and least == candidates.lost(even(choices), 0)
        assert candidates.lost(most, 1).kl == pytest.approx(0, abs=1e-6)  # its own types
        left = list(files.source.path.parent.glob("candidate*")), list(_of(files).glob("cand*"))
        assert left[0] == [] and len(left[1]) == 1
    finally:
        candidates.close()
    assert list(_of(files).glob("cand*")) == []
    assert files.bits(even(choices)) <= 4.5 < files.bits(most)
    assert words_of(even(choices)) != words_of(most)


def test_too_few_bits_are_refused_with_the_fewest(files: TypedFiles) -> None:
    with pytest.raises(ModelFileError, match=r"takes 2\.\d\d bits a weight at least"):
        files.choices(1.5)
    assert files.choices(None).size(files.of_mix()) <= files.choices(None).budget


def test_what_is_quantised_keeps_its_own_type_as_the_lossless_one(
    files: TypedFiles, tmp_path: Path
) -> None:
    again = TypedFiles(files.mix_path, tmp_path, "Q4_K_M", 1, lambda share: None)
    own = again.of_mix()
    assert all(
        each[kind].path == files.mix_path for each, kind in zip(again.tensors, own, strict=True)
    )


def _rows(path: Path) -> np.ndarray:
    engine = open_engine(read_header(path), OpenOptions(context=64, threads=1))
    scores = engine.forward(IDS, rows=len(IDS))
    rows = np.stack([scores.row(index) for index in range(len(IDS))])
    engine.close()
    return rows


def _of(files: TypedFiles) -> Path:
    return files.mix_path.parent


# ---- words


@pytest.mark.parametrize(
    ("text", "bits", "mix"),
    [("4.5", 4.5, "Q4_K_M"), ("q3_k_m", None, "Q3_K_M"), ("3", 3.0, "Q2_K"), ("8", 8.0, "Q6_K")],
)
def test_bits_are_read(text: str, bits: float | None, mix: str) -> None:
    assert parse_bits(text) == (bits, mix)


@pytest.mark.parametrize("text", ["0", "17", "-4", "nan", "inf", "Q4_K_X", "", "4,5", "9" * 99])
def test_bits_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--bits"):
        parse_bits(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["practice:large", "--bits", "4"], "without --fit quantise"),
        (["practice:large", "--fit", "drop", "--bits", "4"], "without --fit quantise"),
        (["practice:large", "--fit", "quantise", "--leave-out", "2"], "without --fit drop"),
        (["practice:large", "--fit", "quantise"], "-o smaller.gguf"),
        (["practice:large", "--fit", "quantise", "-o", "x.toml"], "-o smaller.gguf"),
        (["practice:large", "--fit", "quantise", "-o", "/nowhere/x.gguf"], "no folder"),
        (["practice:large", "--fit", "quantise", "--bits", "x", "-o", "x.gguf"], "--bits 'x'"),
        (["practice:small", "practice:large", "--fit", "quantise", "-o", "x.gguf"], "one model"),
        (["http://127.0.0.1:9/v1", "--fit", "quantise", "-o", "x.gguf"], "is a server"),
        (["practice:large-torch", "--fit", "quantise", "-o", "x.gguf"], "is no GGUF file"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = call(capsys, "calibrate", *arguments)
    assert done.code in (1, 2) and done.out == ""
    assert said in done.err and done.err.count("\n") == 1
