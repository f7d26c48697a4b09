"""What must hold in a GGUF file before llama.cpp may see it.

llama.cpp answers most broken files with an error, but some with an assertion that ends the whole
process. Those are refused here. The checks follow llama_model_base::load_hparams and the graph
builders; `tests/fuzz/fuzz_gguf.py` searches for missing ones.
"""

from __future__ import annotations

from adec.engines.llama.gguf.gguf_values import FLOATS, GgufFile, shown

MAX_LAYERS = 512
MAX_EXPERTS = 1024
MAX_CONTEXT = 1 << 30
MAX_WIDTH = 1 << 20
MAX_HEADS = 1 << 14
MAX_WINDOW = 1 << 24
MAX_HEAD_WIDTH = 1 << 14

DIFFUSION = ("dream", "llada")
"""Architectures of masked diffusion models."""

_ENCODERS = frozenset(
    [
        "bert",
        "modern-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "neo-bert",
        "jina-bert-v2",
        "jina-bert-v3",
        "eurobert",
        "gemma-embedding",
        "llama-embed",
        "t5encoder",
    ]
)
_UNREADABLE = {
    "t5": "is an encoder-decoder model",
    "clip": "holds the vision part of a model",
    "wavtokenizer-dec": "is an audio model",
    "qwen3tts": "is an audio model",
    "pockettts": "is an audio model",
    "eagle3": "is a draft head for another model",
    "dflash": "is a draft head for another model",
    "gemma4-assistant": "is a draft head for another model",
    "llada-moe": "is a diffusion model with experts, which adec does not run yet",
    "rnd1": "is a diffusion model with experts, which adec does not run yet",
}
_KINDS = {
    "mmproj": "holds the vision part of a model",
    "adapter": "is a LoRA adapter",
    "imatrix": "is an importance matrix",
    "vocab": "holds a vocabulary without weights",
}
_WHOLE = "give the GGUF of the language model itself"

_SCALING = frozenset({"none", "linear", "yarn", "longrope"})
# the only architectures whose graphs allow keys and values of different widths
_UNEQUAL_HEADS = frozenset(
    [
        "deepseek2",
        "deepseek2-ocr",
        "deepseek32",
        "deepseek4",
        "glm-dsa",
        "glm5-next",
        "minicpm3",
        "plm",
        "kimi-linear",
        "kimi-k3",
        "mimo2",
        "mistral4",
        "dots3note",
        "bailingmoe3",
        "hy_v4",
        "step35",
        "maple",
    ]
)
# architectures whose graphs assert that RoPE rotates the whole head
_TURNS_WHOLE_HEAD = frozenset(
    [
        "apertus",
        "arcee",
        "arctic",
        "baichuan",
        "chameleon",
        "codeshell",
        "cogvlm",
        "cohere2moe",
        "dbrx",
        "deci",
        "deepseek",
        "dots1",
        "dream",
        "ernie4_5-moe",
        "ernie4_5",
        "exaone-moe",
        "exaone",
        "exaone4",
        "falcon",
        "granite_swa",
        "graniteswitch",
        "granite",
        "grok",
        "grovemoe",
        "hunyuan-moe",
        "hunyuan_vl",
        "hy_v3",
        "internlm2",
        "jais2",
        "llada",
        "llama",
        "llama4",
        "maincoder",
        "mellum",
        "mistral3",
        "olmo",
        "olmo2",
        "olmoe",
        "orion",
        "paddleocr",
        "pangu-embedded",
        "plamo",
        "qwen2",
        "qwen2moe",
        "qwen2vl",
        "qwen3",
        "qwen3moe",
        "qwen3vl",
        "qwen3vlmoe",
        "seed_oss",
        "smallthinker",
        "smollm3",
        "starcoder2",
        "talkie",
        "xverse",
    ]
)
# tensors of several rows that are added, or multiplied element by element
_NOT_MULTIPLIED = (".bias", "_norm.weight", ".ssm_a", ".ssm_d", "conv1d.weight", ".conv.weight")


def refuse_other_kinds(gguf: GgufFile) -> str:
    """The architecture, if this is a whole decoder model. Raises ModelFileError otherwise."""
    kind = gguf.text("general.type")
    if kind in _KINDS:
        gguf.fail(_KINDS[kind], _WHOLE)
    if "adapter.type" in gguf.values:
        gguf.fail(_KINDS["adapter"], _WHOLE)
    architecture = gguf.text("general.architecture")
    if not architecture:
        gguf.fail("does not name its architecture")
    if architecture in _ENCODERS:
        gguf.fail(f"is an embedding model ({architecture})", "a model that writes text is needed")
    if architecture in _UNREADABLE:
        gguf.fail(f"{_UNREADABLE[architecture]} ({architecture})", _WHOLE)
    both_ways = gguf.flag(f"{architecture}.attention.causal") is False
    if both_ways and architecture not in DIFFUSION:
        gguf.fail("reads in both directions", "a model that writes from left to right is needed")
    return architecture


def check_model(gguf: GgufFile, architecture: str, *, recurrent: bool) -> None:
    """Raise ModelFileError when a hyperparameter or a tensor would crash llama.cpp."""
    model = _Model(gguf, architecture)
    model.check_sizes()
    model.check_experts()
    model.check_heads(recurrent)
    model.check_numbers()
    _check_tensors(gguf)


