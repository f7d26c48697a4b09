"""The chart of the front as a picture: SVG, or PNG by resvg, which an extra installs."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from adec.errors import AdecError, UsageError
from adec.whole_file import whole_file

ZOOM = 2
"""Pixels of a PNG for each unit of the SVG."""


def check_pictures(svg: Path | None, png: Path | None) -> None:
    """Raise UsageError when a picture cannot be written: better before minutes of measuring than
    after."""
    if png is not None:
        _renderer()
    for path in (svg, png):
        if path is None:
            continue
        try:
            if path.is_dir():
                raise IsADirectoryError(21, "is a folder")
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"the picture {path} cannot be written: {reason}") from error


def write_pictures(text: str, svg: Path | None, png: Path | None) -> None:
    """Write an SVG's text to either or both, whole or not at all. Raises AdecError."""
    try:
        if svg is not None:
            with whole_file(svg) as file:
                file.write(text)
        if png is not None:
            data = bytes(_renderer().svg_to_bytes(svg_string=text, zoom=ZOOM))
            with whole_file(png) as file:
                file.buffer.write(data)
    except (OSError, ValueError) as error:
        raise AdecError(f"the picture cannot be written: {error}") from error


def _renderer() -> Any:
    try:
        return importlib.import_module("resvg_py")
    except ImportError:
        raise UsageError(
            "a PNG needs a renderer that is not installed",
            hint="install it with pip install 'adec[png]', or take --svg",
        ) from None
