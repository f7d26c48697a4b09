"""What a probe says of whatever listens at an address."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time

import pytest

from adec.engines.llama.rpc_addresses import Address
from adec.engines.llama.rpc_probe import RpcDevice, probe, probe_all
from adec.errors import EngineError
from tests.engines.llama.rpc_server import Serve, listening, polite, read

WAIT = 0.3


def test_a_server_is_described() -> None:
    with listening(polite((7, 1, 4), devices=2, memory=(3, 8))) as address:
        found = probe(address)
    assert (found.version, found.devices) == ("7.1.4", (RpcDevice(3, 8), RpcDevice(3, 8)))
    assert found.round_trip_ms > 0 and found.address == address


def test_nobody_there_is_one_line_that_says_what_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = Address("127.0.0.1", server.getsockname()[1])
    with pytest.raises(EngineError) as caught:
        probe(free)
    assert str(caught.value).startswith(f"no RPC server at {free}: connection refused. Start it")
    assert caught.value.exit_code == 1


def html(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>" + b"x" * 1000)


def hang_up(connection: socket.socket) -> None:
    read(connection, 9)


def silent(connection: socket.socket) -> None:
    connection.recv(1000)
    time.sleep(2 * WAIT)


def drip(connection: socket.socket) -> None:
    read(connection, 9 + 24)
    for byte in struct.pack("<Q", 28) + bytes(28):
        connection.sendall(bytes((byte,)))
        time.sleep(WAIT / 4)


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(struct.pack("<Q", 28) + b"\7" * 65536)


def huge(connection: socket.socket) -> None:
    connection.sendall(struct.pack("<Q", 1 << 62) + b"\7" * 100)


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (html, "is no ggml-rpc-server"),
        (huge, "is no ggml-rpc-server"),
        (hang_up, "hung up on a hello"),
        (silent, "did not answer within 0.3 s.*one client"),
        (drip, "did not answer within 0.3 s"),
        (endless, "117901063 devices|117,901,063 devices|is no ggml-rpc-server"),
        (polite((6, 1, 0)), r"speaks protocol 6\.1\.0, and the llama\.cpp here 7"),
        (polite((8, 0, 0)), r"speaks protocol 8\.0\.0"),
        (polite(devices=0), "has 0 devices"),
        (polite(devices=4_000_000_000), "has 4,000,000,000 devices"),
    ],
)  # fmt: skip
def test_what_is_no_such_server_is_told_apart(serve: Serve, why: str) -> None:
    with listening(serve) as address, pytest.raises(EngineError, match=why) as caught:
        probe(address, WAIT)
    assert str(address) in str(caught.value)


def test_random_answers_end_in_a_line() -> None:
    rng = random.Random(5)

    def noise(connection: socket.socket) -> None:
        connection.sendall(rng.randbytes(rng.randrange(1, 200)))

    def half_right(connection: socket.socket) -> None:
        connection.sendall(struct.pack("<Q", 28) + b"\7\0\0\0" + bytes(24))
        connection.sendall(struct.pack("<Q", 4) + rng.randbytes(rng.randrange(0, 30)))

    for serve in (noise, half_right):
        with listening(serve) as address:
            for _ in range(50):
                with pytest.raises(EngineError):
                    probe(address, WAIT)


def test_servers_are_asked_at_once_and_the_first_in_order_is_blamed() -> None:
    both = threading.Barrier(2, timeout=20)

    def meet(connection: socket.socket) -> None:
        both.wait()  # returns only if the other is asked too
        polite((6, 0, 0))(connection)

    with listening(meet) as one, listening(meet) as two, pytest.raises(EngineError) as caught:
        probe_all((one, two), 20)
    assert str(one) in str(caught.value)
    assert probe_all(()) == []
