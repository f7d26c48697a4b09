"""Files that are written whole or not at all, and files that are read up to a bound."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from adec.errors import ModelFileError


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[TextIO]:
    """A stream that replaces `path` when the block ends. If the block fails, `path` stays as is.

    `private`: for its owner only. Anything but a regular file (`/dev/stdout`, a pipe) is written to
    directly. Raises OSError.
    """
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("w", encoding="utf-8", errors="replace") as stream:
            yield stream
        return
    with _replacing(path, private=private) as raw:
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", write_through=True)
        yield stream
        stream.detach()


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file `path` by these bytes, or leave it as it is. Raises OSError."""
    with _replacing(path) as raw:
        raw.write(content)


@contextmanager
def whole_bytes(path: Path) -> Iterator[BinaryIO]:
    """As `whole_file`, for bytes that come piece by piece. Raises OSError, also for a pipe."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with _replacing(path) as raw:
        yield raw


@contextmanager
def _replacing(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.")
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if not private:
            # the permissions that open() would give; mkstemp's are for the owner only
            mask = os.umask(0)
            os.umask(mask)
            fresh.chmod(0o666 & ~mask)
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise


def check_room(folder: Path, size: int = 1 << 16) -> None:
    """Make the folder, and raise OSError where no file of `size` bytes can be written into it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(size))
        file.flush()


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most `limit` bytes. Raises ModelFileError."""
    try:
        # a pipe or a device could be read without end
        if not path.is_file():
            raise ModelFileError(f"{path} is not a file")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from error
    if len(raw) > limit:
        raise ModelFileError(f"{path} is larger than {limit >> 20} MiB")
    return raw
