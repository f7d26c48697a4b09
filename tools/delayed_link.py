"""A server that is far away, on one machine: a network namespace behind a link that delays packets.

    python -m tools.delayed_link --delay 80 -- \\
        llama-server -m large.gguf --host {host} --port 8080
    # elsewhere: adec run --small small.gguf --large http://10.77.0.2:8080/v1 "…"

Two TUN devices, one here and one in the namespace, are joined by this process, which holds every
packet for half of `--delay`. So it works where the kernel has no netem. `kill -USR1` cuts the link,
and once more mends it. Needs Linux, root, iproute2 and /dev/net/tun. All is removed at the end.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from types import FrameType

from adec.cli.failures import exit_code_of, leave
from adec.errors import AdecError, UsageError

TUN = "/dev/net/tun"
PACKET = 1 << 16
MOST_HELD = 100_000
"""Packets on their way; more are lost, as anywhere."""
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def obstacle() -> str | None:
    """Why there can be no such link here; None where there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if shutil.which("ip") is None:
        return "there is no program ip (package iproute2)"
    return None if os.path.exists(TUN) else f"there is no {TUN}"


class DelayedLink:
    """A namespace behind a slow link, while entered. Raises AdecError where it cannot be made."""

    def __init__(self, delay_ms: float) -> None:
        """`delay_ms`: of a packet and its answer together."""
        process = os.getpid()
        self.name = f"adecfar{process}"
        block = f"10.{77 + process % 100}.{process // 100 % 256}"
        self.near, self.host = f"{block}.1", f"{block}.2"
        """This machine and the far one, as each sees the other."""
        self.delay_s = delay_ms / 2000
        self.is_cut = False
        self._devices = (f"afn{process}", f"aff{process}")
        self._files: list[int] = []
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> DelayedLink:
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
            process.wait()
        os.write(self._wake[1], b"x")
        if self._thread.ident is not None:
            self._thread.join()
        with suppress(AdecError):
            _ip("netns", "del", self.name)
        for file in (*self._files, *self._wake):
            os.close(file)

    def start(self, command: Sequence[str], **more: object) -> subprocess.Popen[bytes]:
        """Start a program on the far side; it ends with the link."""
        words = ["ip", "netns", "exec", self.name, *command]
        process: subprocess.Popen[bytes] = subprocess.Popen(words, **more)  # type: ignore[call-overload]
        self._started.append(process)
        return process

    def _build(self) -> None:
        near, far = self._devices
        inside = ("-n", self.name)
        _ip("netns", "add", self.name)
        self._files = [_tun(near), _tun(far)]
        _ip("link", "set", far, "netns", self.name)
        _ip("addr", "add", self.near, "peer", self.host, "dev", near)
        _ip("link", "set", near, "up")
        _ip(*inside, "addr", "add", self.host, "peer", self.near, "dev", far)
        _ip(*inside, "link", "set", far, "up")
        _ip(*inside, "link", "set", "lo", "up")

    def _carry(self) -> None:
        """Carry packets both ways, each after the delay."""
        near, far = self._files
        other = {near: far, far: near}
        held: deque[tuple[float, int, bytes]] = deque()
        while True:
            wait = None if not held else max(0.0, held[0][0] - monotonic())
            ready, _, _ = select.select([near, far, self._wake[0]], [], [], wait)
            if self._wake[0] in ready:
                return
            for file in ready:
                with suppress(OSError):
                    packet = os.read(file, PACKET)
                    if not self.is_cut and len(held) < MOST_HELD:
                        held.append((monotonic() + self.delay_s, other[file], packet))
            now = monotonic()
            while held and held[0][0] <= now:
                _, file, packet = held.popleft()
                with suppress(OSError):
                    os.write(file, packet)


def _tun(name: str) -> int:
    file = os.open(TUN, os.O_RDWR)
    try:
        fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError as error:
        os.close(file)
        raise AdecError(f"no TUN device can be made: {error.strerror}") from None
    return file


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise AdecError(f"ip {' '.join(arguments)} failed: {done.stderr.strip()[:200]}")


def main() -> int:
    """Run a server behind a slow link until it ends; its exit code."""
    parser = argparse.ArgumentParser(
        prog="tools.delayed_link", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--delay", type=float, default=20.0, help="ms there and back")
    parser.add_argument("command", nargs="+", help="what to run; {host} stands for its address")
    given = parser.parse_args()
    if not 0 <= given.delay <= 10_000:
        raise UsageError("--delay is 0 to 10000 ms")
    if (why := obstacle()) is not None:
        raise UsageError(why)
    with DelayedLink(given.delay) as link:

        def toggle(number: int, frame: FrameType | None) -> None:
            link.is_cut = not link.is_cut
            print("the link is cut" if link.is_cut else "the link is mended", file=sys.stderr)

        signal.signal(signal.SIGUSR1, toggle)
        signal.signal(signal.SIGTERM, _terminated)
        print(f"{link.host} is {given.delay:g} ms away", file=sys.stderr)
        return link.start([word.replace("{host}", link.host) for word in given.command]).wait()


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    leave(exit_code_of(main))
