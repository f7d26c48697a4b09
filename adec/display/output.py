"""Text to a stream that may not know every character."""

from __future__ import annotations

from typing import TextIO


def write(stream: TextIO, text: str) -> None:
    """Write and flush. What the stream's encoding lacks becomes "?" instead of an error."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, errors="replace").decode(encoding))
    stream.flush()


def knows_unicode(stream: TextIO) -> bool:
    """Whether box characters and block characters can be written."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") in ("utf8", "utf16")
