"""What listens where an RPC server should: one that answers as told, in a thread of the test."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from adec.engines.llama.rpc_addresses import Address

Serve = Callable[[socket.socket], None]


@contextmanager
def listening(serve: Serve) -> Iterator[Address]:
    """An address at which `serve` gets every connection, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield Address("127.0.0.1", server.getsockname()[1])


def read(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes; an OSError when the other side hangs up."""
    held = b""
    while len(held) < size:
        piece = connection.recv(size - len(held))
        if not piece:
            raise OSError("hung up")
        held += piece
    return held


def polite(
    version: tuple[int, int, int] = (7, 0, 0), devices: int = 1, memory: tuple[int, int] = (5, 9)
) -> Serve:
    """A server that answers the questions of a probe."""

    def serve(connection: socket.socket) -> None:
        while True:
            command, size = struct.unpack("<BQ", read(connection, 9))
            read(connection, size)
            answer = {
                14: bytes((*version, 0)) + bytes(24),
                15: struct.pack("<I", devices),
                11: struct.pack("<QQ", *memory),
            }[command]
            connection.sendall(struct.pack("<Q", len(answer)) + answer)

    return serve
