"""Find GGUF files that pass adec's check and then end the process inside llama.cpp.

    python -m tests.fuzz.fuzz_gguf --count 5000 --seed 1 --keep crashes/

Mutants of tiny models are read with `read_gguf_header`; those that it accepts are really opened, fed and rewound, each in
a process of its own. A clean refusal (an AdecError) is fine; a signal, an abort, a time-out or another exception is a
finding. Exits 1 when there is one.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from adec.engines.base import OpenOptions
from adec.engines.gguf_header import read_gguf_header
from adec.engines.gguf_reader import TENSOR_TYPES
from adec.errors import AdecError, ModelFileError
from adec.tree import TokenTree
from tests.engines.test_gguf_header import sentencepiece
from tests.engines.tiny_gguf import RawGguf, write_tiny_gguf, write_tiny_mamba

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    16,
    31,
    32,
    63,
    64,
    255,
    256,
    257,
    511,
    513,
    4096,
    65535,
    1 << 20,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
REALS = (0.0, -1.0, 1.0, 1e-30, 1e30, float("nan"), float("inf"), 0.5)
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
LIMIT_S = 20
MEMORY_BYTES = 6 << 30


def mutate(raw: RawGguf, rng: random.Random) -> bytes:
    """One to three lies in the parts, or some bytes of the file changed."""
    if rng.random() < 0.35:
        return flip(raw.to_bytes(), rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice((change_pair, change_pair, add_pair, change_tensor, change_array, drop))(
            raw, rng
        )
    data = raw.to_bytes()
    return flip(data, rng) if rng.random() < 0.1 else data


def flip(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    header = len(data) if rng.random() < 0.05 else min(len(data), 9000)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(header)
        match rng.randrange(5):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2:
                out[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS))
            case 3:
                out[at : at + 8] = struct.pack("<Q", rng.choice((*NUMBERS, 2**63, 2**64 - 1)))
            case 4:
                del out[at : at + rng.choice((1, 4, 8))]
    return bytes(out)


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


def exercise(path: Path) -> None:
    """Open, tokenize, feed, try a tree, rewind. Raises AdecError on a clean refusal."""
    from adec.engines.llama import LlamaEngine

    header = read_gguf_header(path)
    engine = LlamaEngine.open(
        header, OpenOptions(context=min(64, header.info.context_limit), threads=1, branches=2)
    )
    for text in ("the and\n\n  über \0 1234 <|im_end|> 漢字", "", "\x80\uffff"):
        for special in (False, True):
            ids = engine.tokenizer.encode(text, special=special)
            assert all(0 <= token < header.info.vocabulary for token in ids)
    last = header.info.vocabulary - 1
    for call in (lambda: engine.forward([0, last, 0], rows=2), lambda: engine.forward([last])):
        call()
    if "tree" in header.capabilities:
        tree = TokenTree([0, last, 0], [-1, -1, 0])
        engine.forward_tree(tree)
        engine.keep([0, 2])
        engine.rewind(1)
        assert engine.length == 1
    engine.close()


def run_child(path: Path) -> str:
    """Exercise a file in a forked process; "ok", "refused" or what went wrong."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(LIMIT_S)
            with path.with_suffix(".log").open("w") as errors:
                os.dup2(errors.fileno(), 2)
            exercise(path)
            status = 0
        except AdecError:
            status = 10
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return {0: "ok", 10: "refused"}.get(os.WEXITSTATUS(status), "exception")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that crashed")
    options = parser.parse_args()
    # the library is loaded before the forks, so that each of them is cheap
    from adec.engines.llama_library import library

    library()
    rng = random.Random(options.seed)
    results: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        shape = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "context": 128}
        bases = [
            write_tiny_gguf(Path(folder, "a.gguf"), **shape),
            write_tiny_gguf(Path(folder, "b.gguf"), swa=8, **shape),
            write_tiny_gguf(Path(folder, "c.gguf"), architecture="qwen2", **shape),
            write_tiny_gguf(Path(folder, "d.gguf"), experts=4, **shape),
            write_tiny_gguf(Path(folder, "e.gguf"), architecture="minicpm", **shape),
            write_tiny_mamba(Path(folder, "f.gguf"), layers=1),
        ]
        bases.append(sentencepiece(RawGguf.read(bases[0])).write(Path(folder, "g.gguf")))
        path = Path(folder, "mutant.gguf")
        for index in range(options.count):
            path.write_bytes(mutate(RawGguf.read(rng.choice(bases)), rng))
            begin = time.perf_counter()
            try:
                read_gguf_header(path)
            except ModelFileError:
                results["header refused"] += 1
                continue
            finally:
                slowest = max(slowest, time.perf_counter() - begin)
            result = run_child(path)
            results[result] += 1
            if result not in ("ok", "refused"):
                last = (
                    path.with_suffix(".log").read_text(errors="replace").strip().splitlines()[-1:]
                )
                print(f"mutant {index}: {result} {last}", flush=True)
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    path.rename(options.keep / f"{options.seed}-{index}-{result}.gguf")
    print(dict(results), f"slowest header {1000 * slowest:.1f} ms")
    return 1 if set(results) - {"header refused", "ok", "refused"} else 0


if __name__ == "__main__":
    sys.exit(main())
