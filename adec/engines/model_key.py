"""The name under which a measurement of one model on this machine is kept in the cache."""

from __future__ import annotations

import hashlib
import platform

from adec.engines.base import LoadedModel, ModelHeader, ModelInfo


def model_key(model: LoadedModel | ModelHeader, *more: str) -> str:
    """Letters and digits that differ for other models, other machines, and other `more`."""
    return key_of_info(model.info, *more)


def key_of_info(info: ModelInfo, *more: str) -> str:
    """The same of what a header says."""
    parts = (
        info.name,
        info.format,
        info.architecture,
        info.quantisation,
        str(info.bytes),
        str(info.parameters),
        platform.node(),
        platform.machine(),
        *info.servers,
        *more,
    )
    return key_of(*parts)


def key_of(*parts: str) -> str:
    """Letters and digits that differ for other parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
