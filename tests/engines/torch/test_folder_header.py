"""Headers of model folders: good ones, broken ones, hostile ones. Torch is not needed for them."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adec.answering.prompt import render_chat
from adec.answering.text import text_of
from adec.engines.torch.folder_header import read_folder_header
from adec.engines.torch.folder_vocabulary import (
    FolderTokenizer,
    looks_like_control,
)
from adec.engines.vocabularies.vocabulary import byte_to_unicode
from adec.errors import ModelFileError
from tests.engines.stand_ins import STAND_INS
from tests.engines.torch.tiny_folder import CHAT_TEMPLATE, CONTROL, write_tokenizer

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 271,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": 3,
}
SHAPES = {
    "model.embed_tokens.weight": ("BF16", [271, 8]),
    "model.layers.0.self_attn.q_proj.weight": ("BF16", [8, 8]),
    "model.norm.weight": ("F32", [8]),
    "lm_head.weight": ("BF16", [271, 8]),
}
WIDTH = {"BF16": 2, "F32": 4}


def shard(shapes: dict[str, Any]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in shapes.items():
        count = WIDTH[dtype]
        for size in shape:
            count *= size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + count]}
        end += count
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(end)


@pytest.fixture(scope="session")
def tokenizer_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return (folder / "tokenizer.json").read_text("utf-8")


@pytest.fixture
def folder(tmp_path: Path, tokenizer_text: str) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(tokenizer_text, "utf-8")
    settings = {"eos_token": {"content": "<|end|>"}, "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "model.safetensors").write_bytes(shard(SHAPES))
    return folder


def change(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file; None removes one."""
    value = json.loads(path.read_text("utf-8")) if path.exists() else {}
    value.update(fields)
    path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}), "utf-8")


