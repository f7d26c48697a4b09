"""What lies in place of a model file after a download that was none."""

from __future__ import annotations

from pathlib import Path

from adec.errors import ModelFileError

_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")


def refuse_stand_in(path: Path, head: bytes) -> None:
    """Raise ModelFileError when `head`, a file's first bytes, is a Git LFS pointer or a web page.

    64 bytes suffice.
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise ModelFileError(
            f"{path} is a Git LFS pointer, not the file itself",
            hint="fetch the file with git lfs pull",
        )
    if start.startswith(_PAGES):
        raise ModelFileError(
            f"{path} is a web page, not a model",
            hint="download the file itself; a link to its page has /blob/ where /resolve/ must be",
        )
