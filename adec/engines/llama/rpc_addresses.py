"""Addresses of RPC servers as a person types them: parsed strictly, resolved, and looked at.

A text that is no plain HOST:PORT is refused here, since it would go on to C code that ends the
process over it. A host name is resolved once: the address that was looked at is the one used.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adec.errors import EngineError, UsageError

MOST_SERVERS = 16
OFF = "off"
"""The word for no servers, against a setting or a profile that names some."""
NAME_SECONDS = 5.0

_LONGEST = 8192
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z", re.ASCII)
_NUMBER = re.compile(r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)\Z", re.ASCII)
_TRUSTED = tuple(
    ipaddress.IPv4Network(block)
    for block in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
)
"""Loopback, private networks (RFC 1918) and link-local."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server: its host in lower case, as a name or as an IPv4 address, and its port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_servers(text: str, origin: str = "--rpc") -> tuple[Address, ...]:
    """The servers of "HOST:PORT,HOST:PORT"; none of "off". Raises UsageError, naming `origin`."""
    if text.strip().lower() == OFF:
        return ()
    if len(text) > _LONGEST:
        raise UsageError(f"{origin} has {len(text):,} characters", hint="give HOST:PORT,HOST:PORT")
    found = tuple(_address(word.strip(), origin) for word in text.split(","))
    if len(found) > MOST_SERVERS:
        raise UsageError(
            f"{origin} names {len(found)} servers", hint=f"llama.cpp takes {MOST_SERVERS} at most"
        )
    for place, address in enumerate(found):
        if address in found[:place]:
            raise UsageError(f"{origin} names {address} twice")
    return found


def _address(word: str, origin: str) -> Address:
    shown = f"{origin}: {word[:80]!r}"
    if not word:
        raise UsageError(f"{origin} has an empty entry", hint="give HOST:PORT,HOST:PORT, or off")
    if word.startswith("[") or word.count(":") > 1:
        raise _sixth(word, shown)
    host, colon, port = word.rpartition(":")
    if not colon:
        raise UsageError(f"{shown} has no port", hint="give HOST:PORT")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise UsageError(f"{shown} has no port from 1 to 65535", hint="give HOST:PORT")
    if port.startswith("0"):
        raise UsageError(f"{shown} has a port that begins with 0", hint="give HOST:PORT")
    if not host:
        raise UsageError(f"{shown} has no host", hint="give HOST:PORT")
    return Address(_host(host, shown), int(port))


def _sixth(word: str, shown: str) -> UsageError:
    """Why an address with several colons is refused."""
    bracketed = re.fullmatch(r"\[([^\[\]]*)\]:([0-9]{1,5})", word)
    inside = bracketed[1] if bracketed else word.strip("[]")
    try:
        ipaddress.IPv6Address(inside)
    except ValueError:
        return UsageError(f"{shown} is no address", hint="give HOST:PORT")
    return UsageError(
        f"{shown} is an IPv6 address, and llama.cpp's RPC speaks IPv4 only",
        hint="give the server's IPv4 address",
    )


def _host(host: str, shown: str) -> str:
    labels = host.split(".")
    if _NUMBER.match(labels[-1]):
        # C reads 127.1, 0x7f.1 and 010.0.0.1 as addresses too, and not as a person would
        try:
            return _usable(ipaddress.IPv4Address(host), shown)
        except ipaddress.AddressValueError:
            raise UsageError(
                f"{shown} is no IPv4 address", hint="four numbers from 0 to 255, such as 10.0.0.2"
            ) from None
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise UsageError(
            f"{shown} has a host that is no name",
            hint="letters, digits and hyphens, with dots between",
        )
    return host.lower()


def _usable(address: ipaddress.IPv4Address, shown: str) -> str:
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        raise UsageError(f"{shown} is not the address of one machine")
    return str(address)


def is_trusted(host: str) -> bool:
    """Whether an IPv4 address is a loopback, private or link-local one."""
    address = ipaddress.IPv4Address(host)
    return any(address in block for block in _TRUSTED)


Lookup = Callable[[str], Sequence[str]]
"""From a host name to its IPv4 addresses. Raises OSError."""


def resolve(
    server: Address, lookup: Lookup | None = None, seconds: float = NAME_SECONDS
) -> Address:
    """The server with its IPv4 address as the host.

    Raises EngineError when the name is unknown, has no IPv4 address, or takes too long.
    """
    try:
        ipaddress.IPv4Address(server.host)
    except ipaddress.AddressValueError:
        pass
    else:
        return server
    found = _looked_up(server, lookup or _ask_resolver, seconds)
    if not found:
        raise EngineError(
            f"the RPC server {server} has no IPv4 address, and llama.cpp's RPC speaks nothing else"
        )
    host = _usable(ipaddress.IPv4Address(found[0]), f"the RPC server {server} at {found[0]}")
    return Address(host, server.port)


def _ask_resolver(host: str) -> list[str]:
    entries = socket.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


def _looked_up(server: Address, lookup: Lookup, seconds: float) -> Sequence[str]:
    """The resolver has no time limit of its own that a program could set."""
    found: list[Sequence[str] | OSError] = []

    def ask() -> None:
        try:
            found.append(lookup(server.host))
        except (OSError, UnicodeError) as error:
            found.append(error if isinstance(error, OSError) else OSError(str(error)))

    asking = threading.Thread(target=ask, name="adec-resolver", daemon=True)
    asking.start()
    asking.join(seconds)
    if not found:
        raise EngineError(f"the name of the RPC server {server} was not resolved in {seconds:g} s")
    answer = found[0]
    if isinstance(answer, OSError):
        why = (answer.strerror or str(answer)).lower()
        raise EngineError(f"the name of the RPC server {server} is not known: {why}")
    return answer