def refused(folder: Path, words: str) -> ModelFileError:
    with pytest.raises(ModelFileError, match=words) as caught:
        read_folder_header(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    return caught.value


def test_info_and_vocabulary(folder: Path) -> None:
    header = read_folder_header(folder)
    info, vocabulary = header.info, header.vocabulary
    assert (info.name, info.format, info.architecture) == ("model", "safetensors", "llama")
    assert (info.layers, info.vocabulary, info.context_limit) == (1, 271, 512)
    assert info.parameters == 2 * 271 * 8 + 64 + 8
    assert info.quantisation == "BF16"
    assert info.bytes == (folder / "model.safetensors").stat().st_size
    assert header.capabilities == {"rewind", "tree", "layers", "vectors", "pseudo"}
    assert vocabulary.kind == "gpt2"
    assert len(vocabulary) == 271
    assert vocabulary.pieces[:4] == tuple(name.encode() for name in CONTROL)
    assert sorted(vocabulary.pieces[4:260]) == sorted(bytes([byte]) for byte in range(256))
    assert vocabulary.pieces[vocabulary.pieces.index(b" the")] == b" the"
    assert (vocabulary.control, vocabulary.end) == (frozenset(range(4)), frozenset({3}))
    assert (vocabulary.begin, vocabulary.adds_begin) == (None, False)
    assert vocabulary.chat_template == CHAT_TEMPLATE


def test_neither_torch_nor_transformers_is_imported(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from adec.engines.torch.folder_header import *;"
        "read_folder_header(Path(sys.argv[1]));"
        "assert not {'torch', 'transformers', 'tokenizers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


def test_a_tied_head_is_counted_once(folder: Path) -> None:
    change(folder / "config.json", tie_word_embeddings=True)
    assert read_folder_header(folder).info.parameters == 271 * 8 + 64 + 8


def test_rows_beyond_the_tokenizer_are_unused_tokens(folder: Path) -> None:
    wide = {n: (d, [300, 8] if s[0] == 271 else s) for n, (d, s) in SHAPES.items()}
    (folder / "model.safetensors").write_bytes(shard(wide))
    change(folder / "config.json", vocab_size=300)
    vocabulary = read_folder_header(folder).vocabulary
    assert len(vocabulary) == 300
    assert set(vocabulary.pieces[271:]) == {b""}


CONTENTS = {"role": "user", "content": "hi"}
NAMING = (
    "<user>{{ messages[0].content }}{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}"
    "{{ image_token }}{{ voice_token }}"
)


@pytest.mark.parametrize(
    ("settings", "special_map"),
    [
        ({"eos_token": "<|end|>", "pad_token": "<|user|>"}, None),
        ({"eos_token": {"__type": "AddedToken", "content": "<|end|>"}, "image_token": "x"}, None),
        ({"eos_token": "<|end|>", "extra_special_tokens": {"voice_token": "<|user|>"}}, None),
        (
            {"eos_token": "<|user|>"},
            {"eos_token": {"content": "<|end|>"}, "unk_token": "<|begin|>"},
        ),
        ({"eos_token": "<|end|>", "added_tokens_decoder": {}}, {"eos_token": "<|user|>"}),
    ],
)
def test_chat_templates_see_the_special_tokens_that_transformers_shows_them(
    folder: Path, settings: dict[str, Any], special_map: dict[str, Any] | None
) -> None:
    transformers = pytest.importorskip("transformers")
    change(folder / "config.json", eos_token_id=[1, 0])
    settings = {**settings, "chat_template": NAMING, "tokenizer_class": "TokenizersBackend"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if special_map is not None:
        (folder / "special_tokens_map.json").write_text(json.dumps(special_map))
    vocabulary = read_folder_header(folder).vocabulary
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    right = theirs.apply_chat_template([CONTENTS], tokenize=False, add_generation_prompt=True)
    assert "<|end|>" in right
    assert render_chat(NAMING, [CONTENTS], vocabulary) == right


def test_special_tokens_that_no_tokenizer_file_names_are_those_of_the_configs(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")
    change(folder / "config.json", eos_token_id=[1, 0], pad_token_id=-1)
    change(folder / "generation_config.json", eos_token_id=2, pad_token_id=3, bos_token_id=0)
    assert read_folder_header(folder).vocabulary.special == {
        "eos_token": "<|user|>",
        "pad_token": "<|end|>",
        "bos_token": "<|begin|>",
    }


STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
REPLACE = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}


@pytest.mark.parametrize(
    "decoder",
    [
        {"type": "Sequence", "decoders": [REPLACE, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        {"type": "Sequence", "decoders": [REPLACE, {"type": "Fuse"}, STRIP]},
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never"},
    ],
)
def test_the_first_space_is_dropped_where_the_tokenizer_drops_it(
    folder: Path, decoder: dict[str, Any]
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    model = {"type": "BPE", "vocab": {"\u2581a": 0}, "merges": [], "byte_fallback": True}
    change(
        folder / "tokenizer.json", decoder=decoder, model=model, pre_tokenizer=None, added_tokens=[]
    )
    vocabulary = read_folder_header(folder).vocabulary
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert text_of(vocabulary, [0, 0]) == theirs.decode([0, 0])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize(("said", "content"), STAND_INS)
def test_what_is_no_download_is_called_by_its_name(
    folder: Path, name: str, said: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    refused(folder, f"{name} is a {said}")


def test_begin_and_end_come_from_every_file(folder: Path) -> None:
    change(folder / "config.json", eos_token_id=[2], bos_token_id=0)
    change(folder / "generation_config.json", eos_token_id=[1])
    vocabulary = read_folder_header(folder).vocabulary
    assert (vocabulary.begin, vocabulary.adds_begin) == (0, False)
    assert vocabulary.end == {1, 2, 3}
    single = [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A"}}]
    template = {"type": "TemplateProcessing", "single": single}
    processor = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}
    change(folder / "tokenizer.json", post_processor=processor)
    assert read_folder_header(folder).vocabulary.adds_begin
    change(folder / "tokenizer_config.json", add_bos_token=False)
    assert not read_folder_header(folder).vocabulary.adds_begin


def test_chat_template_from_its_own_file_and_from_a_list(folder: Path) -> None:
    templates = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    change(folder / "tokenizer_config.json", chat_template=templates)
    assert read_folder_header(folder).vocabulary.chat_template == "d"
    (folder / "chat_template.jinja").write_text("own")
    assert read_folder_header(folder).vocabulary.chat_template == "own"


def test_sentencepiece_marks_and_bytes(folder: Path) -> None:
    pieces = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", "▁the", "er", "漢"]
    model = {"type": "BPE", "byte_fallback": True, "vocab": {p: i for i, p in enumerate(pieces)}}
    added = [{"id": i, "content": pieces[i], "special": True} for i in range(3)]
    added.append({"id": 8, "content": "<tool▁call>", "special": False})
    fields = {"model": model, "added_tokens": added, "pre_tokenizer": {"type": "Metaspace"}}
    change(folder / "tokenizer.json", **fields, decoder={"type": "Fuse"})
    change(folder / "config.json", bos_token_id=1, eos_token_id=2)
    vocabulary = read_folder_header(folder).vocabulary
    assert vocabulary.kind == "llama"
    expected = (b"<unk>", b"<s>", b"</s>", b"\n", b" ", b" the", b"er", "漢".encode())
    assert vocabulary.pieces[:9] == (*expected, b"<tool call>")
    assert vocabulary.control == {0, 1, 2}


def test_byte_alphabet_is_gpt2s() -> None:
    table = byte_to_unicode()
    assert len(set(table.values())) == 256
    assert (table[0x20], table[0x0A], table[0x41], table[0xAD]) == ("Ġ", "Ċ", "A", "\u0143")


def test_names_that_look_like_control_are_control_and_are_text_in_text(folder: Path) -> None:
    assert looks_like_control("<|x\n|>") and not looks_like_control("<tool>")
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    for row in tokenizer["added_tokens"]:
        row["special"] = False
    tokenizer["truncation"] = {
        "max_length": 2, "stride": 0, "strategy": "LongestFirst", "direction": "Right"
    }  # fmt: skip
    change(folder / "tokenizer.json", **tokenizer)
    vocabulary = read_folder_header(folder).vocabulary
    assert vocabulary.control == {0, 1, 2, 3}
    encode = FolderTokenizer(folder, vocabulary).encode
    assert 1 in encode("say <|user|>", special=True)
    assert 1 not in encode("say <|user|>", special=False)
    assert len(encode("say <|user|>", special=False)) > 2  # and nothing is cut off


FULL = {"rewind", "tree", "layers", "vectors", "pseudo"}
CAPABILITIES: list[tuple[dict[str, Any], set[str]]] = [
    ({"sliding_window": 64}, {"rewind"}),
    ({"sliding_window": 64, "use_sliding_window": False}, FULL),
    ({"layer_types": ["full_attention"]}, FULL),
    ({"model_type": "gemma"}, {"rewind", "tree"}),
    ({"layer_types": ["sliding_attention"]}, {"rewind"}),
    ({"layer_types": ["linear_attention", "full_attention"]}, set()),
    ({"layer_types": ["indexed_attention"]}, set()),
    ({"model_type": "jamba"}, set()),
    ({"model_type": "falcon_h1"}, set()),
    ({"attention_chunk_size": 64}, {"rewind"}),
]


@pytest.mark.parametrize(("fields", "expected"), CAPABILITIES)
def test_capabilities_follow_the_layers(
    folder: Path, fields: dict[str, Any], expected: set[str]
) -> None:
    change(folder / "config.json", **fields)
    header = read_folder_header(folder)
    assert header.capabilities == expected
    assert set(header.missing) == FULL - expected
    assert all(reason.startswith("it") for reason in header.missing.values())


def test_other_stacks_can_be_rewound_only(folder: Path) -> None:
    shapes = {n.replace("model.", "transformer.h."): s for n, s in SHAPES.items()}
    (folder / "model.safetensors").write_bytes(shard(shapes))
    assert read_folder_header(folder).capabilities == {"rewind"}


@pytest.mark.parametrize(
    ("extra", "more", "told"),
    [
        ({}, [], False),
        ({}, ["model.layers.3.mlp.experts.7.up_proj.weight"], True),
        ({"num_hidden_layers": 4}, ["model.layers.3.mlp.up_proj.weight"], False),
        ({}, ["transformer.h.1.attn.weight"], True),
        ({"num_nextn_predict_layers": 1}, ["model.layers.1.eh_proj.weight"], False),
        ({"num_nextn_predict_layers": 1}, ["model.layers.2.eh_proj.weight"], True),
        ({"num_nextn_predict_layers": "1"}, ["model.layers.1.eh_proj.weight"], True),
        ({}, ["model.mtp_layers.1.weight", "mtp.norms.9.weight"], False),
    ],
)
def test_layers_that_the_config_leaves_out_are_told(
    folder: Path, extra: dict[str, Any], more: list[str], told: bool
) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **extra}))
    shapes = {**SHAPES, **{name: ("F32", [2]) for name in more}}
    (folder / "model.safetensors").write_bytes(shard(shapes))
    remarks = read_folder_header(folder).remarks
    assert len(remarks) == told
    assert not told or "layers in its weights, so the others do not run" in remarks[0]


def test_shards(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    names = list(SHAPES)
    files = {"a.safetensors": names[:2], "b.safetensors": names[2:]}
    for file, held in files.items():
        (folder / file).write_bytes(shard({name: SHAPES[name] for name in held}))
    index = folder / "model.safetensors.index.json"
    weight_map = {name: file for file, held in files.items() for name in held}
    index.write_text(json.dumps({"weight_map": weight_map}))
    info = read_folder_header(folder).info
    assert info.parameters == 2 * 271 * 8 + 64 + 8
    assert info.bytes == sum((folder / file).stat().st_size for file in files)
    (folder / "b.safetensors").unlink()
    refused(folder, "lacks .b.safetensors")
    (folder / "b.safetensors").write_bytes((folder / "a.safetensors").read_bytes())
    refused(folder, "repeats the tensor")
    for name in (
        "../a.safetensors", "/etc/a.safetensors", "a.bin", "", "x\\a.safetensors", 3,
        "..safetensors",
    ):  # fmt: skip
        index.write_text(json.dumps({"weight_map": {"x": name}}))
        refused(folder, "no file of this folder")
    for value in ({}, [], "x", None):
        index.write_text(json.dumps({"weight_map": value}))
        refused(folder, "no weight_map")


def test_folders_of_the_hub_cache_have_the_models_name(folder: Path) -> None:
    snapshot = folder.parent / "models--owner--name" / "snapshots" / "0123abcd"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    assert read_folder_header(snapshot).info.name == "owner/name"


REFUSED: list[tuple[str, Callable[[Path], object]]] = [
    ("no config.json", lambda f: (f / "config.json").unlink()),
    ("no model.safetensors", lambda f: (f / "model.safetensors").unlink()),
    ("no tokenizer.json", lambda f: (f / "tokenizer.json").unlink()),
    (
        "a pickle",
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
    ),
    ("code of its own", lambda f: change(f / "config.json", auto_map={"AutoModel": "x.Y"})),
    ("code of its own", lambda f: change(f / "config.json", deep=[{"auto_map": {"a": "b"}}])),
    ("code of its own", lambda f: change(f / "generation_config.json", custom_generate="x")),
    ("code of its own", lambda f: change(f / "tokenizer_config.json", auto_map={"a": ["b"]})),
    ("kernels", lambda f: change(f / "config.json", attn_implementation="owner/kernel")),
    ("kernels", lambda f: change(f / "config.json", _experts_implementation="owner/kernel")),
    ("redirects", lambda f: change(f / "config.json", transformers_weights="x.safetensors")),
    ("an adapter", lambda f: (f / "adapter_config.json").write_text("{}")),
    ("more than text", lambda f: change(f / "config.json", vision_config={})),
    ("more than text", lambda f: change(f / "config.json", text_config={"vocab_size": 3})),
    ("does not run", lambda f: change(f / "config.json", model_type="mamba")),
    ("encoder", lambda f: change(f / "config.json", is_encoder_decoder=True)),
    ("no causal", lambda f: change(f / "config.json", architectures=["LlamaModel"])),
    ("no causal", lambda f: change(f / "config.json", architectures=7)),
    (
        "quantised by .gptq",
        lambda f: change(f / "config.json", quantization_config={"quant_method": "gptq"}),
    ),
    ("no model_type", lambda f: change(f / "config.json", model_type="../x")),
    ("vocab_size", lambda f: change(f / "config.json", vocab_size=1 << 40)),
    ("vocab_size", lambda f: change(f / "config.json", vocab_size=True)),
    ("embeddings of shape", lambda f: change(f / "config.json", vocab_size=300)),
    ("num_hidden_layers", lambda f: change(f / "config.json", num_hidden_layers=-1)),
    ("max_position", lambda f: change(f / "config.json", max_position_embeddings=0)),
    ("outside the vocabulary", lambda f: change(f / "config.json", eos_token_id=271)),
    ("outside the vocabulary", lambda f: change(f / "config.json", bos_token_id=-1)),
    ("outside the vocabulary", lambda f: change(f / "config.json", eos_token_id=["x"])),
    (
        "outside the vocabulary",
        lambda f: change(f / "tokenizer.json", added_tokens=[{"id": 271, "content": "x"}]),
    ),
    (
        "broken added token",
        lambda f: change(f / "tokenizer.json", added_tokens=[{"id": 1, "content": 5}]),
    ),
    ("not read", lambda f: change(f / "tokenizer.json", model={"type": "Wordy", "vocab": {}})),
    ("not valid JSON", lambda f: (f / "config.json").write_text("[" * 100_000)),
    ("not valid JSON", lambda f: (f / "config.json").write_text('{"a":' * 100_000)),
    ("not valid JSON", lambda f: (f / "config.json").write_bytes(b"\xff\xfe{}")),
    ("not valid JSON", lambda f: (f / "config.json").write_text('{"a": ' + "9" * 5000 + "}")),
    ("not hold a JSON object", lambda f: (f / "config.json").write_text("[]")),
    ("larger than 16 MiB", lambda f: (f / "config.json").write_bytes(b" " * (16 << 20) + b"{}")),
    ("larger than 1 MiB", lambda f: (f / "chat_template.jinja").write_bytes(b"x" * (2 << 20))),
]


@pytest.mark.parametrize(("words", "damage"), REFUSED, ids=[words for words, _ in REFUSED])
def test_refusals(folder: Path, words: str, damage: Callable[[Path], object]) -> None:
    damage(folder)
    refused(folder, words)


def entry(dtype: object = "F32", shape: object = (8,), offsets: object = (0, 32)) -> bytes:
    fields = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    raw = json.dumps({"model.norm.weight": fields}).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(32)


@pytest.mark.parametrize(
    ("words", "raw"),
    [
        ("too short", b"\x01"),
        ("header of", struct.pack("<Q", 1 << 62) + b"{}"),
        ("header of", struct.pack("<Q", 3) + b"{}"),
        ("not valid JSON", struct.pack("<Q", 2) + b"{["),
        ("holds no tensors", struct.pack("<Q", 2) + b"{}"),
        ("unknown type", entry(dtype="Q4_0")),
        ("broken entry", entry(dtype=4)),
        ("broken entry", entry(offsets=[0])),
        ("broken entry", entry(shape="x")),
        ("broken shape", entry(shape=[-8])),
        ("broken shape", entry(shape=[8.0])),
        ("broken shape", entry(shape=[True] * 9)),
        ("broken shape", entry(shape=[1 << 60])),
        ("bytes for shape", entry(shape=[9])),
        ("gap", entry(offsets=[4, 36])),
        ("bytes for shape", entry(offsets=[32, 0])),
        ("bytes of data", entry() + b"x"),
        ("bytes of data", entry()[:-1]),
    ],
)
def test_broken_safetensors(folder: Path, words: str, raw: bytes) -> None:
    (folder / "model.safetensors").write_bytes(raw)
    refused(folder, words)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_mutated_files_raise_nothing_else(folder: Path, name: str) -> None:
    """Bytes flipped, cut out and doubled; JSON values swapped for hostile ones."""
    rng = random.Random(name)
    path = folder / name
    good = path.read_bytes()
    start, length = 0, len(good)
    if name == "model.safetensors":
        length = 8 + struct.unpack("<Q", good[:8])[0]
    for round_ in range(250):
        bad = bytearray(good)
        if round_ % 3 == 2 and name != "model.safetensors":
            value = json.loads(good)
            _corrupt(value, rng)
            bad = bytearray(json.dumps(value).encode())
        else:
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(start, length)
                match rng.randrange(3):
                    case 0:
                        bad[at] = rng.randrange(256)
                    case 1:
                        del bad[at : at + rng.randrange(1, 9)]
                    case _:
                        bad[at:at] = bad[at : at + rng.randrange(1, 40)]
                length = min(length, len(bad))
        path.write_bytes(bad)
        try:
            header = read_folder_header(folder)
        except ModelFileError as error:
            assert "\n" not in str(error)
        else:
            assert len(header.vocabulary) == header.info.vocabulary


def _corrupt(value: Any, rng: random.Random) -> None:
    """Replace one value somewhere inside."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        inner = value[key]
        if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.3:
            hostile = [
                None,
                True,
                -1,
                1 << 70,
                1.5,
                "",
                "x" * 99,
                [],
                {},
                [[]],
                {"id": -1},
                "\ud800",
            ]
            value[key] = rng.choice(hostile)
            return
        value = inner
