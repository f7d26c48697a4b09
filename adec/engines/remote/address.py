"""The address of a model: `http://HOST:PORT/v1#MODEL`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from adec.errors import UsageError

LONGEST = 2000
_EXAMPLE = "for example: http://127.0.0.1:8080/v1#MODEL"


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """Where a model answers. It never holds a key."""

    root: str
    """Scheme, host, port and what stands before "/v1", without a slash at the end."""
    model: str | None
    """The part behind "#"; None: the only one that the server has."""

    @property
    def base(self) -> str:
        """Where OpenAI's paths begin."""
        return f"{self.root}/v1"

    @property
    def place(self) -> str:
        """Host and port, as in messages."""
        return urlsplit(self.root).netloc

    @property
    def in_the_open(self) -> bool:
        """Whether a key would be sent unencrypted to a host that is not known to be near."""
        parts = urlsplit(self.root)
        host = parts.hostname or ""
        if parts.scheme == "https" or host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(host).is_private
        except ValueError:
            return True

    def __str__(self) -> str:
        return self.base if self.model is None else f"{self.base}#{self.model}"


def parse_address(text: str) -> RemoteAddress:
    """Read an address. Raises UsageError, and never repeats a password that stands in it."""
    if len(text) > LONGEST or any(ord(char) <= 32 or ord(char) == 127 for char in text):
        raise UsageError("the address of a model is too long or has blanks in it", hint=_EXAMPLE)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("the address of a model cannot be read", hint=_EXAMPLE) from None
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "a name or a key does not belong into an address",
            hint="put the key into ADEC_API_KEY, or into a file for --key-file",
        )
    if parts.query:
        raise UsageError("the address of a model takes no ?query", hint=_EXAMPLE)
    if not host or port == 0:
        raise UsageError(f"{text} names no host", hint=_EXAMPLE)
    path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/v1")
    return RemoteAddress(f"{parts.scheme}://{parts.netloc}{path}", parts.fragment or None)
