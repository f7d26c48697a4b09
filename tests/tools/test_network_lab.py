"""Hosts in namespaces come and go, and a slow link is late and not wrong."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engines.llama.rpc_server import listening, read
from tools.network.network_lab import Host, Lab, obstacle
from tools.network.slow_link import SlowLink

ROOT = Path(__file__).parents[2]
WHY = obstacle()
needs_lab = pytest.mark.skipif(WHY is not None, reason=str(WHY))


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout


def echo(connection: socket.socket) -> None:
    while piece := connection.recv(1 << 16):
        connection.sendall(piece)


@pytest.mark.parametrize("delay", [0.0, 30.0])
def test_bytes_come_through_a_slow_link_whole_and_late(
    delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tools.network.slow_link.sleep", waited.append)
    sent = random.Random(1).randbytes(3_000_000)
    with (
        listening(echo) as target,
        SlowLink(target.host, target.port, delay) as link,
        socket.create_connection(("127.0.0.1", link.port), 20) as connection,
    ):
        connection.settimeout(20)
        for start in range(0, len(sent), 60_000):
            connection.sendall(sent[start : start + 60_000])
            assert read(connection, 60_000) == sent[start : start + 60_000]
    assert len(waited) >= 100
    assert max(waited) <= delay / 2000
    assert max(waited) > delay / 2000 * 0.5 or not delay


def test_a_cut_link_holds_bytes_back_and_breaks_nothing() -> None:
    with (
        listening(echo) as target,
        SlowLink(target.host, target.port, 0) as link,
        socket.create_connection(("127.0.0.1", link.port), 20) as connection,
    ):
        connection.sendall(b"before")
        assert read(connection, 6) == b"before"
        link.cut()
        connection.sendall(b"during")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        link.mend()
        connection.settimeout(20)
        assert read(connection, 6) == b"during"


def test_a_slow_link_to_nowhere_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        SlowLink("127.0.0.1", port, 1) as link,
        socket.create_connection(("127.0.0.1", link.port), 20) as connection,
    ):
        connection.settimeout(20)
        assert connection.recv(1) == b""


@needs_lab
def test_hosts_have_addresses_of_their_own_and_are_gone_afterwards() -> None:
    with Lab(2) as lab:
        names = [host.name for host in lab.hosts]
        addresses = {host.address for host in lab.hosts}
        assert all(name in namespaces() for name in names) and len(addresses) == 2
        code = "import socket; print(socket.gethostbyname('localhost'), end='')"
        process = lab.hosts[0].start([sys.executable, "-c", code])
        assert process.wait(20) == 0
        sleeping = lab.hosts[1].start(["sleep", "600"])
    assert sleeping.poll() is not None
    assert not any(name in namespaces() for name in names)


@needs_lab
def test_a_lab_that_fails_on_the_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(2)
    monkeypatch.setattr(lab.hosts[1], "build", lambda: exec("raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        lab.__enter__()
    assert lab.hosts[0].name not in namespaces()


@needs_lab
def test_what_a_killed_lab_left_is_removed_by_the_next() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = Host()
    left.name = f"adec{gone.pid}-0"
    left.build()
    assert left.name in namespaces()
    with Lab(1):
        assert left.name not in namespaces()


@needs_lab
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_lab_that_is_ended_cleans_up(number: int, tmp_path: Path) -> None:
    server = tmp_path / "server"
    server.write_text(
        f"#!{sys.executable}\nimport socket, sys\n"
        "s = socket.create_server((sys.argv[2], int(sys.argv[4])))\n"
        "while True: s.accept()[0].close()\n"
    )
    server.chmod(0o755)
    ready = tmp_path / "ready"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tools.network.network_lab",
            "--server", str(server), "--hosts", "1", "--", "sh", "-c",
            f"echo {{rpc}} > {ready}.tmp; mv {ready}.tmp {ready}; sleep 600",
        ],
        cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not ready.exists():
        time.sleep(0.02)
    assert ready.read_text().strip().endswith(":50052")
    assert f"adec{process.pid}-0" in namespaces()
    os.killpg(process.pid, number)
    assert process.wait(30) != 0
    assert f"adec{process.pid}-" not in namespaces()
