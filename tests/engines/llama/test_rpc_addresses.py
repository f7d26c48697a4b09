"""Addresses of RPC servers: what is taken, what is refused, and what counts as private."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.engines.llama.rpc_addresses import (
    MOST_SERVERS,
    Address,
    is_trusted,
    parse_servers,
    resolve,
)
from adec.errors import EngineError, UsageError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:50052", ("127.0.0.1:50052",)),
        ("10.0.0.2:1, 10.0.0.3:65535", ("10.0.0.2:1", "10.0.0.3:65535")),
        ("Judge.LAN:50052", ("judge.lan:50052",)),
        ("a-1.b2.example:7", ("a-1.b2.example:7",)),
        ("off", ()),
        (" OFF ", ()),
    ],
)
def test_servers_are_read(text: str, found: tuple[str, ...]) -> None:
    assert tuple(map(str, parse_servers(text))) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty entry"),
        ("10.0.0.2:1,", "empty entry"),
        ("10.0.0.2", "has no port"),
        ("10.0.0.2:", "no port from 1 to 65535"),
        ("10.0.0.2:0", "no port from 1 to 65535"),
        ("10.0.0.2:65536", "no port from 1 to 65535"),
        ("10.0.0.2:-1", "no port from 1 to 65535"),
        ("10.0.0.2:+80", "no port from 1 to 65535"),
        ("10.0.0.2:8e1", "no port from 1 to 65535"),
        ("10.0.0.2:٣٣", "no port from 1 to 65535"),
        ("10.0.0.2:080", "begins with 0"),
        (":50052", "has no host"),
        ("[::1]:50052", "IPv4 only"),
        ("fe80::1:5005", "IPv4 only"),
        ("[::1]", "IPv4 only"),
        ("10.0.0.2:1:2", "is no address"),
        ("[judge]:1", "is no address"),
        ("http://10.0.0.2:1", "is no address"),
        ("127.1:1", "is no IPv4 address"),
        ("0x7f.0.0.1:1", "is no IPv4 address"),
        ("0x7f000001:1", "is no IPv4 address"),
        ("010.0.0.1:1", "is no IPv4 address"),
        ("10.0.0.256:1", "is no IPv4 address"),
        ("2130706433:1", "is no IPv4 address"),
        ("0.0.0.0:1", "not the address of one machine"),
        ("224.0.0.1:1", "not the address of one machine"),
        ("255.255.255.255:1", "not the address of one machine"),
        ("-a:1", "no name"),
        ("a_b:1", "no name"),
        ("a..b:1", "no name"),
        ("a b:1", "no name"),
        ("müller:1", "no name"),
        ("user@host:1", "no name"),
        ("host/path:1", "no name"),
        ("a\0b:1", "no name"),
        ("a\n:1", "no name"),
        (f"{'a' * 64}:1", "no name"),
        (f"{'.'.join(['a' * 50] * 6)}:1", "no name"),
        ("10.0.0.2:1,10.0.0.2:1", "twice"),
        ("a:1,A:1", "twice"),
        (",".join(f"10.0.0.2:{i}" for i in range(1, MOST_SERVERS + 2)), "17 servers"),
        ("x" * 10_000, "10,000 characters"),
    ],
)
def test_what_is_no_server_is_refused_in_a_line(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        parse_servers(text)
    assert len(str(caught.value)) < 300 and "--rpc" in str(caught.value)
    with pytest.raises(UsageError, match="profile p"):
        parse_servers(text, "profile p: machine.rpc")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_servers(text)
    except UsageError as error:
        assert error.exit_code == 2
        return
    # what is accepted reads the same again, and holds nothing that C would read otherwise
    assert parse_servers(",".join(map(str, found)) or "off") == found
    assert all(str(server).isascii() and str(server).isprintable() for server in found)


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("127.0.0.1", True), ("127.255.1.2", True), ("10.9.8.7", True), ("172.16.0.1", True),
        ("172.31.255.254", True), ("192.168.1.1", True), ("169.254.3.4", True),
        ("8.8.8.8", False), ("172.32.0.1", False), ("192.169.0.1", False), ("100.64.0.1", False),
        ("11.0.0.1", False), ("192.0.2.1", False),
    ],
)  # fmt: skip
def test_private_networks_are_told_from_the_rest(host: str, trusted: bool) -> None:
    assert is_trusted(host) is trusted


def test_names_are_resolved_and_addresses_are_not_asked() -> None:
    named = Address("judge.lan", 5)
    assert resolve(named, lambda host: ["10.0.0.9", "10.0.0.8"]) == Address("10.0.0.9", 5)
    assert resolve(Address("10.0.0.9", 5), lambda host: []) == Address("10.0.0.9", 5)


def test_names_that_lead_nowhere_are_an_error_of_one_line() -> None:
    named = Address("judge.lan", 5)

    def unknown(host: str) -> list[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(EngineError, match=r"judge\.lan:5 is not known: name or service"):
        resolve(named, unknown)
    with pytest.raises(EngineError, match="has no IPv4 address"):
        resolve(named, lambda host: [])
    with pytest.raises(UsageError, match="not the address of one machine"):
        resolve(named, lambda host: ["0.0.0.0"])


def test_a_resolver_that_hangs_is_given_up() -> None:
    freed = threading.Event()

    def hang(host: str) -> list[str]:
        freed.wait(60)
        return []

    with pytest.raises(EngineError, match=r"not resolved in 0\.05 s"):
        resolve(Address("judge.lan", 5), hang, seconds=0.05)
    freed.set()
