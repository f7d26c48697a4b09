"""A link that takes its time: a relay that holds every byte back, for kernels without `tc netem`.

    python -m tools.network.slow_link 127.0.0.1:8080 --delay 40

prints the address that stands for 127.0.0.1:8080 and relays until Ctrl-C. `--delay` is the time
there and back in milliseconds, half of it each way. Bytes keep their order and their distances, so
a stream is late and not slower. What the relay itself adds is some 0.1 ms. `kill -USR1` cuts the
link: nothing comes through, and no connection breaks; once more mends it.

What it does not show is the round trip in which a connection is opened: a relay on this machine
opens it at once. Clients that keep their connections, as adec does, pay it once.
"""

from __future__ import annotations

import queue
import signal
import socket
import threading
from contextlib import suppress
from time import monotonic, sleep

from adec.cli.failures import exit_code_of, leave
from adec.errors import UsageError
from tools.script import arguments_of

PIECE = 1 << 18
HELD = 256
"""Pieces under way in one direction; the sender waits while there are more."""


class SlowLink:
    """Listens on a free port of the loopback while entered, and relays to `host`:`port`."""

    def __init__(self, host: str, port: int, delay_ms: float) -> None:
        self._target, self._delay = (host, port), delay_ms / 2000
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._flows = threading.Event()
        self._flows.set()
        self.port: int = self._listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> SlowLink:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mend()
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @property
    def is_cut(self) -> bool:
        """Whether nothing comes through."""
        return not self._flows.is_set()

    def cut(self) -> None:
        """Hold all bytes back; connections stay, as behind a cable that was pulled out."""
        self._flows.clear()

    def mend(self) -> None:
        """Let through what was held back, and what follows."""
        self._flows.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                for end in (source, sink):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                line: queue.Queue[tuple[float, bytes]] = queue.Queue(HELD)
                threading.Thread(target=self._take, args=(source, line), daemon=True).start()
                threading.Thread(target=_give, args=(sink, line, self._flows), daemon=True).start()

    def _take(self, source: socket.socket, line: queue.Queue[tuple[float, bytes]]) -> None:
        piece = b"-"
        while piece:
            try:
                piece = source.recv(PIECE)
            except OSError:
                piece = b""
            line.put((monotonic() + self._delay, piece))


def _give(
    sink: socket.socket, line: queue.Queue[tuple[float, bytes]], flows: threading.Event
) -> None:
    broken = False
    while True:
        due, piece = line.get()
        sleep(max(0.0, due - monotonic()))
        flows.wait()
        if not piece:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
            return
        if not broken:
            try:
                sink.sendall(piece)
            except OSError:
                broken = True  # the rest is taken and dropped


def main() -> int:
    """Relay until Ctrl-C."""
    parser = arguments_of(__doc__)
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("--delay", type=float, default=20.0, help="ms there and back (20)")
    given = parser.parse_args()
    host, _, port = given.target.rpartition(":")
    if not host or not port.isdigit() or not 0 <= given.delay <= 10_000:
        raise UsageError("a target is HOST:PORT, a delay 0 to 10000 ms")
    with SlowLink(host, int(port), given.delay) as link:
        signal.signal(
            signal.SIGUSR1, lambda number, frame: link.mend() if link.is_cut else link.cut()
        )
        print(link.address, flush=True)
        while True:
            signal.pause()
    return 0


if __name__ == "__main__":
    leave(exit_code_of(main))
