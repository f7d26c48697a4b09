"""The contract of an engine: one loaded model and one sequence that can be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from adec.engines.vocabulary import Tokenizer, Vocabulary
from adec.signals import Scores
from adec.tree import TokenTree

Capability = Literal["rewind", "tree", "layers", "hidden", "canvas"]
"""rewind: the sequence can be cut back. tree: several continuations in one forward. layers, hidden, canvas: later families."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is, known from its header."""

    name: str
    path: Path
    format: Literal["gguf", "safetensors", "table"]
    architecture: str
    layers: int
    parameters: int
    vocabulary: int
    context_limit: int
    bytes: int
    quantisation: str


@dataclass(frozen=True)
class ModelHeader:
    """A model before its weights are loaded: enough to say whether a job can be done."""

    info: ModelInfo
    vocabulary: Vocabulary
    capabilities: frozenset[Capability]
    missing: Mapping[Capability, str] = field(default_factory=dict)
    """For a capability that is not there, the reason in half a sentence: "its layers are recurrent"."""


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to load. None leaves the choice to the engine."""

    context: int | None = None
    """Tokens of context to reserve; None: the model's own limit, at most 8192."""
    threads: int | None = None
    """For a forward of one token; None: the physical cores this process may use."""
    batch_threads: int | None = None
    """For a forward of several; None: as `threads`."""
    gpu_layers: int = 0
    """llama.cpp only; -1 for all."""
    mmap: bool = True
    branches: int = 8
    """Leaves that a token tree may have at most, 1 to 64."""
    device: str | None = None
    """torch only: "cpu", "cuda", "cuda:1", "mps"; None: cuda when there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """torch only; None: float32 on the CPU, the checkpoint's own elsewhere."""


class Engine(Protocol):
    """One loaded model and one rewindable sequence of token ids.

    Not thread-safe. Every method raises EngineError when the backend fails, when a token id is outside
    the vocabulary, or when the context would overflow; the sequence is then as it was before the call.
    While a tree is pending (after `forward_tree`, before `keep`) only `keep`, `rewind`, `close` and a `forward_tree` that grows it are
    allowed; `rewind` drops the tree, and so does a growth that fails in the backend.
    """

    @property
    def info(self) -> ModelInfo: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    @property
    def context(self) -> int:
        """Tokens that the sequence may hold."""
        ...

    @property
    def length(self) -> int:
        """Tokens in the cache now. A pending tree does not count."""
        ...

    @property
    def branches(self) -> int:
        """Leaves that a tree may have at most."""
        ...

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """Append `tokens` (at least one) and return the scores after each of the last `rows` of them.

        0 <= rows <= len(tokens). Row k predicts the token that follows tokens[len(tokens) - rows + k].
        Longer inputs than the backend's batch are cut into several forwards inside.
        """
        ...

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """Run every node of `tree` after the trunk; scores of the nodes from `first_row` on.

        A node sees the trunk, its ancestors and itself, and nothing else. `length` does not change until
        `keep`. While a tree is pending, `tree` must begin with it, node by node: what is new is run alone, and `first_row` must
        lie behind the nodes that are there already.
        """
        ...

    def keep(self, path: Sequence[int]) -> None:
        """Append the nodes of `path` (indices of the pending tree, from the top down; may be empty) and forget the others."""
        ...

    def rewind(self, length: int) -> None:
        """Cut the sequence to `length` tokens, 0 <= length <= self.length; drops a pending tree."""
        ...

    def close(self) -> None:
        """Free the memory. Calling it twice is harmless; calling anything else afterwards is an EngineError."""
        ...
