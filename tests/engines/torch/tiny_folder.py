"""A random model small enough for tests, as transformers would have saved it."""

from __future__ import annotations

import json
from pathlib import Path

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL = ("<|begin|>", "<|user|>", "<|assistant|>", "<|end|>")
MERGED = ("he", "hel", "in", "er", "ing", "the", "Ġt", "Ġth", "Ġthe", "Ġa", "12")
CHAT_TEMPLATE = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def write_tokenizer(path: Path) -> int:
    """Write tokenizer.json and tokenizer_config.json into the folder `path`; the number of tokens.

    Byte-level BPE over the pre-tokenizer that llama.cpp calls qwen2: the control tokens, the 256
    bytes, and `MERGED`.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    tokens = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *MERGED]
    pairs = {"hel": ("he", "l"), "ing": ("in", "g"), "the": ("t", "he"), "Ġth": ("Ġt", "h")}
    pairs["Ġthe"] = ("Ġt", "he")
    merges = [pairs.get(token, (token[0], token[1:])) for token in MERGED]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in CONTROL])
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    settings = {"eos_token": "<|end|>", "chat_template": CHAT_TEMPLATE}
    (path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return tokenizer.get_vocab_size()


def write_tiny_folder(
    path: Path,
    *,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    vocabulary: int | None = None,
    context: int = 2048,
    tied: bool = True,
    seed: int = 0,
    sliding_window: int | None = None,
) -> Path:
    """Write a random float32 Llama (Mistral with a sliding window) and a byte-level tokenizer.

    `vocabulary` pads the rows of logits beyond the tokens; None: as many rows as tokens.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    tokens = write_tokenizer(path)
    fields = {
        "vocab_size": vocabulary or tokens,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": CONTROL.index("<|end|>"),
        # random weights of the usual size would give nearly flat rows
        "initializer_range": 0.2,
    }
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        if sliding_window is None:
            model = LlamaForCausalLM(LlamaConfig(**fields))
        else:
            model = MistralForCausalLM(MistralConfig(**fields, sliding_window=sliding_window))
    finally:
        torch.random.set_rng_state(state)
    model.save_pretrained(path)
    return path


def write_tiny_mamba2(path: Path, *, layers: int = 2, width: int = 32, seed: int = 0) -> Path:
    """Write a random float32 Mamba 2, whose state cannot be cut."""
    import torch
    from transformers import Mamba2Config, Mamba2ForCausalLM

    tokens = write_tokenizer(path)
    config = Mamba2Config(
        vocab_size=tokens,
        hidden_size=width,
        num_hidden_layers=layers,
        num_heads=8,
        head_dim=width // 4,
        state_size=16,
        n_groups=1,
        chunk_size=8,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=CONTROL.index("<|end|>"),
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        model = Mamba2ForCausalLM(config)
    finally:
        torch.random.set_rng_state(state)
    model.save_pretrained(path)
    return path
