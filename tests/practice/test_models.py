"""The shipped weights: both formats, one model."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from adec.practice import (
    MODELS,
    depth_folder,
    depth_gguf,
    large_folder,
    large_gguf,
    mamba_folder,
    mamba_gguf,
    small_folder,
    small_gguf,
)
from adec.practice.tasks import problems

pytestmark = pytest.mark.skipif(not large_gguf().exists(), reason="no trained models here")
PAIRS = [
    (small_folder(), small_gguf()),
    (large_folder(), large_gguf()),
    (depth_folder(), depth_gguf()),
    (mamba_folder(), mamba_gguf()),
]
NAMES = ["small", "large", "depth", "mamba"]


def test_all_files_together_stay_small() -> None:
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 80 * 2**20
    assert (MODELS / "README.md").exists()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, adec.practice, adec.practice.tasks;"
        "print([m for m in ('torch', 'numpy', 'transformers', 'llama_cpp', 'gguf', 'tokenizers')"
        " if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(("folder", "gguf"), PAIRS, ids=NAMES)
def test_both_formats_write_the_same_tokens(folder: Path, gguf: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    llama_cpp = pytest.importorskip("llama_cpp")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    other = llama_cpp.Llama(str(gguf), n_ctx=256, verbose=False, n_threads=1)
    end = model.generation_config.eos_token_id
    for problem in islice(problems("test", 5, ["word problems", "functions"]), 3):
        chat = [{"role": "user", "content": problem.prompt}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer.encode(text)
        written = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=32,
            do_sample=False,
        )[0, len(ids) :].tolist()  # fmt: skip
        other.reset()
        reply: list[int] = []
        for token in other.generate(ids, temp=0.0, repeat_penalty=1.0):
            reply.append(token)
            if token == end or len(reply) == 32:
                break
        assert reply == written


@pytest.mark.parametrize(("folder", "gguf"), PAIRS, ids=NAMES)
def test_the_gguf_says_what_the_folder_says(folder: Path, gguf: Path) -> None:
    reader = pytest.importorskip("gguf").GGUFReader(gguf)
    config = json.loads((folder / "config.json").read_text())

    def value(key: str) -> object:
        return reader.get_field(key).contents()

    architecture = value("general.architecture")
    assert architecture == config["model_type"]
    assert value("general.license") == "apache-2.0"
    assert value("tokenizer.ggml.pre") == "qwen2"
    assert value(f"{architecture}.block_count") == config["num_hidden_layers"]
    assert value(f"{architecture}.embedding_length") == config["hidden_size"]
    # a recurrent model's folder declares no context
    assert value(f"{architecture}.context_length") == config.get("max_position_embeddings", 1024)
    assert value("tokenizer.ggml.eos_token_id") == config["eos_token_id"]
    assert [value("tokenizer.ggml.token_type")[index] for index in range(5)] == [3, 3, 3, 3, 1]  # type: ignore[index]
    norms = [t for t in reader.tensors if t.name.endswith("norm.weight")]
    # of each layer two: before attention and feed-forward, or before and behind a state's step
    assert len(norms) == 2 * config["num_hidden_layers"] + 1
    assert {t.tensor_type.name for t in norms} == {"F32"}