class _Model:
    def __init__(self, gguf: GgufFile, architecture: str) -> None:
        self.gguf, self.prefix = gguf, architecture
        self.layers = self.between("block_count", 1, MAX_LAYERS)

    def between(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A hyperparameter in [low, high]; one without a default must be present."""
        value = self.gguf.integer(f"{self.prefix}.{key}")
        if value is None:
            if default is None:
                self.gguf.fail(f"lacks {shown(f'{self.prefix}.{key}')}")
            return default
        if not low <= value <= high:
            self.gguf.fail(f"has {shown(f'{self.prefix}.{key}')} = {value}, not {low} to {high}")
        return value

    def per_layer(self, key: str, high: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """A hyperparameter given once or per layer, each 0 to `high`; a value per layer."""
        name = f"{self.prefix}.{key}"
        value = self.gguf.values.get(name)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            numbers = (value,) * self.layers
        else:
            array = self.gguf.array(name)
            if array is None or array.type not in (4, 5, 7) or array.count != self.layers:
                self.gguf.fail(f"has {shown(name)} neither once nor once per layer")
            numbers = tuple(int(number) for number in array.numbers())
        if not all(0 <= number <= high for number in numbers):
            self.gguf.fail(f"has {shown(name)} outside 0 to {high}")
        return numbers

    def check_sizes(self) -> None:
        self.between("context_length", 1, MAX_CONTEXT)
        self.width = self.between("embedding_length", 1, MAX_WIDTH)
        self.between("nextn_predict_layers", 0, self.layers - 1, 0)
        self.per_layer("feed_forward_length", 1 << 24, ())

    def check_experts(self) -> None:
        experts = self.between("expert_count", 0, MAX_EXPERTS, 0)
        used = max(self.per_layer("expert_used_count", experts, (0,)))
        groups = self.between("expert_group_count", 0, max(0, experts - 1), 0)
        if (experts > 0) != (used > 0):
            self.gguf.fail(f"has {experts} experts and uses {used} of them")
        if groups > 1:
            self.between("expert_group_used_count", 1, groups - 1)
            if experts % groups:
                self.gguf.fail(f"has {experts} experts in {groups} groups")

    def check_heads(self, recurrent: bool) -> None:
        heads = self.per_layer("attention.head_count", MAX_HEADS, ())
        shared = self.per_layer("attention.head_count_kv", MAX_HEADS, heads)
        if not heads:
            if not recurrent:
                self.gguf.fail("lacks its number of attention heads")
            return
        for count, count_kv in zip(heads, shared, strict=True):
            # a hybrid has layers without attention
            if count == 0 and count_kv == 0 and (recurrent or self.prefix == "deci"):
                continue
            if count == 0 or (count_kv == 0 and not recurrent) or (count_kv and count % count_kv):
                self.gguf.fail(f"has {count} attention heads that share {count_kv} keys")
        first = heads[0] or max(heads)
        if not first:
            return
        key = value = rotated = self.width // first
        if not key:
            self.gguf.fail(f"has {first} attention heads in a width of {self.width}")
        # the second round is for sliding-window layers, which inherit what they do not set
        for suffix in ("", "_swa"):
            key = self.between(f"attention.key_length{suffix}", 1, MAX_HEAD_WIDTH, key)
            value = self.between(f"attention.value_length{suffix}", 1, MAX_HEAD_WIDTH, value)
            if key != value and self.prefix not in _UNEQUAL_HEADS:
                self.gguf.fail(f"has attention keys of width {key} and values of width {value}")
            rotated = key if not suffix else rotated
            rotated = self.between(
                f"rope.dimension_count{suffix}", 0 if recurrent else 2, key, min(rotated, key)
            )
            if rotated % 2:
                self.gguf.fail(f"rotates {rotated} numbers of each head, an odd count")
            if self.prefix in _TURNS_WHOLE_HEAD and rotated != key:
                self.gguf.fail(f"rotates {rotated} numbers of each head, not {key}")
        self.per_layer("attention.sliding_window", MAX_WINDOW, ())

    def check_numbers(self) -> None:
        scaling = self.gguf.text(f"{self.prefix}.rope.scaling.type")
        if scaling is not None and scaling not in _SCALING:
            self.gguf.fail(f"has the unknown rope scaling {shown(scaling)}")
        for key, value in self.gguf.values.items():
            if self.gguf.types[key] in FLOATS and isinstance(value, float):
                positive = key.endswith(("epsilon", "rope.freq_base", "rope.freq_base_swa"))
                if (value < 0 and (positive or "rope" in key)) or (
                    value == 0 and "freq_base" in key
                ):
                    self.gguf.fail(f"has {shown(key)} = {value}")


def _check_tensors(gguf: GgufFile) -> None:
    embedding = gguf.tensors.get("token_embd.weight")
    if embedding is None:
        gguf.fail("has no token embedding", _WHOLE)
    tokens = gguf.array("tokenizer.ggml.tokens")
    rows = embedding.elements // embedding.shape[0]
    if tokens is not None and rows != tokens.count:
        gguf.fail(f"has {tokens.count} tokens, but embeddings of {rows}")
    for tensor in gguf.tensors.values():
        # ggml's CPU kernels abort on a vector operand that is not float32
        vector = tensor.elements == tensor.shape[0] or tensor.name.endswith(_NOT_MULTIPLIED)
        if vector and tensor.type not in ("F32", "I32"):
            gguf.fail(f"has the vector {shown(tensor.name)} as {tensor.type}, not F32")
        if tensor.type == "I32" and "tid2eid" not in tensor.name:
            gguf.fail(f"has the weights {shown(tensor.name)} as integers")
