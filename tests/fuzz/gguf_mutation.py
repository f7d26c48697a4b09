"""Lies in a GGUF file: pairs, arrays and tensors that say what they should not."""

from __future__ import annotations

import random
from typing import Any

from adec.engines.llama.gguf.gguf_reader import TENSOR_TYPES
from tests.engines.gguf.tiny_gguf import RawGguf
from tests.fuzz.mutation import NUMBERS, REALS, flip

HEADER = 9000
"""Bytes that the headers of the tiny models about have."""
# optional keys, which no tiny model has
EXTRA = [
    "expert_count",
    "expert_used_count",
    "expert_group_count",
    "expert_group_used_count",
    "nextn_predict_layers",
    "vocab_size",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "pooling_type",
    "attention.max_alibi_bias",
    "attention.clamp_kqv",
    "logit_scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "embedding_length_out",
    "ssm.state_size",
    "rope.scaling.attn_factor",
    "expert_feed_forward_length",
    "leading_dense_block_count",
    "attention.scale",
    "residual_scale",
    "embedding_scale",
    "attention.layer_norm_epsilon",
    "rope.scale_linear",
    "rope.scaling.yarn_log_multiplier",
    "attention.temperature_length",
    "expert_shared_feed_forward_length",
    "attention.shared_kv_layers",
]


def mutate(raw: RawGguf, rng: random.Random) -> bytes:
    """One to three lies in the parts, or some bytes of the file changed."""
    if rng.random() < 0.35:
        return _flip(raw.to_bytes(), rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice((change_pair, change_pair, add_pair, change_tensor, change_array, drop))(
            raw, rng
        )
    data = raw.to_bytes()
    return _flip(data, rng) if rng.random() < 0.1 else data


def _flip(data: bytes, rng: random.Random) -> bytes:
    # the tensors' data say nothing to a reader of headers
    return flip(data, rng, None if rng.random() < 0.05 else HEADER)


def change_pair(raw: RawGguf, rng: random.Random) -> None:
    at = rng.randrange(len(raw.pairs))
    key, kind, value = raw.pairs[at]
    if kind == 9 or rng.random() < 0.1:
        raw.pairs[at] = (key, *some_value(rng))
    elif kind == 8:
        words = (
            b"",
            b"llama",
            b"qwen2",
            b"gpt2",
            b"bert",
            b"gemma2",
            b"gemma3",
            b"yarn",
            b"\xff",
            b"t5",
            b"rwkv",
            b"phi3",
        )
        raw.pairs[at] = (
            key,
            8,
            rng.choice(
                (*words, b"mamba", b"default", b"llama-bpe", b"falcon", b"stablelm", b"gptneox")
            ),
        )
        if key == b"general.architecture":  # the keys follow, or the file only lacks everything
            old, new = value, raw.pairs[at][2]
            raw.pairs = [
                (new + k.removeprefix(old) if k.startswith(old + b".") else k, t, v)
                for k, t, v in raw.pairs
            ]
    else:
        raw.pairs[at] = (key, kind, number(kind, rng, value))


def number(kind: int, rng: random.Random, near: Any = 1) -> Any:
    if kind == 7:
        return rng.random() < 0.5
    if kind in (6, 12):
        return rng.choice(REALS) if kind == 12 else min(rng.choice(REALS), 3e38)
    value = rng.choice(
        (*NUMBERS, near * 2, near + 1, max(0, near - 1)) if isinstance(near, int) else NUMBERS
    )
    bits = {0: 8, 1: 7, 2: 16, 3: 15, 4: 32, 5: 31, 10: 64, 11: 63}[kind]
    return value & ((1 << bits) - 1)


def some_value(rng: random.Random) -> tuple[int, Any]:
    kind = rng.choice((4, 4, 5, 6, 7, 8, 10, 12, 9))
    if kind == 8:
        return 8, rng.choice((b"", b"x", b"none", b"linear", b"\xc3"))
    if kind == 9:
        inner = rng.choice((4, 5, 6, 7, 8))
        count = rng.choice((0, 1, 2, 3, 512, 600))
        return 9, (
            inner,
            [b"a"] * count if inner == 8 else [number(inner, rng) for _ in range(count)],
        )
    return kind, number(kind, rng)


def add_pair(raw: RawGguf, rng: random.Random) -> None:
    architecture = next((v for k, _, v in raw.pairs if k == b"general.architecture"), b"llama")
    if isinstance(architecture, bytes):
        name = architecture.decode("latin-1") + "." + rng.choice(EXTRA)
        kind, value = some_value(rng)
        if rng.random() < 0.6:
            kind = (
                6
                if name.endswith(
                    ("factor", "bias", "kqv", "scale", "softcapping", "epsilon", "linear")
                )
                else 4
            )
            value = number(kind, rng)
        raw.set(name, kind, value)


def change_array(raw: RawGguf, rng: random.Random) -> None:
    arrays = [i for i, (_, kind, _) in enumerate(raw.pairs) if kind == 9]
    at = rng.choice(arrays)
    key, kind, (inner, elements) = raw.pairs[at]
    elements = list(elements)
    match rng.randrange(4):
        case 0 if elements:
            del elements[rng.randrange(len(elements)) :]
        case 1 if elements:
            elements[rng.randrange(len(elements))] = elements[rng.randrange(len(elements))]
        case 2:
            elements += elements[:1] * rng.choice((1, 2, 40))
        case _ if elements:
            where = rng.randrange(len(elements))
            strings = (
                b"",
                b"\xff\xfe",
                b"<0x0A>",
                b"a b c",
                b" ",
                b"\0",
                b"x" * 3000,
                "▁".encode(),
                b"</s>",
                b"<|end|>",
            )
            elements[where] = rng.choice(strings) if inner == 8 else number(inner, rng)
    raw.pairs[at] = (key, kind, (inner, elements))


def change_tensor(raw: RawGguf, rng: random.Random) -> None:
    tensor = rng.choice(raw.tensors)
    match rng.randrange(6):
        case 0:  # another type, with data that fits it
            number_, (_, block, size) = rng.choice(list(TENSOR_TYPES.items()))
            elements = 1
            for side in tensor.shape:
                elements *= side
            tensor.type, tensor.data = (
                number_,
                rng.randbytes(min(1 << 20, -(-elements // block) * size)),
            )
        case 1:
            tensor.shape = rng.choice(
                ([*tensor.shape, 1], tensor.shape[::-1], [*tensor.shape, 2], tensor.shape[:1])
            )
        case 2:
            tensor.shape[rng.randrange(len(tensor.shape))] = rng.choice((*NUMBERS, 2**62))
        case 3:
            tensor.name = rng.choice(
                (
                    rng.choice(raw.tensors).name,
                    b"rope_freqs.weight",
                    b"",
                    b"x" * 70,
                    b"blk.0.attn_q.bias",
                )
            )
        case 4:
            tensor.offset = rng.choice((*NUMBERS, 2**63))
        case 5:
            raw.tensors.append(
                type(tensor)(
                    rng.choice(
                        (
                            b"rope_freqs.weight",
                            b"blk.0.attn_q.bias",
                            b"output.bias",
                            b"blk.0.attn_q_norm.weight",
                            b"blk.0.ffn_up.bias",
                        )
                    ),
                    [rng.choice((8, 16, 32, 64, 128))],
                    rng.choice((0, 0, 1, 26, 30)),
                    bytes(512),
                )
            )


def drop(raw: RawGguf, rng: random.Random) -> None:
    if rng.random() < 0.5:
        del raw.pairs[rng.randrange(len(raw.pairs))]
    else:
        del raw.tensors[rng.randrange(len(raw.tensors))]
