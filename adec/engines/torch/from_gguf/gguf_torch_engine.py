"""A GGUF model on torch: the layer engine, with llama.cpp's own tokenizer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adec.engines.base import ModelHeader
from adec.engines.llama.llama_context import LlamaTokenizer, LlamaVocabulary
from adec.engines.torch.folder_files import TensorEntry
from adec.engines.torch.from_gguf.gguf_weights import load_gguf
from adec.engines.torch.from_gguf.torch_layout import read_layout
from adec.engines.torch.pseudo.pseudo_engine import TorchPseudoEngine
from adec.engines.torch.torch_weights import Loader
from adec.engines.vocabularies.vocabulary import Tokenizer

_COARSE = re.compile(r"I?Q[1-8]|TQ|MXFP|BF16")
"""Types from which bfloat16 takes nothing that matters: its own, and those of eight bits or fewer.

llama.cpp itself rounds what it multiplies such weights with to eight bits.
"""


class GgufTorchEngine(TorchPseudoEngine):
    """Weights are turned into floats as they are loaded; see `TorchPseudoEngine`."""

    @classmethod
    def _loader(cls) -> Loader:
        return load_gguf

    def _open_tokenizer(self, header: ModelHeader) -> Tokenizer:
        self._vocabulary_file = LlamaVocabulary(header.info.path)
        return LlamaTokenizer(self._vocabulary_file)

    @classmethod
    def stored(cls, header: ModelHeader) -> tuple[Mapping[str, TensorEntry], bool]:
        """See `TorchEngine.stored`: bfloat16 may be chosen where every matrix is quantised."""
        _, layout = read_layout(header.info.path)
        tensors = {
            name: TensorEntry(source.tensor.type, source.tensor.shape[::-1])
            for name, source in layout.sources.items()
        }
        matrices = [entry for entry in tensors.values() if len(entry.shape) > 1]
        return tensors, all(_COARSE.match(entry.dtype) for entry in matrices)

    def _free(self) -> None:
        self._vocabulary_file.close()
        super()._free()
