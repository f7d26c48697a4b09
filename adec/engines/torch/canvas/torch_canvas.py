"""Masked diffusion folders on torch: a canvas whose keys and values are reused place by place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.canvas_model import CanvasModel
from adec.engines.torch.canvas.canvas_module import CanvasModule, KeptStates, load_canvas
from adec.engines.torch.folder_vocabulary import FolderTokenizer
from adec.engines.torch.torch_engine import context_of, device_of, dtype_of
from adec.engines.torch.torch_weights import Weights, engine_error
from adec.errors import EngineError


class TorchCanvas(CanvasModel):
    """One model folder and one canvas; see `adec.engines.protocols.CanvasEngine`."""

    reuses = True

    def __init__(self, header: ModelHeader, options: OpenOptions, weights: Weights) -> None:
        super().__init__(
            header,
            FolderTokenizer(header.info.path, header.vocabulary),
            context=context_of(header, options),
        )
        self._weights = weights
        self._module = cast(CanvasModule, weights.module)
        self._device = self._module.embed_tokens.weight.device
        self._options = options
        self._kept = KeptStates()
        self.threads = options.batch_threads or options.threads

    @classmethod
    def open(cls, header: ModelHeader, options: OpenOptions) -> TorchCanvas:
        """Load the weights, or share those loaded on the same device in the same type.

        Raises EngineError when the device is missing, memory runs out or weights are missing.
        """
        if options.context is not None and options.context < 0:
            raise EngineError(f"a context of {options.context} tokens holds nothing")
        device = device_of(options.device)
        dtype = dtype_of(options.dtype, device)
        weights = Weights.load(header.info.path, device, dtype, load_canvas)
        try:
            return cls(header, options, weights)
        except BaseException:
            weights.release()
            raise

    def _rows(
        self, canvas: Sequence[int], rows: Sequence[int], refresh: Sequence[int] | None
    ) -> NDArray[np.float32]:
        kept, size = self._kept, len(canvas)
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                computed = range(size) if refresh is None else sorted({*refresh, *rows})
                places = torch.tensor(computed, device=self._device)
                ids = torch.tensor([canvas[place] for place in computed], device=self._device)
                index = {place: at for at, place in enumerate(computed)}
                wanted = torch.tensor([index[row] for row in rows], device=self._device)
                kept.size, kept.places, kept.stored = size, None, None
                if refresh is not None:
                    kept.places = places
                    if len(refresh) < len(computed):
                        kept.stored = torch.tensor(
                            [index[place] for place in refresh],
                            device=self._device,
                            dtype=torch.long,
                        )
                logits = self._module(ids[None], places, wanted.long(), kept)
                # a copy on the CPU, which the caller may write to
                result: NDArray[np.float32] = logits.cpu().numpy().copy()
                return result
        except Exception as error:
            raise engine_error(f"{self.info.name} failed", error) from error

    def _batch_rows(
        self, canvases: Sequence[Sequence[int]], rows: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        size = len(canvases[0])
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                ids = torch.tensor([list(canvas) for canvas in canvases], device=self._device)
                places = torch.arange(size, device=self._device)
                flat = [at * size + row for at, asked in enumerate(rows) for row in asked]
                wanted = torch.tensor(flat, device=self._device, dtype=torch.long)
                logits = self._module(ids, places, wanted, KeptStates()).cpu().numpy()
        except Exception as error:
            raise engine_error(f"{self.info.name} failed", error) from error
        ends = np.cumsum([len(asked) for asked in rows])[:-1]
        return [np.array(part) for part in np.split(logits, ends)]

    def _drop(self) -> None:
        self._kept.clear()

    def _free(self) -> None:
        self._drop()
        self._weights.release()
        del self._module
        self._weights.module = None
