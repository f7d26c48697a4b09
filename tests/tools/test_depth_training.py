"""Training of the depth model: how it begins, which layers are dropped, which exits are scored."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from adec.practice import large_folder  # noqa: E402
from tools.train.depth_trainer import (  # noqa: E402
    Curriculum,
    DepthTrainer,
    cut_blocks,
    depth_tokenizer,
)
from tools.train.llama_model import SHAPES, Llama, Shape  # noqa: E402


def test_layers_are_dropped_more_the_higher_they_are() -> None:
    rates = [Curriculum(12, dropped=0.2).drop_rate(layer) for layer in range(1, 13)]
    assert rates[0] == 0 and rates[-1] == pytest.approx(0.2)
    assert all(low < high for low, high in pairwise(rates))


def test_every_exit_takes_its_turn_and_the_last_is_always_there() -> None:
    curriculum = Curriculum(12, turn=4)
    seen = set()
    for step in range(4):
        weights = curriculum.exit_weights(step)
        assert sum(weights.values()) == pytest.approx(1)
        assert max(weights, key=weights.__getitem__) == 12
        assert len(weights) in (3, 4)
        seen |= set(weights)
    assert seen == set(range(1, 13))


def test_a_cut_block_adds_what_the_whole_one_added() -> None:
    """Where the half that weighs more comes first and the other half adds nothing."""
    torch.manual_seed(0)
    whole = Llama(Shape(64, 2, 32, vocabulary=16))
    for block in whole.blocks:
        block.down.weight.data[:, 16:] = 0
    cut = Llama(Shape(64, 4, 16, vocabulary=16))
    cut.load_state_dict(cut_blocks(whole.state_dict(), 2))
    tokens = torch.tensor([[1, 2, 3, 4, 5]])
    with torch.no_grad():
        assert torch.allclose(whole(tokens), cut(tokens), atol=1e-4)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "depth", Shape(32, 4, 16))
    monkeypatch.setattr(DepthTrainer, "rise_minutes", 1e-3)
    monkeypatch.setattr("tools.train.depth_trainer.TOKENS", 512)


@pytest.mark.usefixtures("tiny")
def test_loss_falls_and_a_checkpoint_goes_on_where_it_was() -> None:
    tokenizer = depth_tokenizer()
    one = DepthTrainer(tokenizer, seed=0, minutes=60.0, chunk_size=200, rate=1.0)
    losses = [one.step() for _ in range(25)]
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 1
    watched = one.watch(8)
    assert len(watched["right"]) == len(watched["tokens"]) == 4
    other = DepthTrainer(tokenizer, seed=0, minutes=60.0, chunk_size=200)
    other.restore(one.state())
    left, right = one.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert torch.equal(one._next().tokens, other._next().tokens)


def test_it_begins_as_the_large_model_in_twice_as_many_blocks() -> None:
    begun = DepthTrainer(depth_tokenizer(), seed=0, minutes=1.0)
    begun.begin_with(Path(large_folder()))
    again = begun.model.state_dict()
    assert torch.count_nonzero(again["blocks.1.out.weight"]) == 0
    assert torch.count_nonzero(again["blocks.0.out.weight"]) > 0
