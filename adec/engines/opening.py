"""From a path to a model: which backend reads it, its header, and the loaded engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from adec.engines.base import Engine, EngineName, Format, ModelHeader, OpenOptions
from adec.engines.llama import GGUF
from adec.engines.pair import Engines, differences, translation
from adec.engines.remote import REMOTE, REMOTE_NAME
from adec.engines.torch import FOLDER
from adec.engines.torch.from_gguf import GGUF_ON_TORCH
from adec.engines.vocabularies.translated import TranslatedEngine
from adec.errors import ModelFileError
from adec.events.records import Role

FORMATS: tuple[Format, ...] = (GGUF, FOLDER, GGUF_ON_TORCH, REMOTE)
"""The first that fits a path reads it; a new backend adds an entry."""

SPIN_BRIEFLY = 100_000_000
"""Parameters from which threads that wait for each other spin briefly only, since another program
may need the core. Forwards of smaller models are so short that it shows: 10 % at 33 million."""


def read_header(path: Path, engine: EngineName | None = None) -> ModelHeader:
    """The header of the model at `path`; no weights are loaded.

    `engine`: the backend that is to run it; None: the first that reads it.
    Raises ModelFileError when no format fits, or when the model is broken or hostile.
    """
    try:
        for format in FORMATS:
            if engine in (None, format.engine) and format.fits(path):
                return format.read_header(path)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    if engine is not None and path.exists():
        raise ModelFileError(
            f"{path} is nothing that {engine} runs", hint="leave --engine out, or give a GGUF file"
        )
    raise ModelFileError(f"{path} is neither a file nor a folder")


def engine_of(header: ModelHeader) -> EngineName | None:
    """The backend that runs the model of a header; None where nobody asks for it by name."""
    return {format.name: format.engine for format in FORMATS}.get(header.info.format)


def read_distant_header(name: str, beside: ModelHeader | None = None) -> ModelHeader:
    """The header of the model at an address; `beside` is the small model, whose vocabulary is used.

    It asks the server. Raises UsageError for a bad address, RemoteError when the server fails.
    """
    from adec.engines.remote.remote_header import read_remote_header

    return read_remote_header(name, beside)


def open_engine(header: ModelHeader, options: OpenOptions) -> Engine:
    """Load the weights. Raises EngineError when the backend refuses or memory does not suffice."""
    opens = {format.name: format.open for format in FORMATS}
    return opens[header.info.format](header, options)


def beside_large(header: ModelHeader, options: OpenOptions) -> OpenOptions:
    """How a model beside the large one is opened: here, and with a context that it has."""
    context = options.context
    if context is not None:
        # --ctx is said of the large model; a smaller one holds what it can
        context = min(context, header.info.context_limit)
    return replace(options, context=context, rpc=())


def devices() -> list[str]:
    """The devices that each backend could use, a line each. Imports every backend."""
    return [line for format in FORMATS for line in format.devices()]


def open_engines(models: Mapping[Role, ModelHeader], options: OpenOptions) -> Engines:
    """Load a model for each role; when one fails, those before it are freed.

    Next to "large" the others read and score its ids: see `adec.engines.vocabularies.translated`.
    One of another vocabulary keeps its own: see `adec.engines.vocabularies.retokenise`.
    """
    if min(header.info.parameters for header in models.values()) >= SPIN_BRIEFLY:
        # read once, when a backend loads its OpenMP
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    opened: dict[Role, Engine] = {}
    try:
        for role, header in models.items():
            own = options if role == "large" else beside_large(header, options)
            opened[role] = engine = open_engine(header, own)
            if role != "large" and "large" in models:
                large = models["large"].vocabulary
                if differences(header.vocabulary, large):
                    continue
                terms = translation(header.vocabulary, large)
                if terms.barred:
                    opened[role] = TranslatedEngine(engine, terms)
        if any(header.info.format == REMOTE_NAME for header in models.values()):
            _lend_tokenizer(opened)
    except BaseException:
        Engines(**opened).close()
        raise
    return Engines(**opened)


def _lend_tokenizer(opened: Mapping[Role, Engine]) -> None:
    """A model behind an address has none of its own beside a model here."""
    from adec.engines.remote.server_engine import ServerEngine

    large = opened.get("large")
    if isinstance(large, ServerEngine) and "small" in opened:
        large.borrow_tokenizer(opened["small"])
