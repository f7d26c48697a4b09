"""Several machines on one: network namespaces with a link each, and RPC servers in them.

    python -m tools.network.network_lab --server bin/ggml-rpc-server --hosts 2 --delay 20 -- \\
        adec run --rpc {rpc} "How many eggs are in three dozen?"

Every host is a namespace with its own loopback and address, joined to this machine by a veth pair.
`--delay` is the time there and back in milliseconds, on a link of `slow_link.py`. `{rpc}` stands
for the servers' addresses. Needs Linux, root, iproute2. All is removed at the end, also after
Ctrl-C or a termination; what a killed lab left behind is removed by the next.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from types import FrameType

from adec.cli.failures import exit_code_of, leave
from adec.errors import AdecError, UsageError
from tools.network.slow_link import SlowLink
from tools.script import arguments_of

PORT = 50052
START_SECONDS = 20.0
_NUMBERS = itertools.count()
_NAME = re.compile(r"adec(\d+)-\d+")


def obstacle() -> str | None:
    """Why there can be no lab here; None where there can."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no program ip (package iproute2)"
    try:
        with Lab(1):
            return None
    except AdecError as error:
        return error.message


class Host:
    """A namespace with one link to this machine."""

    def __init__(self) -> None:
        number, process = next(_NUMBERS) % 64, os.getpid()
        self.name = f"adec{process}-{number}"
        self._here = f"ad{process}h{number}"
        self._there = f"ad{process}t{number}"
        block = f"10.{200 + process % 50}.{process // 50 % 256}"
        self.gateway = f"{block}.{4 * number + 1}"
        """This machine, as the host sees it."""
        self.address = f"{block}.{4 * number + 2}"
        self.started: list[subprocess.Popen[bytes]] = []
        """What `start` started."""

    def build(self) -> None:
        """Make the namespace and its link. Raises AdecError."""
        inside = ("-n", self.name)
        _ip("netns", "add", self.name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there)
        _ip("link", "set", self._there, "netns", self.name)
        _ip("addr", "add", f"{self.gateway}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        _ip(*inside, "addr", "add", f"{self.address}/30", "dev", self._there)
        _ip(*inside, "link", "set", self._there, "up")
        _ip(*inside, "link", "set", "lo", "up")

    def cut(self) -> None:
        """Pull the cable: every packet is lost, connections stay."""
        _ip("-n", self.name, "link", "set", self._there, "down")

    def mend(self) -> None:
        """Put it in again."""
        _ip("-n", self.name, "link", "set", self._there, "up")

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program there, silent. It ends with the lab."""
        process: subprocess.Popen[bytes] = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.started.append(process)
        return process

    def remove(self) -> None:
        """End what runs there, then the namespace, and the link with it."""
        _remove(self.name)
        for process in self.started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)


class Lab:
    """Hosts while entered. Raises AdecError where they cannot be made."""

    def __init__(self, hosts: int, delay_ms: float = 0.0) -> None:
        self.hosts = [Host() for _ in range(hosts)]
        self._delay_ms = delay_ms
        self._links = ExitStack()

    def __enter__(self) -> Lab:
        sweep_up()
        try:
            for host in self.hosts:
                host.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._links.close()
        for host in self.hosts:
            host.remove()

    def serve(self, program: str, threads: int = 1) -> str:
        """Start an RPC server on every host; their addresses as --rpc takes them.

        Raises AdecError when one does not listen within `START_SECONDS`.
        """
        for host in self.hosts:
            host.start([program, "-H", host.address, "-p", str(PORT), "-t", str(threads)])
        for host in self.hosts:
            wait_for(host.address, PORT)
        if not self._delay_ms:
            return ",".join(f"{host.address}:{PORT}" for host in self.hosts)
        links = [SlowLink(host.address, PORT, self._delay_ms) for host in self.hosts]
        return ",".join(self._links.enter_context(link).address for link in links)


def wait_for(address: str, port: int) -> None:
    """Return as soon as something listens there. Raises AdecError after `START_SECONDS`."""
    end = monotonic() + START_SECONDS
    while monotonic() < end:
        with suppress(OSError):
            socket.create_connection((address, port), 1).close()
            return
        sleep(0.05)
    raise AdecError(f"nothing listens at {address}:{port} after {START_SECONDS:g} s")


def sweep_up() -> None:
    """Remove the hosts of labs whose process is gone."""
    for name in _ip("netns", "list").splitlines():
        found = _NAME.match(name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _remove(found[0])


def _remove(name: str) -> None:
    with suppress(AdecError):
        for number in _ip("netns", "pids", name).split():
            with suppress(OSError):
                os.kill(int(number), signal.SIGKILL)
    with suppress(AdecError):
        _ip("netns", "del", name)


def _ip(*arguments: str) -> str:
    done = subprocess.run(("ip", *arguments), capture_output=True, text=True)
    if done.returncode:
        raise AdecError(f"ip {' '.join(arguments)} failed: {done.stderr.strip()[:200]}")
    return done.stdout


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Run a command beside servers; its exit code."""
    parser = arguments_of(__doc__)
    parser.add_argument("--server", default="ggml-rpc-server", help="its program")
    parser.add_argument("--hosts", type=int, default=2, help="1 to 16 (2)")
    parser.add_argument("--delay", type=float, default=0.0, help="ms there and back (0)")
    parser.add_argument("--threads", type=int, default=1, help="of each server (1)")
    parser.add_argument("command", nargs="+", help="what to run; {rpc} stands for the servers")
    given = parser.parse_args()
    if not (1 <= given.hosts <= 16 and 0 <= given.delay <= 10_000 and given.threads >= 1):
        raise UsageError("there are 1 to 16 hosts, 0 to 10000 ms of delay, and threads")
    program = shutil.which(given.server)
    if program is None:
        raise UsageError(f"there is no program {given.server}", hint="give --server PATH")
    signal.signal(signal.SIGTERM, _terminated)
    with Lab(given.hosts, given.delay) as lab:
        servers = lab.serve(program, given.threads)
        command = [word.replace("{rpc}", servers) for word in given.command]
        return subprocess.run(command).returncode


if __name__ == "__main__":
    leave(exit_code_of(main))
