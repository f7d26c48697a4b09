"""Escapes in texts of the command line, as llama.cpp reads them."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"""\\(?:x([0-9A-Fa-f]{1,2})|([nrt'"\\]))""")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def unescape(text: str) -> str:
    r"""A text with the escapes of llama.cpp read: \n \r \t \' \" \\ and \xHH, a byte of UTF-8.

    A backslash before anything else stays.
    """

    def read(found: re.Match[str]) -> str:
        if found[1]:
            return (
                chr(int(found[1], 16))
                if int(found[1], 16) < 128
                else chr(0xDC00 + int(found[1], 16))
            )
        return _ESCAPED.get(found[2], found[2])

    # a byte that is no character of its own is half a surrogate until it meets the rest
    return _ESCAPE.sub(read, text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
