"""The contract of an engine: one loaded model and one sequence that can be taken back.

What some engines offer beyond it stands in `adec.engines.protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from adec.engines.vocabularies.vocabulary import Tokenizer, Vocabulary
from adec.events.records import ThreadChange
from adec.signals import Scores
from adec.tree import TokenTree

Capability = Literal["rewind", "tree", "layers", "vectors", "pseudo", "canvas", "text"]
"""What an engine can do.

"rewind": cut the sequence back. "tree": run several continuations in one forward. The others stand
for the protocols of `adec.engines.protocols`. An engine declares what it implements, and nothing
else.
"""


EngineName = Literal["llama", "torch"]
"""A backend that a person may ask for: llama.cpp or torch."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is, known from its header."""

    name: str
    path: Path
    format: str
    """The name of the `Format` that reads it."""
    architecture: str
    layers: int
    parameters: int
    vocabulary: int
    context_limit: int
    bytes: int
    quantisation: str
    servers: tuple[str, ...] = ()
    """Of a loaded model, the machines that run its layers; none where this one does."""
    likeliest: int | None = None
    """How many of a row's tokens its engine tells by id, the likeliest ones; None: all."""


@dataclass(frozen=True, slots=True)
class CanvasFacts:
    """What must be known of a masked diffusion model beside its weights."""

    mask: int
    """The id of the mask token."""
    shift: bool
    """Whether the row at i - 1 scores position i, as in models that were autoregressive first."""
    reuses: bool = False
    """Whether the engine can reuse keys and values."""


@dataclass(frozen=True)
class ModelHeader:
    """A model before its weights are loaded: enough to say whether a job can be done."""

    info: ModelInfo
    vocabulary: Vocabulary
    capabilities: frozenset[Capability]
    missing: Mapping[Capability, str] = field(default_factory=dict)
    """Why a capability is not there, in half a sentence: "its layers are recurrent"."""
    remarks: tuple[str, ...] = ()
    """What its user should know, a clause each: "it names no pre-tokenizer"."""
    canvas: CanvasFacts | None = None
    """Of a masked diffusion model; None: it writes from left to right."""


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to load. None leaves the choice to the engine."""

    context: int | None = None
    """Tokens of context to reserve; None: the model's own limit, at most 8192; 0: all of it."""
    threads: int | None = None
    """For a forward of one token; None: the physical cores this process may use."""
    batch_threads: int | None = None
    """For a forward of several; None: as `threads`."""
    gpu_layers: int = 0
    """llama.cpp only; -1 for all. With `rpc`: layers that go there, where 0 is all too."""
    rpc: tuple[str, ...] | None = None
    """GGUF only: RPC servers for the layers, as IPv4:PORT. None: as a profile says."""
    mmap: bool = True
    adapts: bool = True
    """Whether a number of threads that nobody gave may change while it runs."""
    branches: int = 8
    """Most leaves of a token tree, 1 to 64."""
    device: str | None = None
    """torch only: "cpu", "cuda", "cuda:1", "mps"; None: cuda when there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """torch only; None: the checkpoint's own, and on the CPU float32, or bfloat16 where a
    checkpoint is stored in it and it was measured to be faster."""
    budget_tokens: int | None = None
    """A server only: tokens, read and written, that may be bought of it; None: any number."""


class LoadedModel(Protocol):
    """What every loaded model has, whatever it can do."""

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
        """Most tokens that it holds at once."""
        ...

    def close(self) -> None:
        """Free the memory.

        Calling it twice is harmless; calling anything else afterwards is an EngineError.
        """
        ...


@runtime_checkable
class Engine(LoadedModel, Protocol):
    """One loaded model and one rewindable sequence of token ids.

    Not thread-safe. Every method raises EngineError when the backend fails, when a token id is
    outside the vocabulary, or when the context would overflow. The sequence is then as it was
    before the call; where a recurrent state cannot go back, it is lost, and only `rewind(0)` and
    `close` are allowed.

    While a tree is pending (after `forward_tree`, before `keep`), only `keep`, `rewind`, `close`
    and a `forward_tree` that grows it are allowed. `rewind` drops the tree, and so does a growth
    that fails in the backend.
    """

    @property
    def length(self) -> int:
        """Tokens in the cache now. A pending tree does not count."""
        ...

    def common(self, tokens: Sequence[int]) -> int:
        """How many of `tokens`, from the first one on, are those that the cache begins with."""
        ...

    @property
    def branches(self) -> int:
        """Most leaves of a tree."""
        ...

    @property
    def at_once(self) -> int:
        """Most tokens that should go into one forward now; longer ones are cut into several."""
        ...

    @property
    def rewinds_by_reading(self) -> bool:
        """Whether a rewind runs the model again, as where a recurrent state is restored and fed."""
        ...

    @property
    def threads(self) -> int | None:
        """Threads that a forward of one token runs on now; None where that is not known."""
        ...

    @property
    def in_order(self) -> bool:
        """Whether the cache holds the sequence in its order, which rounding may depend on."""
        ...

    @property
    def thread_changes(self) -> Sequence[ThreadChange]:
        """Every change of that number since the engine was opened, oldest first."""
        ...

    @property
    def dtype(self) -> str | None:
        """The number format that it computes in; None where the file alone decides."""
        ...

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """Append `tokens` (at least one); scores after each of the last `rows` of them.

        0 <= rows <= len(tokens); row k predicts what follows tokens[len(tokens) - rows + k]. An
        input longer than the backend's batch is cut into several forwards inside.
        """
        ...

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """Run the nodes of `tree` after the trunk; scores of the nodes from `first_row` on.

        A node sees the trunk, its ancestors and itself, and nothing else. `length` does not change
        until `keep`. A tree with branches needs the capability "tree", a chain only "rewind".

        While a tree is pending, `tree` must begin with it, node by node: only the new nodes are
        run, and `first_row` must lie behind the old ones.
        """
        ...

    def keep(self, path: Sequence[int]) -> None:
        """Append the nodes of `path` to the sequence and drop the rest of the pending tree.

        `path` holds indices of nodes from the top down, each the parent of the next; it may be
        empty.
        """
        ...

    def rewind(self, length: int) -> None:
        """Cut the sequence to `length` tokens, 0 <= length <= self.length; drops a pending tree.

        Every engine can be rewound to 0 and to its own length, the others need "rewind".
        """
        ...


@dataclass(frozen=True)
class Format:
    """A kind of model and the backend that reads it, which is imported at the first call."""

    name: str
    """As in `ModelInfo.format`."""
    fits: Callable[[Path], bool]
    """Whether a path looks like one, judged without opening it."""
    read_header: Callable[[Path], ModelHeader]
    """Raises ModelFileError when the file is broken, hostile or no model, OSError if unreadable."""
    open: Callable[[ModelHeader, OpenOptions], Engine]
    """Loads the weights. Raises EngineError."""
    devices: Callable[[], list[str]]
    """The devices that the backend could use, a line each; or one line that says why it fails."""
    engine: EngineName | None = None
    """The backend, where a person may ask for it by name."""
