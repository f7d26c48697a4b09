"""Files that `adec inspect` writes: whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from adec.errors import UsageError


def write_whole(path: Path, text: str) -> None:
    """Put `text` in place of what `path` held before; a failure leaves that as it was.

    What is no regular file (`/dev/stdout`, a pipe) is written to as it is. Raises UsageError.
    """
    data = text.encode("utf-8", errors="replace")
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            path.write_bytes(data)
            return
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.")
        fresh = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            # as open() would have made it; mkstemp is for the owner alone
            mask = os.umask(0)
            os.umask(mask)
            fresh.chmod(0o666 & ~mask)
            fresh.replace(path)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
