"""Training of the canvas model: what is masked and learned, the schedule by the clock, resuming."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from safetensors.torch import load_file  # noqa: E402

from adec.practice import canvas_folder, large_folder  # noqa: E402
from tools.train import canvas_trainer, model_files  # noqa: E402
from tools.train import tokenizer as tokens  # noqa: E402
from tools.train.canvas_data import (  # noqa: E402
    LENGTHS,
    cut_state,
    digit_ids,
    fill_up,
    mask_id,
    mask_rows,
    masked_chunk,
    results_in,
)
from tools.train.canvas_masks import as_decoded  # noqa: E402
from tools.train.canvas_trainer import (  # noqa: E402
    RISE_MINUTES,
    CanvasTrainer,
    canvas_tokenizer,
)
from tools.train.clocked_trainer import factor  # noqa: E402
from tools.train.llama_model import SHAPES, Llama, Shape  # noqa: E402


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return canvas_tokenizer()


def test_masks_lie_in_replies_and_every_row_weighs_the_same(tokenizer: object) -> None:
    mask = mask_id(tokenizer)
    assert mask == SHAPES["canvas"].vocabulary - 1
    batches = masked_chunk(tokenizer, 0, 0, 600, 512)
    assert len(batches) > 20
    for batch in batches:
        height, length = batch.tokens.shape
        assert length in LENGTHS
        flat = batch.tokens.flatten()
        hidden = set((flat == mask).nonzero().flatten().tolist())
        assert set(batch.rows.tolist()) <= hidden
        assert not (batch.targets == mask).any()
        whole = flat.clone()
        whole[batch.rows] = batch.targets
        for row, ids in enumerate(whole.view(height, length)):
            # a row ends with its canvas, or with the block at work and masks behind it
            assert ids[-1] in (tokens.END_ID, mask) or (row + 1) * length - 1 in hidden
            assert not (ids == tokens.PAD_ID).any()
            start = int((ids == tokens.ASSISTANT_ID).nonzero()[-1]) + 1
            assert all(place - row * length >= start for place in hidden if place // length == row)
            inside = (batch.rows // length == row).nonzero().flatten()
            assert len(inside) >= 1
            assert int(batch.rows[inside].min()) - row * length >= start
            assert float(batch.weights[inside].sum()) == pytest.approx(1)
    again = masked_chunk(tokenizer, 0, 0, 600, 512)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(batches, again, strict=True))


def test_shares_of_a_batch_are_spread_evenly(tokenizer: object) -> None:
    row = fill_up([tokens.USER_ID, 9, tokens.ASSISTANT_ID, 10, tokens.END_ID], 3)
    assert row is not None
    canvas = len(row.ids) - row.start
    batch = mask_rows(Random(1), [row] * 8, tokenizer)
    counts = sorted((batch.tokens == mask_id(tokenizer)).sum(1).tolist())
    for place, count in enumerate(counts):
        assert abs(count / canvas - (place + 0.5) / 8) < 0.15


def test_a_state_of_decoding_has_whole_blocks_before_it_and_masks_behind(
    tokenizer: object,
) -> None:
    digits = digit_ids(tokenizer)
    rng = Random(3)
    for _ in range(200):
        size = rng.choice((4, 8))
        ids = [rng.choice((100, 200, *digits)) for _ in range(24)]
        begin = rng.randrange(0, 24, size)
        first = rng.choice((None, begin + rng.randrange(size)))
        masks = as_decoded(rng, ids, range(begin, begin + size), digits, first)
        assert sum(masks.weights) == pytest.approx(1)
        assert all(begin <= place < begin + size for place in masks.learned)
        assert [*masks.hidden] == [*masks.learned, *range(begin + size, 24)]
        assert list(masks.weights) == sorted(masks.weights, reverse=True)
        if first is not None:
            assert masks.learned[0] == first
            # what stands behind it in its block is no digit: those come last
            shown = set(range(first, begin + size)) - set(masks.learned)
            assert all(ids[place] not in digits for place in shown)


def test_what_must_be_calculated_is_found(tokenizer: object) -> None:
    text = "doubles: 42 * 2 = 84. wins 37: 84 + 37 = 121. Answer: 121."
    ids = tokenizer.encode(text).ids  # type: ignore[attr-defined]
    equals = tokenizer.token_to_id("Ġ=")  # type: ignore[attr-defined]
    found = results_in(ids, 0, digit_ids(tokenizer), equals)
    assert "".join(tokenizer.decode([ids[at]]) for at in found) == "84121"  # type: ignore[attr-defined]
    row = cut_state(Random(1), [*ids, tokens.END_ID], 0, found)
    assert row is not None and row.block is not None
    assert row.first is None or row.first in row.block


def test_the_rate_rises_and_falls_by_the_clock() -> None:
    rates = [factor(minute / 10, 20.0, RISE_MINUTES) for minute in range(201)]
    assert rates[0] < 0.1 and max(rates) > 0.95 and rates[-1] == pytest.approx(0)
    assert all(a >= b for a, b in pairwise(rates[15:]))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "canvas", Shape(32, 1, 32, vocabulary=1281, causal=False))


def trainer(tokenizer: object, seed: int = 0) -> CanvasTrainer:
    return CanvasTrainer(tokenizer, seed=seed, minutes=60.0, chunk_size=300)


@pytest.mark.usefixtures("tiny")
def test_loss_falls(tokenizer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas_trainer, "RATE", 1e-2)
    monkeypatch.setattr(CanvasTrainer, "rise_minutes", 1e-3)
    one = trainer(tokenizer)
    losses = [one.step() for _ in range(40)]
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 1
    assert one.at.step == 40 and one.at.tokens > 0
    assert set(one.watch(20)) > {"loss"}


@pytest.mark.usefixtures("tiny")
def test_a_checkpoint_goes_on_where_it_was_and_a_finished_fall_begins_anew(
    tokenizer: object,
) -> None:
    one, other = trainer(tokenizer), trainer(tokenizer)
    for _ in range(3):
        one.step()
    state = one.state()
    other.restore(state)
    assert vars(other.at) == state["at"]
    left, right = one.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(left[key], right[key]) for key in left)
    # the next batch is the next one
    assert torch.equal(one._next().tokens, other._next().tokens)
    state["at"]["minutes"] = 61.0
    other.restore(state)
    assert other.at.minutes == 0.0 and other.at.total_minutes > 0 and not other.done


def test_it_begins_as_the_large_model_with_a_mean_for_its_mask(tokenizer: object) -> None:
    begun = trainer(tokenizer)
    begun.begin_with(large_folder())
    table = begun.model.embedding.weight
    assert torch.allclose(table[-1], table[:-1].mean(0))


def test_it_goes_on_from_weights_that_know_the_mask(tokenizer: object) -> None:
    begun = trainer(tokenizer)
    begun.begin_with(canvas_folder())
    stored = load_file(canvas_folder() / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(begun.model.embedding.weight, stored.float())


def test_names_go_there_and_back() -> None:
    torch.manual_seed(0)
    shape = Shape(64, 2, 96)
    state = Llama(shape).state_dict()
    stored = dict(model_files.hugging_face_names(state, shape))
    back = model_files.from_hugging_face_names(stored, shape)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)
