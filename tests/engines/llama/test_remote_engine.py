"""An engine whose layers run elsewhere keeps the contract, and its failures are errors."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adec.engines.base import Engine, ModelHeader, OpenOptions
from adec.engines.llama.contained import Containment, Lost, containment
from adec.engines.llama.gguf.gguf_header import read_gguf_header
from adec.engines.llama.llama_engine import LlamaEngine
from adec.engines.llama.remote_engine import RemoteEngine
from adec.engines.llama.rpc_devices import check_support, supports_rpc
from adec.engines.model_key import model_key
from adec.engines.opening import beside_large, devices, open_engine, open_engines
from adec.errors import EngineError
from tests.engines.contract import EngineContract
from tests.engines.gguf.tiny_gguf import write_tiny_gguf
from tests.engines.llama.rpc_at_hand import SERVER, needs_rpc
from tools.network.network_lab import wait_for

OPTIONS = OpenOptions(context=1024, threads=1)
TOLERANCE = 3e-2
"""As in the tests of llama.cpp without servers."""


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> ModelHeader:
    return read_gguf_header(write_tiny_gguf(tmp_path_factory.mktemp("remote") / "tiny.gguf"))


class Aborting:
    """A containment whose library aborts on demand."""

    def __init__(self) -> None:
        self.contained = Containment(self._take)

    def _take(self, callback: Any) -> None:
        self.abort: Callable[[bytes], None] = callback


@pytest.fixture
def local(header: ModelHeader) -> Iterator[Callable[[], RemoteEngine]]:
    """Engines that are contained, and compute here."""
    made: list[RemoteEngine] = []
    contained = Containment(lambda callback: None)

    def fresh() -> RemoteEngine:
        made.append(RemoteEngine(LlamaEngine.open(header, OPTIONS), contained, ("10.0.0.2:1",)))
        return made[-1]

    yield fresh
    for engine in made:
        engine.close()


class TestRemoteEngine(EngineContract):
    tolerance = TOLERANCE
    examples = 10

    @pytest.fixture
    def fresh(self, local: Callable[[], RemoteEngine]) -> Callable[[], Engine]:
        return local


def test_what_an_engine_is_called_depends_on_its_servers(
    local: Callable[[], RemoteEngine], header: ModelHeader
) -> None:
    remote, here = local(), LlamaEngine.open(header, OPTIONS)
    assert remote.info == replace(here.info, servers=("10.0.0.2:1",))
    assert model_key(remote) != model_key(here)
    here.close()


def test_an_abort_in_mid_answer_is_an_error_now_and_ever_after(header: ModelHeader) -> None:
    library = Aborting()
    inner = LlamaEngine.open(header, OPTIONS)
    engine = RemoteEngine(inner, library.contained, ("10.0.0.2:1",))
    engine.forward([1, 2, 3])
    inner._append = lambda tokens, rows: library.abort(b"/x/ggml-rpc.cpp:5: crashed")  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(Lost, match="crashed"):
        engine.forward([4, 5])
    for use in (
        lambda: engine.forward([1]),
        lambda: engine.rewind(0),
        lambda: engine.keep(()),
    ):
        with pytest.raises(EngineError):
            use()
    freed: list[int] = []
    inner._session.close = lambda: freed.append(1)  # type: ignore[method-assign]
    engine.close()
    engine.close()
    assert freed == [] and not inner._finalizer.alive


def test_an_interrupt_leaves_the_sequence_as_it_was(
    local: Callable[[], RemoteEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, whole = local(), local()
    engine.forward([1, 2, 3])
    inner, contained = engine._inner, engine._contained
    forward = inner.forward
    interrupts = iter((KeyboardInterrupt, None))

    def slow(tokens: list[int], *, rows: int = 1) -> object:
        result = forward(tokens, rows=rows)
        threading.Event().wait(0.1)
        return result

    def look_after() -> None:
        kind = next(interrupts, None)
        if kind is not None:
            raise kind

    monkeypatch.setattr(inner, "forward", slow)
    monkeypatch.setattr("adec.engines.llama.contained._TICK_SECONDS", 0.01)
    monkeypatch.setattr(contained, "_look_after", look_after)
    with pytest.raises(KeyboardInterrupt):
        engine.forward([4, 5])
    assert engine.length == 3
    scores = engine.forward([6])
    expected = whole.forward([1, 2, 3, 6])
    assert np.allclose(scores.row(0), expected.row(0), atol=1e-4)


def test_only_the_large_model_goes_to_the_servers(header: ModelHeader) -> None:
    asked = OpenOptions(context=64, rpc=("10.0.0.2:1",))
    assert beside_large(header, asked).rpc == ()
    assert beside_large(header, replace(asked, context=99999)).context == header.info.context_limit


@pytest.mark.skipif(supports_rpc(), reason="llama-cpp-python is built with RPC here")
def test_a_library_without_rpc_is_refused_with_the_command_that_builds_it(
    header: ModelHeader,
) -> None:
    asked = replace(OPTIONS, rpc=("127.0.0.1:9",))
    with pytest.raises(EngineError, match="built with RPC, and this one is not") as caught:
        open_engine(header, asked)
    assert 'CMAKE_ARGS="-DGGML_RPC=on" pip install' in str(caught.value)
    assert "llama.cpp: cannot move layers to RPC servers (this build)" in devices()
    with pytest.raises(EngineError):
        check_support()


@contextmanager
def running(port: int) -> Iterator[str]:
    """A real server on the loopback."""
    process = subprocess.Popen(
        [SERVER, "-H", "127.0.0.1", "-p", str(port), "-t", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("127.0.0.1", port)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@needs_rpc
class TestOverRpc(EngineContract):
    tolerance = TOLERANCE
    examples = 10

    @pytest.fixture(scope="class")
    def servers(self) -> Iterator[tuple[str, str]]:
        with running(50171) as one, running(50172) as two:
            yield one, two

    @pytest.fixture
    def fresh(
        self, header: ModelHeader, servers: tuple[str, str]
    ) -> Iterator[Callable[[], Engine]]:
        made: list[Engine] = []

        def one() -> Engine:
            made.append(open_engine(header, replace(OPTIONS, rpc=servers)))
            return made[-1]

        yield one
        for engine in made:
            engine.close()

    def test_rows_are_those_of_this_machine(
        self, fresh: Callable[[], Engine], header: ModelHeader
    ) -> None:
        remote, here = fresh(), LlamaEngine.open(header, OPTIONS)
        assert remote.info.servers and containment().lost is False
        for tokens in ([1, 2, 3, 4], [5], [6, 7]):
            there, local = remote.forward(tokens), here.forward(tokens)
            assert np.allclose(there.row(0), local.row(0), atol=1e-4)
        here.close()

    def test_a_small_model_beside_it_stays_here(
        self, header: ModelHeader, servers: tuple[str, str]
    ) -> None:
        pair = {"large": header, "small": header}
        engines = open_engines(pair, replace(OPTIONS, rpc=servers))
        assert engines["large"].info.servers == servers
        assert engines["small"].info.servers == ()
        assert isinstance(engines["small"], LlamaEngine)
        engines.close()
