"""The header of a GGUF model: its sizes, its vocabulary, and what its engine will be able to do.

Nothing here imports llama.cpp, so a hostile file is refused before any C code sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from adec.engines.base import CanvasFacts, Capability, ModelHeader, ModelInfo
from adec.engines.canvas_model import CANVAS, MISSING
from adec.engines.llama.gguf.gguf_checks import DIFFUSION, check_model, refuse_other_kinds
from adec.engines.llama.gguf.gguf_split import read_model
from adec.engines.llama.gguf.gguf_values import GgufFile
from adec.engines.llama.gguf.gguf_vocabulary import TOKENS, read_vocabulary
from adec.engines.vocabularies.vocabulary import Vocabulary

# llm_arch_is_recurrent and llm_arch_is_hybrid of llama.cpp's llama-arch.cpp
_RECURRENT = frozenset(["mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"])
_HYBRID = frozenset(
    [
        "jamba",
        "falcon-h1",
        "plamo2",
        "granitehybrid",
        "lfm2",
        "lfm2moe",
        "nemotron_h",
        "nemotron_h_moe",
        "qwen3next",
        "kimi-linear",
        "bailingmoe3",
        "kimi-k3",
        "glm5-next",
        "qwen35",
        "qwen35moe",
        "qwen4exp",
        "deepseek4",
        "minimax-01",
    ]
)
# keys that only models with a recurrent state have, for architectures newer than the lists
_STATE_KEYS = (".ssm.", ".wkv.", ".shortconv.", ".kda.")

ON_TORCH = ("llama", "qwen2", "qwen3")
"""Architectures that `engines/torch/from_gguf` runs, too; transformers calls them alike."""
EMBEDDINGS = "token_embd.weight"
_BLOCKS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
ROW_FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {"F32": "", "F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}
    | {kind: f"dequantize_row_{kind[0].lower()}{kind[1:]}" for kind in _BLOCKS}
    | {"IQ4_NL": "dequantize_row_iq4_nl", "IQ4_XS": "dequantize_row_iq4_xs"}
)
"""By the type of a tensor, ggml's function that turns a row of it into floats; none for floats."""
_WHOLE = "it runs on llama.cpp, which runs all layers of a token at once"
_NO_RULE = (
    "it names no pre-tokenizer (tokenizer.ggml.pre), so texts may be split in a way that it was not"
    " trained on; convert it anew"
)

# a recipe mixes types, so general.file_type says more than the tensors do
_RECIPES = {
    10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 21: "Q2_K_S",
}  # fmt: skip


def read_gguf_header(path: Path) -> ModelHeader:
    """Read and judge a GGUF file without loading weights.

    Raises ModelFileError when the file is broken, hostile, a part of a model, or no model that
    writes text; OSError when it cannot be read.
    """
    return header_of(read_model(path, keep=(TOKENS,)))


def header_of(
    gguf: GgufFile, vocabulary_of: Callable[[GgufFile], Vocabulary] = read_vocabulary
) -> ModelHeader:
    """The header of a parsed file that kept its `TOKENS`. Raises ModelFileError."""
    path = gguf.path
    architecture = refuse_other_kinds(gguf)
    state = _running_state(gguf, architecture)
    canvas = canvas_facts(gguf) if architecture in DIFFUSION else None
    vocabulary = vocabulary_of(gguf)
    check_model(gguf, architecture, recurrent=state is not None)
    info = ModelInfo(
        name=(gguf.text("general.name") or path.stem)[:120],
        path=path,
        format="gguf",
        architecture=architecture,
        layers=gguf.integer(f"{architecture}.block_count") or 0,
        parameters=sum(tensor.elements for tensor in gguf.tensors.values()),
        vocabulary=len(vocabulary),
        context_limit=gguf.integer(f"{architecture}.context_length") or 0,
        bytes=gguf.size,
        quantisation=_quantisation(gguf),
    )
    remarks = (_NO_RULE,) if vocabulary.kind == "gpt2" and vocabulary.pre_tokenizer is None else ()
    if canvas is not None:
        return ModelHeader(info, vocabulary, CANVAS, MISSING, remarks, canvas)
    if state is not None:
        missing: dict[Capability, str] = {
            "tree": state,
            "layers": _WHOLE,
            "vectors": state,
            "pseudo": _WHOLE,
        }
        return ModelHeader(info, vocabulary, frozenset({"rewind"}), missing, remarks)
    # sliding-window models, too: the engine keeps the whole cache (swa_full), so that nothing a
    # rewind needs has slid out
    whole = f"{_WHOLE}; --engine torch runs them singly" if architecture in ON_TORCH else _WHOLE
    lacking: dict[Capability, str] = {"layers": whole, "pseudo": whole}
    able: set[Capability] = {"rewind", "tree"}
    vectors = _why_no_vectors(gguf, architecture)
    if vectors is None:
        able.add("vectors")
    else:
        lacking["vectors"] = vectors
    return ModelHeader(info, vocabulary, frozenset(able), lacking, remarks)


def _why_no_vectors(gguf: GgufFile, architecture: str) -> str | None:
    """Why vectors cannot stand for tokens; None when they can.

    llama.cpp's graphs of some architectures (gemma3, deepseek2) treat rows that are given otherwise
    than those that they look up. Those of `ON_TORCH` do not.
    """
    if architecture not in ON_TORCH:
        return f"a {architecture} on llama.cpp may read vectors otherwise than tokens"
    tensor = gguf.tensors.get(EMBEDDINGS)
    width = gguf.integer(f"{architecture}.embedding_length")
    if tensor is None or tensor.type not in ROW_FUNCTIONS or tensor.shape[:1] != (width,):
        return "its embeddings are of a type that adec does not turn into numbers"
    return None


def canvas_facts(gguf: GgufFile) -> CanvasFacts:
    """Mask and shift of a masked diffusion model. Raises ModelFileError when one is not known."""
    architecture = gguf.text("general.architecture")
    mask = gguf.integer("tokenizer.ggml.mask_token_id")
    tokens = gguf.array(TOKENS)
    if mask is None or tokens is None or not 0 <= mask < tokens.count:
        gguf.fail(
            "names no mask token (tokenizer.ggml.mask_token_id)",
            "a diffusion model cannot run without it; convert it anew",
        )
    shift = gguf.flag("diffusion.shift_logits")
    if shift is None and architecture != "dream":
        gguf.fail(
            "does not say which row scores a position (diffusion.shift_logits)", "convert it anew"
        )
    # Dream's logits are shifted, and llama.cpp takes that for the rule
    return CanvasFacts(mask, shift=shift is not False)


def _running_state(gguf: GgufFile, architecture: str) -> str | None:
    """Why the sequence goes back by a copy of its state; None when it can be cut."""
    if architecture in _RECURRENT:
        return "its layers are recurrent"
    state_keys = any(
        key.startswith(architecture) and mark in key for key in gguf.values for mark in _STATE_KEYS
    )
    return "some of its layers are recurrent" if architecture in _HYBRID or state_keys else None


def _quantisation(gguf: GgufFile) -> str:
    """The type of most weights, or the recipe's name where the two agree."""
    elements: dict[str, int] = {}
    for tensor in gguf.tensors.values():
        elements[tensor.type] = elements.get(tensor.type, 0) + tensor.elements
    main = max(elements, key=lambda kind: elements[kind])
    file_type = gguf.values.get("general.file_type")
    recipe = _RECIPES.get(file_type, "") if isinstance(file_type, int) else ""
    return recipe if recipe.startswith(main) else main
