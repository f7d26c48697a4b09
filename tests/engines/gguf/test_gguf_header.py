"""The GGUF header: what valid files say; broken or hostile ones are refused in one line."""

from __future__ import annotations

import os
import random
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.engines.llama.gguf.gguf_header import read_gguf_header
from adec.engines.llama.gguf.gguf_reader import MAX_ELEMENTS, read_gguf
from adec.engines.vocabularies.vocabulary import byte_to_unicode, from_byte_level
from adec.errors import ModelFileError
from tests.engines.gguf.tiny_gguf import (
    CONTROL,
    RawGguf,
    byte_level_vocabulary,
    write_parts,
    write_tiny_gguf,
)
from tests.engines.stand_ins import STAND_INS

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    return write_tiny_gguf(folder / "tiny.gguf", chat_template="{{ messages }}")


@pytest.fixture
def raw(valid: Path) -> RawGguf:
    return RawGguf.read(valid)


def refusal(raw: RawGguf | bytes, folder: Path) -> str:
    path = folder / "hostile.gguf"
    path.write_bytes(raw if isinstance(raw, bytes) else raw.to_bytes())
    with pytest.raises(ModelFileError) as caught:
        read_gguf_header(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_valid_file(valid: Path) -> None:
    header = read_gguf_header(valid)
    info, vocabulary = header.info, header.vocabulary
    assert (info.name, info.format, info.architecture) == ("tiny", "gguf", "llama")
    assert (info.layers, info.context_limit, info.vocabulary) == (2, 2048, len(vocabulary))
    assert info.bytes == valid.stat().st_size
    assert info.quantisation == "F32"
    assert info.parameters == sum(t.elements for t in read_gguf(valid).tensors.values())
    assert header.capabilities == {"rewind", "tree", "vectors"}
    assert header.missing.keys() == {"layers", "pseudo"}


def test_vocabulary_of_bytes(valid: Path) -> None:
    vocabulary = read_gguf_header(valid).vocabulary
    size = len(vocabulary)
    assert vocabulary.kind == "gpt2"
    assert vocabulary.pre_tokenizer == "qwen2"
    assert vocabulary.pieces[:256] == tuple(bytes([byte]) for byte in range(256))
    assert b" the" in vocabulary.pieces
    assert vocabulary.pieces[-3:] == tuple(name.encode() for name in CONTROL)
    assert vocabulary.control == {size - 3, size - 2, size - 1}
    # the declared end, and <|im_end|> by its name
    assert vocabulary.end == {size - 3, size - 1}
    assert vocabulary.begin is None
    assert not vocabulary.adds_begin
    assert vocabulary.chat_template == "{{ messages }}"


def test_special_tokens_by_role(raw: RawGguf, tmp_path: Path) -> None:
    """The end is the declared one, whatever the lowest id that ends an answer is."""
    size = len(byte_level_vocabulary())
    keys = {"bos": size - 2, "eos": size - 1, "padding": size - 3, "unknown": size + 7}
    for key, token in keys.items():
        raw.set(f"tokenizer.ggml.{key}_token_id", U32, token)
    vocabulary = read_gguf_header(raw.write(tmp_path / "roles.gguf")).vocabulary
    assert min(vocabulary.end) == size - 3
    assert vocabulary.special == {
        "bos_token": CONTROL[1],
        "eos_token": CONTROL[2],
        "pad_token": CONTROL[0],
    }


@pytest.mark.parametrize(("said", "content"), STAND_INS)
def test_what_is_no_download_is_called_by_its_name(
    said: str, content: bytes, tmp_path: Path
) -> None:
    assert re.search(f"is a {said}", refusal(content, tmp_path))


def test_a_byte_level_file_without_a_pre_tokenizer_is_remarked_on(
    raw: RawGguf, valid: Path, tmp_path: Path
) -> None:
    assert read_gguf_header(valid).remarks == ()
    path = raw.drop("tokenizer.ggml.pre").write(tmp_path / "old.gguf")
    (remark,) = read_gguf_header(path).remarks
    assert "tokenizer.ggml.pre" in remark
    assert read_gguf_header(sentencepiece(raw).write(path)).remarks == ()


def test_the_parts_of_a_model_are_read_as_one(valid: Path, tmp_path: Path) -> None:
    whole, split = read_gguf_header(valid), read_gguf_header(write_parts(valid, tmp_path, 3))
    assert split.info.parameters == whole.info.parameters
    assert split.info.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert (split.vocabulary, split.info.layers) == (whole.vocabulary, whole.info.layers)


def _missing(first: Path, third: Path) -> Path:
    third.unlink()
    return first


def _another(first: Path, third: Path) -> Path:
    third.write_bytes(first.read_bytes())
    return first


def _repeating(first: Path, third: Path) -> Path:
    raw = RawGguf.read(third)
    raw.tensors += RawGguf.read(first).tensors[:1]
    raw.write(third)
    return first


PARTS: dict[str, Callable[[Path, Path], Path]] = {
    "m-00003-of-00003.gguf is missing": _missing,
    "part 3 of 3 of a model. Give the first part, m-00001": lambda first, third: third,
    "and not called": lambda first, third: first.rename(first.with_name("m.gguf")),
    "is not part 3 of 3": _another,
    "repeats the tensor": _repeating,
}


@pytest.mark.parametrize("said", PARTS)
def test_parts_that_do_not_make_a_model(said: str, valid: Path, tmp_path: Path) -> None:
    first = write_parts(valid, tmp_path, 3)
    path = PARTS[said](first, first.with_name("m-00003-of-00003.gguf"))
    with pytest.raises(ModelFileError, match=said) as caught:
        read_gguf_header(path)
    assert "\n" not in str(caught.value)


def test_raw_parts_write_the_same_file(valid: Path, raw: RawGguf) -> None:
    assert raw.to_bytes() == valid.read_bytes()


def test_characters_outside_the_byte_alphabet_stand_for_themselves(tmp_path: Path) -> None:
    tokens = [*byte_level_vocabulary(), "漢", "a b", "\xa0\xad", "Ġ漢"]
    path = write_tiny_gguf(tmp_path / "x.gguf", vocabulary=tokens)
    pieces = read_gguf_header(path).vocabulary.pieces
    assert pieces[-4:] == ("漢".encode(), b"a b", "\xa0\xad".encode(), " 漢".encode())


def sentencepiece(raw: RawGguf) -> RawGguf:
    """Turn the tokenizer into a SentencePiece one of the same size."""
    size = len(next(value for key, _, value in raw.pairs if key.endswith(b".tokens"))[1])
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    tokens += ["▁the".encode(), "▁".encode(), b"a"]
    tokens += [b"w%d" % i for i in range(size - len(tokens))]
    types = [2, 3, 3] + [6] * 256 + [1] * (size - 259)
    raw.set("tokenizer.ggml.model", STRING, b"llama").set(
        "tokenizer.ggml.tokens", ARRAY, (STRING, tokens)
    )
    raw.set("tokenizer.ggml.token_type", ARRAY, (I32, types)).drop("tokenizer.ggml.eos_token_id")
    raw.set("tokenizer.ggml.scores", ARRAY, (F32, [float(-i) for i in range(size)]))
    return raw.drop("tokenizer.ggml.merges").drop("tokenizer.ggml.pre")


def test_sentencepiece_vocabulary(raw: RawGguf, tmp_path: Path) -> None:
    path = sentencepiece(raw).drop("tokenizer.ggml.add_bos_token").write(tmp_path / "spm.gguf")
    vocabulary = read_gguf_header(path).vocabulary
    assert vocabulary.kind == "llama"
    assert vocabulary.pieces[:3] == (b"<unk>", b"<s>", b"</s>")
    assert vocabulary.pieces[3:259] == tuple(bytes([byte]) for byte in range(256))
    assert vocabulary.pieces[259:262] == (b" the", b" ", b"a")
    assert (vocabulary.begin, vocabulary.adds_begin, vocabulary.end) == (1, True, {2})
    assert vocabulary.control == {1, 2}
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    assert vocabulary.special == special
    assert vocabulary.space_prefix
    raw.set("tokenizer.ggml.add_space_prefix", BOOL, False).write(path)
    assert not read_gguf_header(path).vocabulary.space_prefix


def test_sentencepiece_vocabulary_needs_bytes(raw: RawGguf, tmp_path: Path) -> None:
    sentencepiece(raw)
    tokens = next(value for key, _, value in raw.pairs if key.endswith(b".tokens"))[1]
    types = next(value for key, _, value in raw.pairs if key.endswith(b".token_type"))[1]
    at = tokens.index(b"<0xE2>")
    tokens[at], types[at] = b"zz", 1
    assert "0xe2" in refusal(raw, tmp_path)


@pytest.mark.parametrize("architecture", ["mamba", "qwen3next", "falcon-h1"])
def test_recurrent_models_run_no_trees(raw: RawGguf, tmp_path: Path, architecture: str) -> None:
    new = architecture.encode() + b"."
    raw.set("general.architecture", STRING, architecture.encode())
    raw.pairs = [(key.replace(b"llama.", new), kind, value) for key, kind, value in raw.pairs]
    header = read_gguf_header(raw.write(tmp_path / "x.gguf"))
    assert header.capabilities == {"rewind"}
    assert "recurrent" in header.missing["tree"]


def test_state_keys_tell_of_recurrence(raw: RawGguf, tmp_path: Path) -> None:
    path = raw.set("llama.ssm.state_size", U32, 16).write(tmp_path / "x.gguf")
    assert "tree" not in read_gguf_header(path).capabilities


def test_sliding_windows_can_be_rewound(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "x.gguf", swa=16)
    assert read_gguf_header(path).capabilities == {"rewind", "tree"}


OTHER_KINDS: dict[str, Callable[[RawGguf], object]] = {
    "embedding model": lambda raw: raw.set("general.architecture", STRING, b"bert"),
    "diffusion model with experts": lambda raw: raw.set("general.architecture", STRING, b"rnd1"),
    "vision part": lambda raw: raw.set("general.type", STRING, b"mmproj"),
    "LoRA adapter": lambda raw: raw.set("general.type", STRING, b"adapter"),
    "both directions": lambda raw: raw.set("llama.attention.causal", BOOL, False),
    "of the kind 'rwkv'": lambda raw: raw.set("tokenizer.ggml.model", STRING, b"rwkv"),
    "no tokenizer": lambda raw: raw.drop("tokenizer.ggml.model"),
    "does not name its architecture": lambda raw: raw.drop("general.architecture"),
}


@pytest.mark.parametrize("words", OTHER_KINDS)
def test_files_that_are_no_model_for_writing(words: str, raw: RawGguf, tmp_path: Path) -> None:
    OTHER_KINDS[words](raw)
    assert words in refusal(raw, tmp_path)


def set_attribute(name: str, value: object) -> Callable[[RawGguf], object]:
    return lambda raw: setattr(raw, name, value)


def set_pair(key: str, kind: int, value: object) -> Callable[[RawGguf], object]:
    return lambda raw: raw.set(key, kind, value)


def set_tensor(which: str, /, **values: object) -> Callable[[RawGguf], object]:
    def change(raw: RawGguf) -> None:
        for field, value in values.items():
            setattr(raw.tensor(which), field, value)

    return change


def double_key(raw: RawGguf) -> None:
    raw.pairs.append(raw.pairs[0])


def double_token(raw: RawGguf) -> None:
    for key, _, value in raw.pairs:
        if key == b"tokenizer.ggml.tokens":
            value[1][300 % len(value[1])] = value[1][0]
            value[1][7] = value[1][0]


def double_tensor(raw: RawGguf) -> None:
    raw.tensors.append(raw.tensors[-1])


Q4_0 = 2
HOSTILE: dict[str, Callable[[RawGguf], object]] = {
    "magic": set_attribute("magic", b"GGML"),
    "version 0": set_attribute("version", 0),
    "version 1": set_attribute("version", 1),
    "version 4": set_attribute("version", 4),
    "big endian": set_attribute("version", 3 << 24),
    "pairs": set_attribute("pair_count", 2**64 - 1),
    "pairs, a few more": set_attribute("pair_count", 100),
    "tensors": set_attribute("tensor_count", 2**63),
    "tensors, one more": set_attribute("tensor_count", 22),
    "key twice": double_key,
    "empty key": lambda raw: raw.pairs.append((b"", U32, 1)),
    "long key": lambda raw: raw.pairs.append((b"k" * 300, U32, 1)),
    "key not UTF-8": lambda raw: raw.pairs.append((b"\xff\xfe", U32, 1)),
    "value type": lambda raw: raw.pairs.append((b"k", 13, 1)),
    "array of arrays": lambda raw: raw.pairs.append((b"k", ARRAY, (ARRAY, []))),
    "string not UTF-8": set_pair("general.name", STRING, b"\xc3"),
    "not a number": set_pair("llama.rope.freq_base", F32, float("nan")),
    "infinite": set_pair("llama.attention.layer_norm_rms_epsilon", F32, float("inf")),
    "negative epsilon": set_pair("llama.attention.layer_norm_rms_epsilon", F32, -1.0),
    "alignment 0": set_pair("general.alignment", U32, 0),
    "alignment 8": set_pair("general.alignment", U32, 8),
    "alignment 96": set_pair("general.alignment", U32, 96),
    "alignment text": set_pair("general.alignment", STRING, b"32"),
    "no layers": set_pair("llama.block_count", U32, 0),
    "many layers": set_pair("llama.block_count", U32, 2**31),
    "layers text": set_pair("llama.block_count", STRING, b"2"),
    "layers absent": lambda raw: raw.drop("llama.block_count"),
    "no width": set_pair("llama.embedding_length", U32, 0),
    "no context": set_pair("llama.context_length", U32, 0),
    "no heads": set_pair("llama.attention.head_count", U32, 0),
    "no shared heads": set_pair("llama.attention.head_count_kv", U32, 0),
    "heads not shared evenly": set_pair("llama.attention.head_count_kv", U32, 3),
    "heads of one layer": set_pair("llama.attention.head_count", ARRAY, (U32, [4])),
    "heads absent": lambda raw: raw.drop("llama.attention.head_count"),
    "more heads than width": set_pair("llama.attention.head_count", U32, 128),
    "odd rotation": set_pair("llama.rope.dimension_count", U32, 3),
    "rotation of half a head": set_pair("llama.rope.dimension_count", U32, 8),
    "unequal keys": set_pair("llama.attention.key_length", U32, 32),
    "rope scaling": set_pair("llama.rope.scaling.type", STRING, b"magic"),
    "experts": set_pair("llama.expert_count", U32, 4),
    "experts used": set_pair("llama.expert_used_count", U32, 4),
    "window": set_pair("llama.attention.sliding_window", U32, 2**31 - 1),
    "no tokens": set_pair("tokenizer.ggml.tokens", ARRAY, (STRING, [])),
    "tokens as numbers": set_pair("tokenizer.ggml.tokens", ARRAY, (U32, [1, 2])),
    "token twice": double_token,
    "too few tokens": set_pair("tokenizer.ggml.tokens", ARRAY, (STRING, [b"a", b"b"])),
    "token types": set_pair("tokenizer.ggml.token_type", ARRAY, (I32, [1, 1])),
    "token scores": set_pair("tokenizer.ggml.scores", ARRAY, (F32, [1.0])),
    "merges": set_pair("tokenizer.ggml.merges", ARRAY, (U32, [1])),
    "no merges": lambda raw: raw.drop("tokenizer.ggml.merges"),
    "end token": set_pair("tokenizer.ggml.eos_token_id", U32, 100000),
    "no embedding": lambda raw: raw.tensors.remove(raw.tensor("token_embd.weight")),
    "tensor twice": double_tensor,
    "tensor name": set_tensor("output_norm.weight", name=b"x" * 64),
    "tensor name not UTF-8": set_tensor("output_norm.weight", name=b"\xff"),
    "no dimensions": set_tensor("output_norm.weight", shape=[]),
    "five dimensions": set_tensor("output_norm.weight", shape=[64, 1, 1, 1, 1]),
    "no elements": set_tensor("output_norm.weight", shape=[0]),
    "huge": set_tensor("output_norm.weight", shape=[2**62, 2**62]),
    "more than the file holds": set_tensor("output.weight", shape=[64, 2**20]),
    "tensor type": set_tensor("output_norm.weight", type=99),
    "type that is gone": set_tensor("output_norm.weight", type=4),
    "norm in float16": set_tensor("output_norm.weight", type=1, shape=[128]),
    "norm as integers": set_tensor("output_norm.weight", type=26),
    "rows no blocks": set_tensor("output_norm.weight", type=Q4_0, shape=[48]),
    "offset": set_tensor("output_norm.weight", offset=0),
    "offset outside": set_tensor("output_norm.weight", offset=2**63),
}


@pytest.mark.parametrize("lie", HOSTILE)
def test_each_lie_is_refused(lie: str, raw: RawGguf, tmp_path: Path) -> None:
    HOSTILE[lie](raw)
    refusal(raw, tmp_path)


def test_every_truncation_is_refused(valid: Path, tmp_path: Path) -> None:
    data = valid.read_bytes()
    for length in [*range(0, 200), *range(200, len(data), 1777), len(data) - 1]:
        refusal(data[:length], tmp_path)


@pytest.mark.parametrize("kind", [U32, STRING, U64])
def test_lying_array_lengths_cost_nothing(kind: int, raw: RawGguf, tmp_path: Path) -> None:
    for count in (2**64 - 1, 2**61, 2**32, MAX_ELEMENTS + 1):
        body = raw.to_bytes()
        pair = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", ARRAY, kind, count)
        pairs = struct.pack("<Q", len(raw.pairs) + 1)
        start = time.perf_counter()
        refusal(body[:16] + pairs + pair + body[24:], tmp_path)
        assert time.perf_counter() - start < 0.5


def test_a_sparse_file_of_empty_strings_is_bounded(raw: RawGguf, tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    head = b"GGUF" + struct.pack("<IQQQ", 3, 0, 60, 1) + b"a"
    path.write_bytes(head + struct.pack("<IIQ", ARRAY, STRING, MAX_ELEMENTS))
    os.truncate(path, 1 << 33)
    start = time.perf_counter()
    with pytest.raises(ModelFileError):
        read_gguf_header(path)
    assert time.perf_counter() - start < 10


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ModelFileError):
            read_gguf_header(path)
    with pytest.raises(OSError):
        read_gguf_header(tmp_path / "absent")


def test_messages_show_no_control_characters(raw: RawGguf, tmp_path: Path) -> None:
    message = refusal(
        raw.set("llama.rope.scaling.type", STRING, "\x1b]0;x\x07\u202e".encode()), tmp_path
    )
    assert message.isprintable()


def test_mutated_bytes_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(5)
    small = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1}
    data = write_tiny_gguf(tmp_path / "small.gguf", **small).read_bytes()
    path = tmp_path / "mutant.gguf"
    header = data.index(b"output_norm.weight") + 100
    numbers = (0, 1, 255, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
    accepted = 0
    for _ in range(3000):
        mutant = bytearray(data)
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.randrange(header)
            if rng.random() < 0.5:
                mutant[at] = rng.randrange(256)
            else:
                mutant[at : at + 8] = struct.pack("<Q", rng.choice(numbers))
        path.write_bytes(mutant)
        start = time.perf_counter()
        try:
            read_gguf_header(path)
            accepted += 1
        except ModelFileError as error:
            assert "\n" not in str(error)
        assert time.perf_counter() - start < 2
    assert 0 < accepted < 3000


def test_a_large_vocabulary_is_read_quickly(tmp_path: Path) -> None:
    control = ("<|endoftext|>",)
    words = [f"Ġw{i}" for i in range(150_000)]
    tokens = [*byte_level_vocabulary((), control), *words]
    merges = [f"Ġ w{i}" for i in range(150_000)]
    path = write_tiny_gguf(
        tmp_path / "large.gguf", layers=1, width=8, heads=1, kv_heads=1, vocabulary=tokens,
        merges=merges, control=control,
    )  # fmt: skip
    times: list[float] = []
    header: Any = None
    for _ in range(3):
        start = time.process_time()
        header = read_gguf_header(path)
        times.append(time.process_time() - start)
    assert header.vocabulary.pieces[-1] == b" w149999"
    assert min(times) < 0.75


@given(st.binary(max_size=40), st.text(st.characters(min_codepoint=0x144)))
def test_byte_level_names_stand_for_their_bytes(raw: bytes, foreign: str) -> None:
    """Any bytes come back from the alphabet, and what no alphabet has stands for itself."""
    alphabet = byte_to_unicode()
    name = "".join(alphabet[byte] for byte in raw)
    assert from_byte_level(name) == raw
    own = foreign.encode("utf-8", errors="replace")
    assert from_byte_level(foreign) == own
    assert from_byte_level(name + foreign + name) == raw + own + raw
    outside = "".join(chr(code) for code in range(0x100) if chr(code) not in alphabet.values())
    assert from_byte_level(outside) == outside.encode()
