"""Asks an RPC server what it is before llama.cpp talks to it, since llama.cpp ends the process
where a server does not answer as it should.

The protocol is that of ggml-rpc: a request is a command (1 byte), a length (8 bytes, little-endian)
and that many bytes; a response is a length and that many bytes. The first command must be HELLO.
"""

from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

from adec.engines.llama.rpc_addresses import Address
from adec.errors import EngineError

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
PROTOCOL = 7
"""Major version of the protocol in the llama.cpp that adec is bound to."""
MOST_DEVICES = 64

_HELLO, _DEVICE_COUNT, _DEVICE_MEMORY = 14, 15, 11
_CAPABILITIES = 24
"""Bytes in which both sides of a HELLO say what else than TCP they speak; zeros: nothing."""
_START = "start it there: ggml-rpc-server -H ADDRESS -p PORT"


@dataclass(frozen=True, slots=True)
class RpcDevice:
    """Memory of a device of a server, in bytes."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class RpcServer:
    """A server that answered."""

    address: Address
    version: str
    devices: tuple[RpcDevice, ...]
    round_trip_ms: float
    """Of the shortest of its answers."""


def probe_all(servers: tuple[Address, ...], wait: float = ANSWER_SECONDS) -> list[RpcServer]:
    """Probe all at once. Raises EngineError for the first that fails, in the order given."""
    if not servers:
        return []
    with ThreadPoolExecutor(len(servers), thread_name_prefix="adec-probe") as pool:
        return list(pool.map(lambda server: probe(server, wait), servers))


def probe(server: Address, wait: float = ANSWER_SECONDS) -> RpcServer:
    """Connect, say hello, ask for devices and their memory, hang up.

    The host must be an IPv4 address. Bounded in time (`CONNECT_SECONDS`, then `wait` seconds in
    all) and in memory. Raises EngineError.
    """
    try:
        connection = socket.create_connection((server.host, server.port), CONNECT_SECONDS)
    except TimeoutError:
        raise EngineError(
            f"no RPC server at {server}: no connection within {CONNECT_SECONDS:g} s", hint=_START
        ) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise EngineError(f"no RPC server at {server}: {why}", hint=_START) from None
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Talk(connection, server, wait).introduce()


class _Talk:
    def __init__(self, connection: socket.socket, server: Address, wait: float) -> None:
        self._connection, self._server = connection, server
        self._end = monotonic() + wait
        self._wait = wait
        self._shortest = float("inf")

    def introduce(self) -> RpcServer:
        major, minor, patch, *_ = self._ask(_HELLO, bytes(_CAPABILITIES), 4 + _CAPABILITIES)
        version = f"{major}.{minor}.{patch}"
        if major != PROTOCOL:
            raise EngineError(
                f"the RPC server {self._server} speaks protocol {version}, and the llama.cpp here"
                f" {PROTOCOL}",
                hint="build both from the same release of llama.cpp",
            )
        (count,) = struct.unpack("<I", self._ask(_DEVICE_COUNT, b"", 4))
        if not 1 <= count <= MOST_DEVICES:
            raise EngineError(f"the RPC server {self._server} has {count:,} devices")
        devices = [
            RpcDevice(*struct.unpack("<QQ", self._ask(_DEVICE_MEMORY, struct.pack("<I", i), 16)))
            for i in range(count)
        ]
        return RpcServer(self._server, version, tuple(devices), 1000 * self._shortest)

    def _ask(self, command: int, request: bytes, size: int) -> bytes:
        """The response to a command, which must have `size` bytes."""
        began = monotonic()
        try:
            self._connection.settimeout(self._left())
            self._connection.sendall(struct.pack("<BQ", command, len(request)) + request)
            (length,) = struct.unpack("<Q", self._read(8))
            if length != size:
                raise EngineError(
                    f"what listens at {self._server} is no ggml-rpc-server",
                    hint="or one of another release of llama.cpp",
                )
            answer = self._read(size)
        except TimeoutError:
            raise EngineError(
                f"the RPC server {self._server} took the connection and did not answer within"
                f" {self._wait:g} s",
                hint="it serves one client at a time: is it busy with another?",
            ) from None
        except (ConnectionResetError, BrokenPipeError):
            raise self._hung_up() from None
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise EngineError(f"the RPC server {self._server} failed: {why}") from None
        self._shortest = min(self._shortest, monotonic() - began)
        return answer

    def _read(self, size: int) -> bytes:
        held = b""
        while len(held) < size:
            self._connection.settimeout(self._left())
            piece = self._connection.recv(size - len(held))
            if not piece:
                raise self._hung_up()
            held += piece
        return held

    def _hung_up(self) -> EngineError:
        return EngineError(
            f"what listens at {self._server} hung up on a hello",
            hint="it is no ggml-rpc-server, or one of another release of llama.cpp",
        )

    def _left(self) -> float:
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError
        return left
