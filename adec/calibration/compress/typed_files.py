"""A model in every type that llama.cpp quantises to, and files of tensors taken from these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from adec.calibration.compress.known_texts import KnownText, TextLoss, read_again
from adec.calibration.compress.mixed_types import Choices, Types
from adec.engines.base import Engine, OpenOptions
from adec.engines.llama.gguf.gguf_copy import text_pair, write_gguf
from adec.engines.llama.gguf.gguf_reader import read_gguf
from adec.engines.llama.gguf.gguf_split import read_model
from adec.engines.llama.gguf.gguf_values import GgufFile, Tensor
from adec.engines.llama.quantiser import MIXES, PURE, quantise
from adec.engines.opening import open_engine, read_header
from adec.errors import ModelFileError

Progress = Callable[[float], None]


class TypedFiles:
    """The tensors of a model, each in all types that it may have."""

    def __init__(self, source: Path, folder: Path, mix: str, threads: int, tick: Progress) -> None:
        """Quantise `source` into `folder` in every type, and as llama.cpp's `mix`.

        Raises EngineError, ModelFileError.
        """
        self.source = read_model(source)
        self._folder = folder
        self._written = 0
        files: list[GgufFile] = []
        for number, (name, kind) in enumerate(PURE.items()):
            tick(number / (len(PURE) + 1))
            to = folder / f"{name}.gguf"
            quantise(source, to, kind, pure=True, threads=threads)
            files.append(read_gguf(to))
        tick(len(PURE) / (len(PURE) + 1))
        self.mix_path = folder / "mix.gguf"
        quantise(source, self.mix_path, MIXES[mix], pure=False, threads=threads)
        self.mix = read_gguf(self.mix_path)
        self._header = files[0]
        self.names: list[str] = []
        """Of the tensors that have more than one type."""
        self.tensors: list[list[Tensor]] = []
        """Theirs, by type, smallest first."""
        self.fixed: list[Tensor] = []
        """All others."""
        for name, own in self.source.tensors.items():
            # where the model's own type is as small as another one, it loses nothing
            found = {own.bytes: own}
            for file in [*files, self.mix]:
                tensor = file.tensors.get(name)
                if tensor is None or tensor.shape != own.shape:
                    raise ModelFileError(f"{file.path.name} lacks {name}, which {source} has")
                found.setdefault(tensor.bytes, tensor)
            rising = [found[size] for size in sorted(found)]
            if len(rising) == 1:
                self.fixed.append(own)
            else:
                self.names.append(name)
                self.tensors.append(rising)

    def choices(self, bits: float | None) -> Choices:
        """What fits `bits` a weight, norms and all; None: as many as the mix has.

        Raises ModelFileError where no choice does.
        """
        weights = sum(tensor.elements for tensor in self.source.tensors.values())
        whole = _bytes(self.mix) if bits is None else int(bits * weights / 8)
        budget = whole - sum(tensor.bytes for tensor in self.fixed)
        sizes = tuple(tuple(tensor.bytes for tensor in each) for each in self.tensors)
        choices = Choices(sizes, budget)
        if choices.smallest > budget:
            least = 8 * (choices.smallest + whole - budget) / weights
            raise ModelFileError(
                f"{self.source.path.name} takes {least:.2f} bits a weight at least: the rows of "
                "some tensors fit no smaller type",
                hint=f"--bits {least + 0.1:.1f} or more",
            )
        return choices

    def of_source(self) -> Types:
        """The model's own types."""
        return self._nearest(self.source)

    def of_mix(self) -> Types:
        """The types of llama.cpp's mix."""
        return self._nearest(self.mix)

    def _nearest(self, file: GgufFile) -> Types:
        """By tensor, the type whose size is nearest to that of the file's."""
        return tuple(
            min(range(len(each)), key=lambda kind: abs(each[kind].bytes - file.tensors[name].bytes))
            for name, each in zip(self.names, self.tensors, strict=True)
        )

    def bits(self, types: Types) -> float:
        """Bits a weight of all tensors."""
        chosen = [each[kind] for each, kind in zip(self.tensors, types, strict=True)]
        every = [*chosen, *self.fixed]
        return 8 * sum(t.bytes for t in every) / sum(t.elements for t in every)

    def write(self, types: Types, to: Path, progress: Progress = lambda share: None) -> None:
        """Write the file with these types. Raises ModelFileError, OSError."""
        chosen = {
            name: each[kind]
            for name, each, kind in zip(self.names, self.tensors, types, strict=True)
        }
        fixed = {tensor.name: tensor for tensor in self.fixed}
        tensors = [chosen.get(name) or fixed[name] for name in self.source.tensors]
        name = self.source.text("general.name") or self.source.path.stem
        changed = {
            "general.file_type": None,  # llama.cpp tells it from the tensors
            "general.name": text_pair(
                "general.name", f"{name} ({self.bits(types):.2f} bits a weight)"
            ),
        }
        write_gguf(self._header, to, tensors, changed, progress)

    def fresh_path(self) -> Path:
        """Where a candidate may lie."""
        self._written += 1
        return self._folder / f"candidate-{self._written}.gguf"


class Candidates:
    """Candidates as models: written, opened, and gone when the next one is asked for."""

    def __init__(self, files: TypedFiles, options: OpenOptions, texts: list[KnownText]) -> None:
        self._files = files
        longest = max(len(text.tokens) for text in texts)
        self._options = replace(options, context=longest + 1)
        self._texts = texts
        self._types: Types | None = None
        self._engine: Engine | None = None
        self._path: Path | None = None

    def lost(self, types: Types, index: int) -> TextLoss:
        """What a candidate loses on a text."""
        if types != self._types or self._engine is None:
            self.close()
            self._path = self._files.fresh_path()
            self._files.write(types, self._path)
            self._engine = open_engine(read_header(self._path), self._options)
            self._types = types
        return read_again(self._engine, self._texts[index])

    def close(self) -> None:
        """Free the model and remove its file."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def words_of(types: Types) -> str:
    """How a journal names a candidate."""
    return hashlib.sha256(bytes(types)).hexdigest()[:24]


def _bytes(file: GgufFile) -> int:
    return sum(tensor.bytes for tensor in file.tensors.values())
