"""The header of a Hugging Face model folder, read without torch and transformers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from adec.engines.base import Capability, ModelHeader, ModelInfo
from adec.engines.canvas_model import CANVAS, MISSING
from adec.engines.torch.canvas.canvas_folder import canvas_facts, canvas_shape, is_canvas
from adec.engines.torch.folder_files import TensorEntry, read_json, read_tensors
from adec.engines.torch.folder_vocabulary import CONFIG_LIMIT, TOKENS_LIMIT, read_vocabulary
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import ModelFileError

LAYERS_LIMIT = 4096
CONTEXT_WITHOUT_LIMIT = 8192
"""Context of a model whose config names no limit (a recurrent one)."""

_CODE_KEYS = frozenset({"auto_map", "custom_generate", "trust_remote_code", "custom_pipelines"})
# fields that make transformers fetch compiled kernels from the Hub
_KERNEL_KEY = re.compile(r"(attn|attention|experts)_implementation|kernel_config")
_RECURRENT_TYPE = re.compile(
    r"mamba|rwkv|jamba|bamba|zamba|xlstm|recurrent|lfm2|lfm3|falcon_h1|kimi_linear"
    r"|nemotron_h|hybrid|qwen3_next|qwen3_5|qwen4_exp|minimax$"
)
# transformers keeps their state outside its key-value cache
_STATE_ELSEWHERE = frozenset({"mamba", "falcon_mamba", "rwkv", "xlstm"})
# they take a batch of tokens from a state that was copied and put back
_COPIED_STATE = frozenset({"mamba2"})
_RECURRENT_LAYER = re.compile(r"linear|mamba|recurrent|conv|ssm|hybrid|rwkv|delta")
# a list of layers between embeddings, norm and head, without scales of their own between them
_LAYERED_TYPES = frozenset({"llama", "qwen2", "qwen3", "mistral", "phi3", "smollm3"})
_EMBEDDINGS = (
    "model.embed_tokens.weight",
    "transformer.wte.weight",
    "gpt_neox.embed_in.weight",
    "backbone.embeddings.weight",
    "model.transformer.wte.weight",
)
_LAYER_OF = re.compile(r"(?:[a-z_]+\.){0,3}(?:layers|h|blocks)\.(\d{1,4})\.")
# layers behind the last one that foresee later tokens, which no forward of the model needs
_FORESEEING_KEYS = (
    "num_nextn_predict_layers", "num_mtp_layers", "mtp_num_layers", "num_mtp_modules",
)  # fmt: skip
_SENSES = ("vision_config", "audio_config", "vision_tower", "speech_config", "image_token_id")


VocabularyReader = Callable[[Path, dict[str, Any], int], Vocabulary]


def read_folder_header(
    path: Path, vocabulary_of: VocabularyReader = read_vocabulary
) -> ModelHeader:
    """The header of the model in the folder `path`.

    Raises ModelFileError when something is missing, broken, hostile or of a kind that the torch
    engine does not run. A folder that wants to run code of its own is always refused.
    """
    if not path.is_dir():
        raise ModelFileError(f"{path} is not a folder")
    if not (path / "config.json").is_file():
        inside = sorted(file.name for file in path.glob("*.gguf"))
        if inside:
            more = f" and {len(inside) - 6} more" if len(inside) > 6 else ""
            raise ModelFileError(
                f"{path} is a folder with GGUF files in it: {', '.join(inside[:6])}{more}",
                hint=f"give one of them, such as {path / inside[0]}",
            )
        raise ModelFileError(
            f"{path} has no config.json", hint="give a GGUF file or a Hugging Face model folder"
        )
    config = read_json(path / "config.json", CONFIG_LIMIT)
    canvas = canvas_facts(path, config) if is_canvas(config) else None
    if canvas is not None:
        canvas_shape(path, config)
    _refuse_code(path, config, ours=canvas is not None)
    _refuse_kinds(path, config, ours=canvas is not None)
    tensors, size = read_tensors(path)
    width = _number(config, path, "vocab_size", maximum=TOKENS_LIMIT)
    embedding = next((tensors[name] for name in _EMBEDDINGS if name in tensors), None)
    if embedding is not None and embedding.shape[:1] != (width,):
        raise ModelFileError(
            f"{path} has vocab_size {width} but embeddings of shape {list(embedding.shape)}"
        )
    capabilities, missing = _capabilities(config, tensors) if canvas is None else (CANVAS, MISSING)
    layers = _number(
        config, path, "num_hidden_layers", "n_layer", "n_layers", "num_layers", maximum=LAYERS_LIMIT
    )
    info = ModelInfo(
        name=_name(path),
        path=path,
        format="safetensors",
        architecture=config["model_type"],
        layers=layers,
        parameters=_parameters(config, tensors),
        vocabulary=width,
        context_limit=_context_limit(config, path),
        bytes=size,
        quantisation=_dominant_type(tensors),
    )
    return ModelHeader(
        info,
        vocabulary_of(path, config, width),
        capabilities,
        missing,
        _left_out(config, tensors, layers),
        canvas,
    )


def _left_out(
    config: dict[str, Any], tensors: Mapping[str, TensorEntry], layers: int
) -> tuple[str, ...]:
    """A remark where the weights have layers that the config does not ask for."""
    found = [match for name in tensors if (match := _LAYER_OF.match(name))]
    there = 1 + max((int(match[1]) for match in found), default=-1)
    counts = [config.get(key) for key in _FORESEEING_KEYS]
    foreseeing = sum(value for value in counts if type(value) is int and 0 < value <= LAYERS_LIMIT)
    if there <= layers + foreseeing:
        return ()
    return (
        f"its config.json names {layers} of the {there} layers in its weights, so the others do "
        "not run; a whole model has the number of all of them there",
    )


def _refuse_code(folder: Path, config: dict[str, Any], *, ours: bool = False) -> None:
    """Raise ModelFileError if the folder wants to run code.

    Where the module is `ours`, nothing that a config names is ever run, so it may name some.
    """
    configs = {"config.json": config}
    for name in ("generation_config.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            configs[name] = read_json(folder / name, CONFIG_LIMIT)
    for name, fields in configs.items():
        for key, value in _walk(fields):
            # an empty field asks for nothing
            if key in _CODE_KEYS and value and not ours:
                raise ModelFileError(
                    f"{folder / name} asks for code of its own ({key}), which adec never runs",
                    hint="take a model that transformers runs by itself, or its GGUF file",
                )
            if isinstance(value, str) and "/" in value and _KERNEL_KEY.search(key):
                raise ModelFileError(
                    f"{folder / name} asks for kernels from elsewhere ({key}),"
                    " which adec never loads"
                )
    if config.get("transformers_weights") is not None:
        raise ModelFileError(
            f"{folder / 'config.json'} redirects its weights (transformers_weights)"
        )
    if (folder / "adapter_config.json").exists():
        raise ModelFileError(
            f"{folder} is an adapter, not a whole model", hint="merge it into its base model first"
        )


def _walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key and its value, at any depth."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part.items()
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _refuse_kinds(folder: Path, config: dict[str, Any], *, ours: bool = False) -> None:
    kind = config.get("model_type")
    if not isinstance(kind, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", kind):
        raise ModelFileError(f"{folder / 'config.json'} has no model_type")
    if any(config.get(field) is not None for field in _SENSES) or "text_config" in config:
        raise ModelFileError(
            f"{folder} is a model of more than text ({kind})",
            hint="adec runs models of text only; take the text model or its GGUF file",
        )
    if config.get("is_encoder_decoder"):
        raise ModelFileError(
            f"{folder} is an encoder with a decoder ({kind})", hint="adec runs decoders only"
        )
    if kind in _STATE_ELSEWHERE:
        raise ModelFileError(
            f"{folder} is a {kind}, which the torch engine does not run", hint="take its GGUF file"
        )
    names = None if ours else config.get("architectures")
    if names is not None and not any(
        isinstance(name, str) and name.endswith(("ForCausalLM", "LMHeadModel"))
        for name in (names if isinstance(names, list) else [names])
    ):
        raise ModelFileError(
            f"{folder} holds no causal language model ({kind})",
            hint="its config.json names no architecture that ends in ForCausalLM",
        )
    quantised = config.get("quantization_config") or config.get("compression_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        method = repr(method[:20]) if isinstance(method, str) else "an unnamed method"
        raise ModelFileError(
            f"{folder} is quantised by {method}, which the torch engine does not read",
            hint="take the model's GGUF file, or its folder in bfloat16",
        )


def _number(config: dict[str, Any], folder: Path, *names: str, maximum: int) -> int:
    for name in names:
        value = config.get(name)
        if value is not None:
            if type(value) is not int or not 1 <= value <= maximum:
                raise ModelFileError(
                    f"{folder / 'config.json'} has a {name} that is not an integer"
                    f" from 1 to {maximum}"
                )
            return value
    raise ModelFileError(f"{folder / 'config.json'} has no {names[0]}")


def _context_limit(config: dict[str, Any], folder: Path) -> int:
    names = (
        "max_position_embeddings",
        "n_positions",
        "max_seq_len",
        "max_sequence_length",
        "seq_length",
        "n_ctx",
    )
    if all(config.get(name) is None for name in names):
        return CONTEXT_WITHOUT_LIMIT
    return _number(config, folder, *names, maximum=1 << 30)


def _name(folder: Path) -> str:
    resolved = folder.resolve()
    # the Hub's cache: models--owner--name/snapshots/<commit>
    if resolved.parent.name == "snapshots" and resolved.parents[1].name.startswith("models--"):
        return resolved.parents[1].name.removeprefix("models--").replace("--", "/")
    return resolved.name or str(resolved)


def _parameters(config: dict[str, Any], tensors: Mapping[str, TensorEntry]) -> int:
    count = sum(entry.count for entry in tensors.values())
    if config.get("tie_word_embeddings") is True and any(n in tensors for n in _EMBEDDINGS):
        # a file may hold the head although it is tied to the embeddings
        count -= sum(tensors[name].count for name in tensors if name == "lm_head.weight")
    return count


def _dominant_type(tensors: Mapping[str, TensorEntry]) -> str:
    sizes: Counter[str] = Counter()
    for entry in tensors.values():
        sizes[entry.dtype] += entry.bytes
    return sizes.most_common(1)[0][0]


def _capabilities(
    config: dict[str, Any], tensors: Mapping[str, TensorEntry]
) -> tuple[frozenset[Capability], dict[Capability, str]]:
    missing: dict[Capability, str] = {}
    types = config.get("layer_types")
    layer_types = {t for t in types if isinstance(t, str)} if isinstance(types, list) else set()
    if config["model_type"] in _COPIED_STATE:
        missing["tree"] = "its layers are recurrent"
    elif _RECURRENT_TYPE.search(config["model_type"]) or any(
        _RECURRENT_LAYER.search(t) for t in layer_types
    ):
        missing["rewind"] = missing["tree"] = "it has recurrent layers, whose state cannot go back"
    elif layer_types - {"full_attention", "sliding_attention", "chunked_attention"}:
        missing["rewind"] = missing["tree"] = "it has layers that adec does not know"
    elif _has_window(config, layer_types):
        missing["tree"] = "its attention has a sliding window"
    elif "model.norm.weight" not in tensors or not any(
        name.startswith("model.layers.0.") for name in tensors
    ):
        missing["tree"] = "its layers are not named as Llama's are"
    why = _why_no_layers(config, layer_types, missing)
    if why is not None:
        # where nothing is scaled between embeddings and layers, vectors may stand for tokens, too
        missing["layers"] = missing["vectors"] = missing["pseudo"] = why
    every: frozenset[Capability] = frozenset({"rewind", "tree", "layers", "vectors", "pseudo"})
    return every - missing.keys(), missing


def _why_no_layers(
    config: dict[str, Any], layer_types: set[str], missing: Mapping[Capability, str]
) -> str | None:
    """Why its layers cannot be run one by one; None when they can."""
    recurrent = missing.get("rewind")
    if config["model_type"] in _COPIED_STATE:
        recurrent = missing["tree"]
    if recurrent is not None:
        return recurrent
    if _has_window(config, layer_types):
        return "its attention has a sliding window"
    if config["model_type"] not in _LAYERED_TYPES:
        return f"it is a {config['model_type']}, which adec does not run layer by layer"
    return missing.get("tree")


def _has_window(config: dict[str, Any], layer_types: set[str]) -> bool:
    """Whether some layer attends to a part of the context only."""
    if layer_types:
        return layer_types != {"full_attention"}
    if config.get("attention_chunk_size") is not None:
        return True
    # Qwen's configs name a window and switch it off
    used = config.get("use_sliding_window", True) is not False
    return config.get("sliding_window") is not None and used
