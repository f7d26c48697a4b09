"""Pseudo states are learned from a model's own answers, kept as a part, and used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adec.engines.base import OpenOptions
from adec.engines.torch.folder_header import read_folder_header
from tests.calibration.fit.test_fit_part import prompts
from tests.cli.command import call
from tests.engines.torch.tiny_folder import write_tiny_folder

torch = pytest.importorskip("torch")

from adec.calibration.fit.fit_lexical import ALPHA, BEYOND, choose_sure, unit_weights  # noqa: E402
from adec.calibration.fit.fit_transfer import best_layers, identity_at  # noqa: E402
from adec.engines.torch.pseudo.pseudo_engine import TorchPseudoEngine  # noqa: E402
from adec.engines.torch.torch_fit import pseudo_fit  # noqa: E402
from adec.engines.torch.torch_fit.pseudo_fit import (  # noqa: E402
    Foreseen,
    Text,
    fit_pseudo,
    foresee,
    probabilities,
)

__all__ = ["prompts"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("models") / "three", layers=3)


@pytest.fixture
def engine(folder: Path) -> Iterator[TorchPseudoEngine]:
    options = OpenOptions(context=256, threads=1)
    opened = TorchPseudoEngine.open(read_folder_header(folder), options)
    yield opened
    opened.close()


def own_text(engine: TorchPseudoEngine, prompt: list[int], count: int = 30) -> Text:
    from adec.calibration.fit.exit_records import greedy

    return Text((*prompt, *greedy(engine, prompt, count, frozenset())), len(prompt))


def test_what_is_learned_is_foreseen_better(
    engine: TorchPseudoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [own_text(engine, [20 + n, 30, 40]) for n in range(4)]
    weights = engine.module.state_dict()["model.layers.0.mlp.up_proj.weight"].clone()
    for begin, loss in ((identity_at(1, engine.width), "states"), (pads(engine), "units")):
        before = foresee(engine, begin, texts, loss)
        monkeypatch.setattr(pseudo_fit, "STEPS", 40)
        states, steps = fit_pseudo(engine, begin, texts, loss, seconds=600)
        after = foresee(engine, states, texts, loss)
        assert steps == 40 and after.loss < 0.9 * before.loss
        assert after.hits.shape == after.sure.shape and after.hits.shape[1] == begin.count
        engine.use_pseudo(states)
    # the model itself has not learned
    assert (engine.module.state_dict()["model.layers.0.mlp.up_proj.weight"] == weights).all()


def pads(engine: TorchPseudoEngine) -> Any:
    from adec.calibration.fit.fit_lexical import _begin

    states = _begin(engine, [Text((4, 5, 6, 7), 1)], 0)
    assert len(states.adapters) == 3 * 7
    return states


def test_what_is_foreseen_is_judged_by_the_rows_that_decoding_gets(
    engine: TorchPseudoEngine,
) -> None:
    from adec.tree import TokenTree

    text = own_text(engine, [20, 30, 40])
    states = identity_at(1, engine.width)
    seen = foresee(engine, states, [text])
    engine.rewind(0)
    engine.use_pseudo(states)
    carriers = range(text.start - 1, len(text.tokens) - 1 - states.count)
    _, rows = engine.forward_ahead(TokenTree.chain(text.tokens), carriers)
    for place, carrier in enumerate(carriers):
        for step in range(states.count):
            row = place * states.count + step
            token = rows.argmax(row)
            assert seen.sure[place, step] == pytest.approx(rows.probability(row, token), abs=1e-4)
            assert seen.hits[place, step] == (token == text.tokens[carrier + 2 + step])
    chances = probabilities(engine, text)
    engine.rewind(0)
    scores = engine.forward(text.tokens, rows=len(text.tokens))
    wanted = [scores.probability(i, token) for i, token in enumerate(text.tokens[1:])]
    np.testing.assert_allclose(chances[1:], wanted, atol=1e-4)


def test_a_long_text_keeps_its_answer() -> None:
    weights = np.arange(20, dtype=np.float32)[:, None]
    cut = Text(tuple(range(20)), 15, weights).cut(8)
    assert cut.tokens == tuple(range(11, 19)) and cut.start == 4
    assert cut.weights is not None and cut.weights[:, 0].tolist() == list(range(11, 19))
    assert Text((1, 2, 3), 1).cut(8) == Text((1, 2, 3), 1)


def test_layers_do_not_fall_and_the_higher_of_equals_is_taken() -> None:
    rates = {0: np.array([0.5, 0.4]), 2: np.array([0.7, 0.1]), 4: np.array([0.1, 0.6])}
    assert best_layers(rates) == (2, 4)
    assert best_layers({1: np.array([0.5, 0.3]), 3: np.array([0.5, 0.3])}) == (3, 3)
    # the best of each step, 4 and then 0, would fall
    assert best_layers({0: np.array([0.2, 0.9]), 4: np.array([0.4, 0.0])}) == (4, 4)


def test_rows_within_a_unit_count_in_full() -> None:
    sure = np.array([1, 0.95, 0.95, 0.95, 0.5, 0.95, 0.95], np.float32)
    assert ALPHA < 0.95
    weights = unit_weights(sure, 2)
    assert (weights == 1).tolist() == [
        [True, True], [True, False], [False, False], [False, False], [True, False],
        [False, False], [False, False],
    ]  # fmt: skip
    assert weights.min() == np.float32(BEYOND)


def test_the_lowest_threshold_that_keeps_the_trusted_tokens_is_chosen() -> None:
    sure = np.tile(np.array([[0.9, 0.8], [0.7, 0.6]], np.float32), (30, 1))
    hits = np.tile(np.array([[True, True], [False, True]]), (30, 1))
    threshold, kept, count = choose_sure(Foreseen(hits, sure, 0.0), 0.99)
    assert 0.69 < threshold < 0.8 and kept == 1.0 and count == 1.0
    # behind a wrong token nothing is right
    threshold, kept, count = choose_sure(Foreseen(hits, sure, 0.0), 0.45)
    assert threshold < 0.61 and kept == pytest.approx(2 / 3) and count == 1.5
    assert choose_sure(Foreseen(~hits, sure, 0.0), 0.9) == (1.0, 1.0, 0.0)
    assert choose_sure(Foreseen(hits[:0], sure[:0], 0.0), 0.9) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("kind", ["hidden-transfer", "lexical"])
def test_a_part_is_learned_shown_and_used(
    folder: Path, prompts: Path, capsys: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pseudo_fit, "STEPS", 2)
    missing = call(capsys, "run", "-m", folder, "--strategy", kind, "-n", 4, "hi")
    assert missing.code == 2 and f"--fit {kind}" in missing.err
    learned = call(
        capsys, "calibrate", folder, "--fit", kind, "--prompts", prompts, "-n", 6, "-q",
        "--threads", 1,
    )  # fmt: skip
    assert learned.code == 0 and "tokens a forward" in learned.out
    (part,) = json.loads(call(capsys, "inspect", folder, "--json").out)["parts"]
    assert part["kind"] == kind and part["facts"]["tokens_a_forward"] >= 1
    exact = ["--set", "lexical.form=exact"] if kind == "lexical" else []
    texts = [
        json.loads(
            call(capsys, "run", "-m", folder, "-n", 12, "--json", *arguments, "what is 3").out
        )["text"]
        for arguments in (["--strategy", kind, *exact], ["--strategy", "plain"])
    ]
    assert texts[0] == texts[1]


def test_learning_that_does_not_fit_memory_is_refused_before_it_starts(
    folder: Path, prompts: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adec.calibration.fit import own_texts

    monkeypatch.setattr(own_texts, "memory", lambda: (1 << 30, 1 << 20))
    outcome = call(
        capsys, "calibrate", folder, "--fit", "lexical", "--prompts", prompts, "-q", "--threads", 1
    )
    assert outcome.code == 1 and "GiB are free" in outcome.err and not outcome.out


def test_a_model_that_is_no_list_of_layers_is_refused_in_a_line(
    tmp_path: Path, capsys: Any
) -> None:
    from tests.engines.torch.tiny_folder import write_tiny_mamba2

    other = write_tiny_mamba2(tmp_path / "mamba")
    for arguments in (
        ("calibrate", other, "--fit", "hidden-transfer"),
        ("run", "-m", other, "--strategy", "lexical", "hi"),
    ):
        outcome = call(capsys, *arguments)
        assert outcome.code == 3 and "its layers are recurrent" in outcome.err
        assert "Traceback" not in outcome.err
