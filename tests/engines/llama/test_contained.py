"""Calls that may abort or hang: the caller gets an error, and the process goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from adec.engines.llama import contained
from adec.engines.llama.contained import Containment, Lost, keep_alive
from adec.engines.llama.rpc_addresses import Address
from adec.errors import EngineError
from tests.engines.llama.rpc_server import listening

ABORT = b"/build/ggml/src/ggml-rpc/ggml-rpc.cpp:569: Remote RPC server crashed"


class Library:
    """Keeps the abort callback, and aborts on demand."""

    def __init__(self) -> None:
        self.contained = Containment(self.take)
        self.threads: list[threading.Thread] = []

    def take(self, callback: Any) -> None:
        self.abort: Callable[[bytes], None] = callback

    def abort_in_a_thread(self, message: bytes) -> threading.Thread:
        """As the library's own thread for a connection does."""
        thread = threading.Thread(target=lambda: self.abort(message), daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread


@pytest.fixture
def library() -> Library:
    return Library()


def test_results_and_errors_come_back_from_another_thread(library: Library) -> None:
    assert library.contained.call(threading.get_ident) != threading.get_ident()
    assert [library.contained.call(lambda i=i: i * i) for i in range(50)] == [
        i * i for i in range(50)
    ]
    with pytest.raises(EngineError, match="no room"):
        library.contained.call(lambda: throw(EngineError("no room")))
    with pytest.raises(ZeroDivisionError):
        library.contained.call(lambda: 1 // 0)
    assert library.contained.call(lambda: "alive") == "alive"


def throw(error: Exception) -> None:
    raise error


def test_an_abort_over_a_server_ends_the_call_and_not_the_process(library: Library) -> None:
    def wait_for_an_answer() -> None:
        library.abort_in_a_thread(ABORT)
        threading.Event().wait()

    with pytest.raises(Lost, match="Remote RPC server crashed") as caught:
        library.contained.call(wait_for_an_answer)
    assert "what was written stands" in (caught.value.hint or "")
    assert library.contained.lost and library.threads[0].is_alive()
    ran: list[int] = []
    with pytest.raises(Lost):
        library.contained.call(lambda: ran.append(1))
    assert ran == []


def test_an_abort_on_the_thread_itself_ends_the_call(library: Library) -> None:
    with pytest.raises(Lost, match="cannot allocate"):
        library.contained.call(lambda: library.abort(b"/src/ggml-alloc.c:8: cannot allocate"))


def test_an_abort_between_two_calls_is_told_by_the_next(library: Library) -> None:
    library.abort_in_a_thread(ABORT)
    for _ in range(2000):
        if library.contained.lost:
            break
        threading.Event().wait(0.01)
    with pytest.raises(Lost, match="Remote RPC server crashed"):
        library.contained.call(lambda: None)


def test_any_other_abort_is_printed_and_ends_the_process_as_before(
    library: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    library.abort_in_a_thread(b"/src/ggml-cpu.c:7: GGML_ASSERT(x) failed").join(20)
    assert capfd.readouterr().err == "/src/ggml-cpu.c:7: GGML_ASSERT(x) failed\n"
    assert not library.contained.lost and library.contained.call(lambda: 3) == 3


def test_the_server_that_is_gone_is_named(library: Library) -> None:
    with listening(lambda connection: None) as alive, socket.create_server(("127.0.0.1", 0)) as one:
        gone = Address("127.0.0.1", one.getsockname()[1])
        one.close()
        library.contained.watch((alive, gone))
        assert library.contained.knows(gone)
        for _ in range(2):
            with pytest.raises(Lost, match=f"{gone} is gone: connection refused"):
                library.contained.call(lambda: library.abort(ABORT))


def test_a_silence_without_end_is_given_up(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contained, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(contained, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(Lost, match="said nothing for"):
        library.contained.call(lambda: threading.Event().wait())


def test_progress_is_no_silence(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(contained, "PATIENCE_SECONDS", 1.0)

    def slow_but_alive() -> str:
        for _ in range(15):
            threading.Event().wait(0.1)
            library.contained.heard()
        return "done"

    assert library.contained.call(slow_but_alive) == "done"


def test_an_interrupt_waits_for_the_call_or_gives_everything_up(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contained, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(contained, "_GRACE_SECONDS", 0.3)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(library.contained, "_look_after", interrupt)
    with pytest.raises(KeyboardInterrupt):
        library.contained.call(lambda: threading.Event().wait(0.1))
    assert not library.contained.lost
    with pytest.raises(KeyboardInterrupt):
        library.contained.call(lambda: threading.Event().wait())
    with pytest.raises(Lost, match="interrupted"):
        library.contained.call(lambda: None)


def test_sockets_to_servers_are_kept_alive_and_no_others() -> None:
    done = threading.Event()
    with listening(lambda connection: done.wait(20) and None) as address:
        peer = (address.host, address.port)
        with socket.create_connection(peer) as ours, listening(lambda c: None) as other:
            stranger = socket.create_connection((other.host, other.port))
            before = len(threading.enumerate())
            assert keep_alive((address,)) == 1
            assert keep_alive(()) == 0
            for one, wanted in ((ours, True), (stranger, False)):
                on = one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert bool(on) is wanted
            # the copies that were looked at are closed, the sockets are not
            ours.sendall(b"still open")
            assert len(threading.enumerate()) == before
            stranger.close()
        done.set()
