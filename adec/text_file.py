"""Reads the text files and pipes of a user: one treatment of encodings, for every option.

UTF-8, with or without a byte-order mark; UTF-16 and UTF-32 with one, and UTF-16 without where it is
plain from the zero bytes. The mark is no part of the text, each end of line (CRLF, CR) is a
newline, and bytes that are no text become U+FFFD. A text never holds a zero byte.
"""

from __future__ import annotations

import codecs
import io
from pathlib import Path

from adec.errors import UsageError

_MARKS = (
    # UTF-16's mark is how UTF-32's begins
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 4096


def read_text(path: Path, most_bytes: int, what: str) -> str:
    """The text of a file. `what` names it in errors, such as "the prompt file".

    Raises UsageError when it cannot be read, is larger than `most_bytes`, or is no text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from error
    return decode_text(data, most_bytes, f"{what} {path}")


def decode_text(data: bytes, most_bytes: int, what: str) -> str:
    """The text of bytes that came from a file or pipe. Raises UsageError as `read_text` does."""
    if len(data) > most_bytes:
        raise UsageError(f"{what} is larger than {most_bytes:,} bytes")
    text = text_lines(io.BufferedReader(io.BytesIO(data))).read()
    if "\0" in text:
        raise UsageError(f"{what} holds zero bytes: this is no text", hint="save it as UTF-8")
    return text


def text_lines(file: io.BufferedReader) -> io.TextIOWrapper:
    """A reader of the same texts line by line, for files of any length.

    `file` must be at its beginning; a pipe may be read, too. Zero bytes are left to the caller.
    """
    encoding = _encoding(file.peek(_SAMPLE)[:_SAMPLE])
    return io.TextIOWrapper(file, encoding=encoding, errors="replace", newline=None)


def _encoding(head: bytes) -> str:
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    even, odd = head[0::2].count(0), head[1::2].count(0)
    # Western text in UTF-16: most of every other byte is zero, and none of those between
    if not even and 8 * odd > 3 * len(head):
        return "utf-16-le"
    if not odd and 8 * even > 3 * len(head):
        return "utf-16-be"
    return "utf-8-sig"
