"""The Mamba practice model: one model in training, for transformers and for llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("transformers")
pytest.importorskip("llama_cpp")

from tokenizers import Tokenizer  # noqa: E402

from adec.engines.base import OpenOptions  # noqa: E402
from adec.engines.opening import open_engine, read_header  # noqa: E402
from adec.practice import large_folder  # noqa: E402
from tests.engines.contract import log_probabilities  # noqa: E402
from tools.train.mamba_model import Mamba, MambaShape  # noqa: E402
from tools.train.mamba_trainer import ALIGNED, MambaTrainer  # noqa: E402

TINY = MambaShape(state=16)
IDS = [1, 300, 7, 55, 900, 12, 41, 2, 640, 8, 8, 77]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(large_folder() / "tokenizer.json"))


@pytest.fixture
def trainer(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> MambaTrainer:
    monkeypatch.setattr(MambaTrainer, "shape", TINY)
    monkeypatch.setattr(MambaTrainer, "rise_minutes", 1e-3)
    monkeypatch.setattr("tools.train.mamba_trainer.TOKENS", 256)
    made = MambaTrainer(tokenizer, seed=3, minutes=60, chunk_size=256)
    made.begin_with(large_folder())
    return made


def test_a_batch_is_computed_as_its_rows_are() -> None:
    torch.manual_seed(0)
    model = Mamba(TINY)
    batch = torch.tensor([IDS, IDS[::-1]])
    with torch.no_grad():
        both = model(batch)
        assert torch.allclose(both[1], model(batch[1:])[0], atol=1e-4)
        # what comes later changes nothing before it
        assert torch.allclose(both[0, :5], model(batch[:1, :5])[0], atol=1e-4)


def test_both_files_score_as_the_model_in_training(trainer: MambaTrainer, tmp_path: Path) -> None:
    for block in trainer.model.blocks:  # nothing stays at a value that hides a wrong name
        for weight in block.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    for weight in trainer.model.parameters():
        weight.data = weight.data.bfloat16().float()
    folder, gguf = trainer.export(tmp_path)
    with torch.no_grad():
        ours = trainer.model(torch.tensor([IDS]))[0].log_softmax(-1)
    for path in (folder, gguf):
        rows = _rows(path)
        assert torch.allclose(ours, rows, atol=0.05), path
    again = MambaTrainer(trainer.tokenizer, seed=4, minutes=5)
    again.begin_with(folder)
    assert again.state()["aligned"]  # its layers have learned one by one
    assert again.state()["again"] and again.rate < trainer.rate
    assert all(
        torch.equal(a, b)
        for a, b in zip(trainer.model.parameters(), again.model.parameters(), strict=True)
    )


def _rows(path: Path) -> torch.Tensor:
    engine = open_engine(read_header(path), OpenOptions(context=64, threads=1))
    rows = torch.tensor(log_probabilities(engine.forward(IDS, rows=len(IDS)))).float()
    engine.close()
    return rows


def test_it_learns_and_goes_on_from_a_checkpoint(
    trainer: MambaTrainer, tokenizer: Tokenizer
) -> None:
    trainer.add_minutes(ALIGNED * trainer.minutes)
    losses = [trainer.step() for _ in range(8)]
    assert losses[-1] < losses[0] - 0.5
    again = MambaTrainer(tokenizer, seed=0, minutes=60, chunk_size=256)
    again.restore(trainer.state())
    assert again.at == trainer.at and again.state()["aligned"]
    assert again.step() == pytest.approx(trainer.step(), abs=1e-3)


def test_layers_learn_one_by_one_what_the_large_models_do(trainer: MambaTrainer) -> None:
    losses = [trainer.step() for _ in range(6)]
    # as a share of what a layer adds: a layer that adds nothing has 1
    assert losses[-1] < 0.8 * losses[0]


def test_it_begins_with_the_large_models_weights(trainer: MambaTrainer) -> None:
    model, teacher = trainer.model, trainer.teacher
    assert torch.equal(model.embedding.weight, teacher.embedding.weight)
    theirs, ours = teacher.blocks[2], model.blocks[5]
    gate, up = theirs.gate_up.weight.chunk(2)
    assert torch.equal(ours.in_proj.weight[:512], gate)
    assert torch.equal(ours.in_proj.weight[512:1024], up)
    # each head's values are where its output looks for them
    values = theirs.qkv.weight[512:].view(8, 32, 256)[3]
    mixer = model.blocks[4]
    assert torch.equal(mixer.in_proj.weight[512 + 3 * 64 : 512 + 3 * 64 + 32], values)
    assert torch.equal(mixer.out_proj.weight[:, 3 * 64 : 3 * 64 + 32], theirs.out.weight[:, 96:128])


def test_a_projection_is_split_into_its_matrices(trainer: MambaTrainer) -> None:
    weight = trainer.model.blocks[0].in_proj.weight
    parts = trainer.optimizer._parts("blocks.0.in_proj.weight", weight)
    assert [len(part) for part in parts] == [512, 512, 32, 32, 8]


def test_the_log_tells_what_held_out_problems_get(trainer: MambaTrainer) -> None:
    told = trainer.watch(24)
    assert set(told) == {"tokens", "word problems", "functions", "lists", "lookup"}
    assert 0 <= told["tokens"] <= 1
