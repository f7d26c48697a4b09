"""Training: equal seeds give equal weights, and a resumed run is the run itself."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from tokenizers import Tokenizer  # noqa: E402

from adec.practice.tasks import problems  # noqa: E402
from tools.train import llama_model, training_data  # noqa: E402
from tools.train import tokenizer as tokens  # noqa: E402
from tools.train import trainer as trainer_module  # noqa: E402
from tools.train.llama_model import SHAPES, Llama, Shape, parameters_of  # noqa: E402
from tools.train.optimizer import orthogonalise  # noqa: E402
from tools.train.trainer import PLANS, STEPS, Trainer, schedule  # noqa: E402
from tools.train.training_data import LAST, RECALL, Stage, chunk  # noqa: E402


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return tokens.train(0, count=1500)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "small", Shape(32, 1, 32))
    monkeypatch.setattr(training_data, "TOKENS", 384)
    monkeypatch.setattr(trainer_module, "WARM_UP", 2)


def trainer(tokenizer: object, steps: int = 4, seed: int = 0) -> Trainer:
    return Trainer("small", tokenizer, seed=seed, steps=steps, compiled=False, chunk_size=400)


def weights(of: Trainer) -> dict[str, object]:
    return of.model.state_dict()


def same(one: Trainer, other: Trainer) -> bool:
    left, right = weights(one), weights(other)
    return all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.usefixtures("tiny")
def test_a_resumed_run_is_the_run_itself(tokenizer: object, tmp_path: Path) -> None:
    whole, broken = trainer(tokenizer), trainer(tokenizer)
    for _ in range(4):
        whole.step()
    for _ in range(2):
        broken.step()
    assert not same(whole, broken)
    torch.save(broken.state(), tmp_path / "small.pt")
    resumed = trainer(tokenizer, seed=0)
    resumed.restore(torch.load(tmp_path / "small.pt", weights_only=True))
    for _ in range(2):
        resumed.step()
    assert same(whole, resumed)
    assert (resumed.at.step, resumed.at.tokens) == (whole.at.step, whole.at.tokens)


@pytest.mark.usefixtures("tiny")
def test_loss_falls_and_the_seed_matters(tokenizer: object) -> None:
    one, other = trainer(tokenizer, steps=40), trainer(tokenizer, steps=40, seed=1)
    assert not same(one, other)
    losses = [one.step() for _ in range(40)]
    assert sum(losses[-5:]) / 5 < losses[0] - 1


@pytest.mark.usefixtures("tiny")
def test_a_checkpoint_of_another_recipe_is_refused(tokenizer: object) -> None:
    saved = trainer(tokenizer).state()
    with pytest.raises(ValueError, match="made with seed 0, not 1"):
        trainer(tokenizer, seed=1).restore(saved)
    trainer(tokenizer, steps=9).restore(saved)  # nothing done yet: the plan may change
    saved["steps"], saved["at"]["step"] = 100, 95  # in its fall
    with pytest.raises(ValueError, match="too late"):
        trainer(tokenizer, steps=200).restore(saved)


def test_schedule_rises_stays_and_falls_to_zero() -> None:
    factors = [schedule("small", step, 1000) for step in range(1001)]
    assert factors[0] < 0.1
    assert set(factors[100:850]) == {1.0}
    assert factors[-1] == 0.0
    assert all(a >= b for a, b in pairwise(factors[100:]))


def test_the_large_model_falls_again_from_a_lower_rate() -> None:
    steps = STEPS["large"]
    factors = [schedule("large", step, steps) for step in range(steps)]
    start = 0
    for fall in PLANS["large"]:
        part = factors[start : start + fall.steps]
        start += fall.steps
        assert 0.9 * fall.rate < max(part) <= fall.rate
        assert part[-1] < 0.01


def test_batches_learn_replies_only(tokenizer: object) -> None:
    batches = chunk(tokenizer, 0, 0, 1200)
    assert batches
    for batch in batches:
        flat = batch.tokens.flatten()
        inside = batch.rows[batch.rows + 1 < len(flat)]
        ends = batch.targets == tokens.END_ID
        assert not (batch.targets == tokens.PAD_ID).any()
        assert not (batch.targets == tokens.USER_ID).any()
        assert int(ends.sum()) >= len(batch.tokens)
        after = flat[inside + 1]
        known = after != tokens.PAD_ID
        assert torch.equal(after[known][:20], batch.targets[: len(inside)][known][:20])
    again = chunk(tokenizer, 0, 0, 1200)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(batches, again, strict=True))


@pytest.mark.parametrize("stage", [LAST, RECALL])
def test_the_last_stage_of_a_recurrent_model_asks_only_for_settings(
    tokenizer: Tokenizer, stage: Stage
) -> None:
    batches = chunk(tokenizer, 0, 0, 600, stage, tokens=384)
    texts = [tokenizer.decode(row.tolist()) for batch in batches for row in batch.tokens]
    settings = sum("Read " in text or "value" in text for text in texts)
    others = sum("Who " in text or "In which city" in text for text in texts)
    assert settings > 5
    assert (others == 0) == (stage is RECALL)


def test_orthogonalise_evens_the_singular_values() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, 32, 64)))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.5


def test_plain_attention_is_the_fused_one() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 9, 32).unbind(0)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(llama_model._attend(q, k, v), fused)


def test_sizes_are_ten_times_apart() -> None:
    small, large = (parameters_of(Llama(SHAPES[name])) for name in ("small", "large"))
    assert large >= 10 * small


def test_every_word_of_the_pools_is_one_token() -> None:
    from adec.practice import large_folder
    from adec.practice.tasks import words

    path = large_folder() / "tokenizer.json"
    if not path.exists():
        pytest.skip("no trained models here")
    from tokenizers import Tokenizer

    trained = Tokenizer.from_file(str(path))
    pools = (words.NAMES, words.THINGS, words.ITEMS, words.CITIES, words.JOBS, words.PETS)
    for word in (word for pool in pools for word in pool):
        assert len(trained.encode(f" {word}").ids) == 1, word
    assert next(problems("train", 0)).prompt
