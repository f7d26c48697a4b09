"""Calls into llama.cpp that may never return, kept from taking the process with them.

llama.cpp's RPC backend ends the process (`abort`) where a server hangs up or answers nonsense, and
waits without a limit where a server says nothing. So every call that may talk to a server runs on
one thread of its own:

- An abort on account of a server ends in a callback of ours, which notes the reason and puts the
  thread that called it to sleep for good. The caller gets an EngineError, and the process lives.
- Sockets of the library get keepalive, so that a machine that is gone is noticed within
  `GONE_SECONDS`. A call that says nothing for `PATIENCE_SECONDS` is given up.

What llama.cpp held is lost then, memory included: no call may follow in this process.
"""

from __future__ import annotations

import ctypes
import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from time import monotonic, sleep
from typing import Any, TypeVar, cast

from adec.engines.llama.llama_library import ggml_function
from adec.engines.llama.rpc_addresses import Address
from adec.errors import EngineError

GONE_SECONDS = 30
"""A machine that acknowledges nothing for so long counts as gone."""
PATIENCE_SECONDS = 600.0
"""A server that computes for longer, over 512 tokens at most, or over one tensor of the weights
while they are loaded, counts as hung."""

_TICK_SECONDS = 1.0
_GRACE_SECONDS = 2.0
_LOOKS, _LOOK_SECONDS = 4, 0.1
_AGAIN = "what was written stands; start the server and adec again"

T = TypeVar("T")


class Lost(EngineError):
    """A server is gone, and with it everything that llama.cpp held there."""


class _Job:
    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.ended = threading.Event()
        """Set when it returned, raised, or will never do either."""
        self.returned = False
        self.result: Any = None
        self.error: BaseException | None = None


class Containment:
    """The thread for calls that talk to servers. One for the process: see `containment`."""

    def __init__(self, set_callback: Callable[[Any], Any] | None = None) -> None:
        """`set_callback` hands a C callback to the library; None: ggml's own function."""
        self._lost: str | None = None
        self._servers: tuple[Address, ...] = ()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._job: _Job | None = None
        self._heard = monotonic()
        self._asleep = threading.Lock()
        self._asleep.acquire()
        self._thread = threading.Thread(target=self._work, name="adec-rpc", daemon=True)
        self._thread.start()
        # C holds the pointer as long as the process lives
        self._callback = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(self._aborting)
        (set_callback or _ggml_callback)(self._callback)

    @property
    def lost(self) -> bool:
        """Whether nothing may be called any more."""
        return self._lost is not None

    def knows(self, server: Address) -> bool:
        """Whether this process has used the server."""
        return server in self._servers

    def watch(self, servers: Sequence[Address]) -> None:
        """Keep an eye on the connections to these servers too."""
        self._servers += tuple(server for server in servers if server not in self._servers)

    def heard(self) -> None:
        """Note that a call under way has made progress."""
        self._heard = monotonic()

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the thread and return or raise what it does.

        Raises Lost when a server is gone, now or before. A KeyboardInterrupt waits shortly for the
        call to end; if it does not, everything is lost.
        """
        if self._lost is not None:
            raise Lost(self._lost, hint=_AGAIN)
        job = _Job(function)
        self._job, self._heard = job, monotonic()
        self._jobs.put(job)
        try:
            while not job.ended.wait(_TICK_SECONDS):
                self._look_after()
        except BaseException:
            try:
                job.ended.wait(_GRACE_SECONDS)
            finally:
                if not job.ended.is_set():
                    self._give_up("interrupted while an RPC server was computing")
            raise
        if not job.returned:
            assert self._lost is not None
            raise Lost(self._blame(self._lost), hint=_AGAIN)
        if job.error is not None:
            raise job.error
        return cast(T, job.result)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job.result = job.function()
            except BaseException as error:
                job.error = error
            job.returned = True
            job.ended.set()
            del job

    def _aborting(self, message: bytes) -> None:
        """ggml's abort callback, on the thread that aborts. The process ends when it returns."""
        place = message.partition(b": ")[0]
        if threading.get_ident() != self._thread.ident and b"ggml-rpc" not in place:
            with suppress(OSError):
                os.write(2, message + b"\n")
            return
        text = message.decode("utf-8", errors="replace").partition(": ")[2] or "it aborted"
        self._give_up(f"llama.cpp lost an RPC server: {' '.join(text.split())[:200]}")
        self._asleep.acquire()

    def _give_up(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
        job = self._job
        if job is not None:
            job.ended.set()

    def _look_after(self) -> None:
        keep_alive(self._servers)
        if monotonic() - self._heard > PATIENCE_SECONDS:
            self._give_up(f"the RPC servers said nothing for {PATIENCE_SECONDS:g} s")

    def _blame(self, why: str) -> str:
        """The reason, with the server that cannot be reached now, if there is one."""
        for attempt, server in product(range(_LOOKS), self._servers):
            if attempt and server == self._servers[0]:
                sleep(_LOOK_SECONDS)  # a process that ends closes its sockets one by one
            try:
                socket.create_connection((server.host, server.port), 1.0).close()
            except TimeoutError:
                self._lost = f"the RPC server {server} is gone: it does not answer"
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                self._lost = f"the RPC server {server} is gone: {reason}"
            else:
                continue
            return self._lost
        return why


_single: Containment | None = None


def containment() -> Containment:
    """The process's own. Raises EngineError when llama.cpp does not load."""
    global _single
    if _single is None:
        _single = Containment()
    return _single


def _ggml_callback(callback: Any) -> None:
    ggml_function("ggml_set_abort_callback", ctypes.c_void_p, ctypes.c_void_p)(
        ctypes.cast(callback, ctypes.c_void_p)
    )


def keep_alive(servers: Sequence[Address]) -> int:
    """Ask the system to notice when a machine at the other end is gone; the number of sockets.

    The library sets no limits on its sockets, and they are found by their other ends.
    """
    wanted = {(server.host, server.port) for server in servers}
    found = 0
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return 0
    for number in numbers:
        with suppress(OSError):  # closed meanwhile, no socket, or not connected
            copy = os.dup(number)
            try:
                own = socket.socket(fileno=copy)
            except OSError:
                os.close(copy)
                continue
            with own:
                if own.family == socket.AF_INET and own.getpeername() in wanted:
                    _set_limits(own)
                    found += 1
    return found


def _set_limits(own: socket.socket) -> None:
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", GONE_SECONDS // 3),
        ("TCP_KEEPALIVE", GONE_SECONDS // 3),  # macOS
        ("TCP_KEEPINTVL", GONE_SECONDS // 6),
        ("TCP_KEEPCNT", 4),
        ("TCP_USER_TIMEOUT", 1000 * GONE_SECONDS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):
                own.setsockopt(socket.IPPROTO_TCP, option, value)
