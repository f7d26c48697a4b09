"""Find answers of a server that end in anything but one line.

    python -m tests.fuzz.fuzz_remote -n 10000 --seed 1

A server on a socket of its own answers every request of a run by a mutant of a right answer: broken
JSON and HTTP, NaN, absurd lengths and ids, endless lines and streams, web pages, redirects. What a
server may do wrong is an AdecError; another exception, or memory that grows, is a finding. Exits 1
when there is one.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import socket
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.plain import Plain
from adec.decoding.strategy import Limits, Prompt
from adec.engines.base import ModelHeader
from adec.engines.remote.abilities import probe
from adec.engines.remote.address import parse_address
from adec.engines.remote.http_client import HttpClient
from adec.engines.remote.remote_header import header_from
from adec.engines.remote.server_engine import ServerEngine
from adec.engines.table import TableEngine
from adec.errors import AdecError
from tests import laws
from tests.engines.remote.fake_server import FakeServer

SIZE = 8
MEMORY_BYTES = 400 << 20
"""How much larger the process may grow."""
DIALECTS = ("llama-server", "vllm", "echo", "openai")
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 2**80, 1e308, -1e308, 0.5, "", "x" * 5000, "\ud800", "\x1b[2J",
    [], {}, [[[[]]]], [None] * 50, {"a": {}}, "token_id:99999999999", [1e999], "<html>",
)  # fmt: skip


class HostileServer:
    """Answers on a socket, byte by byte as `answer` says, while entered."""

    def __init__(self) -> None:
        self.answer: Callable[[str, bytes], Iterator[bytes]] = lambda path, body: iter(())
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> HostileServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                self._one(connection)

    def _one(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        size = next(
            (int(x.split(":")[1]) for x in lines if x.lower().startswith("content-length")), 0
        )
        while len(body) < size:
            body += connection.recv(65536)
        for part in self.answer(lines[0].split(" ")[1], body):
            connection.sendall(part)


def right_answers(fake: FakeServer) -> Callable[[str, bytes], list[Any] | None]:
    """The events of the right answer to a request; None where there is no such path."""

    def answer(path: str, body: bytes) -> list[Any] | None:
        if not body:
            found = fake.get(path)
            return None if found is None else [found]
        asked = json.loads(body)
        if path == "/completion":
            return list(fake.llama(asked))
        if path == "/v1/completions":
            return list(fake.openai(asked))
        found = fake.detokenize(path, asked)
        return None if found is None else [found]

    return answer


def spoil(rng: random.Random, value: Any) -> Any:
    """The same data with one place changed, dropped or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: spoil(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:at] + value[at:] * rng.choice((0, 2, 40))
        return [*value[:at], spoil(rng, value[at]), *value[at + 1 :]]
    return rng.choice(ODD)


def mutant(rng: random.Random, events: list[Any] | None, stream: bool) -> Iterator[bytes]:
    """Bytes of a response, mostly nearly right."""
    how = rng.random()
    if events is None:
        yield _head(404, "application/json", b'{"detail": "Not Found"}')
        return
    if how < 0.6:
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            at = rng.randrange(len(events))
            events = [*events[:at], spoil(rng, events[at]), *events[at + 1 :]]
    texts = [json.dumps(event).encode() for event in events]
    if 0.6 <= how < 0.7:
        at = rng.randrange(len(texts))
        text = bytearray(texts[at])
        for _ in range(rng.randrange(1, 6)):
            text[rng.randrange(len(text))] = rng.randrange(256)
        texts[at] = bytes(text)[: rng.randrange(1, len(text) + 1)]
    if stream:
        whole = b"".join(b"data: " + text + b"\n\n" for text in texts) + b"data: [DONE]\n\n"
        kind = "text/event-stream"
    else:
        whole, kind = texts[-1], "application/json"
    if how < 0.8:
        yield _head(200, kind, whole)
        return
    page = b"<html><body>Sign in to this network</body></html>"
    choice = rng.randrange(12)
    if choice == 0:
        yield _head(200, "text/html", page)
    elif choice == 1:
        yield _head(rng.choice((301, 302, 307)), kind, b"", "location: http://127.0.0.1:1/")
    elif choice == 2:
        yield _head(rng.choice((400, 404, 500, 429, 503, 599, 999)), "text/html", page)
    elif choice == 3:
        yield _head(200, kind, whole)[: rng.randrange(1, 200)]
    elif choice == 4:
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n" + whole
    elif choice == 5:
        yield bytes(rng.randrange(256) for _ in range(rng.randrange(300)))
    elif choice == 6:
        yield b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        for _ in range(200):
            yield b"data: " + rng.choice(texts) + b"\n\n"
    elif choice == 7:
        yield b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: "
        for _ in range(80):
            yield b"[" * 65536
    elif choice == 8:
        yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF\r\n" + whole
    elif choice == 9:
        yield _head(200, kind, whole, "content-encoding: gzip")
    elif choice == 10:
        yield _head(200, kind, b"[" * 100_000)
    else:
        yield _head(200, kind, b'{"choices": [{"text": "' + b"a" * 300_000 + b'"}]}')


def _head(state: int, kind: str, body: bytes, more: str = "x-nothing: 1") -> bytes:
    head = f"HTTP/1.1 {state} Some\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
    return f"{head}{more}\r\nconnection: close\r\n\r\n".encode() + body


def run_once(rng: random.Random, server: HostileServer, spoilt: float) -> None:
    """A probe and two answers. Raises AdecError on a clean refusal."""
    law = laws.law(SIZE, rng.randrange(1000))
    fake = FakeServer(law, SIZE, rng.choice(DIALECTS), shifted=rng.random() < 0.5)
    right = right_answers(fake)

    def answer(path: str, body: bytes) -> Iterator[bytes]:
        events = right(path, body)
        stream = b'"stream":true' in body
        if rng.random() < spoilt:
            return mutant(rng, events, stream)
        return mutant(_Tame(), events, stream)

    server.answer = answer
    address = parse_address(f"http://127.0.0.1:{server.port}/v1")
    client = HttpClient(address, None, pause=lambda _: None, patience_s=5)
    small = TableEngine(law, size=SIZE)
    try:
        header = ModelHeader(small.info, small.vocabulary, small.capabilities)
        remote = header_from(client, probe(client), header)
        engine = ServerEngine(remote, client, 256, pause=lambda _: None)
        engine.borrow_tokenizer(small)
        limits = Limits(12, frozenset({SIZE - 1}))
        settings = EadSettings(up=1.0, window=1, dwell=1)
        for strategy in (Plain(engine), Ead(small, engine, settings)):
            steps = list(strategy.generate(Prompt((0, 1, 2)), limits))
            assert sum(len(step.tokens) for step in steps) <= 12
        if "rewind" in engine.capabilities:
            engine.rewind(0)
            scores = engine.forward([0, 1, 2, 3], rows=3)
            for row in range(3):
                assert 0 <= scores.argmax(row) < SIZE
                assert 0 <= scores.entropy(row) < 100
                assert scores.row(row).shape == (SIZE,)
    finally:
        client.close()
        fake.close()


class _Tame(random.Random):
    """Changes nothing."""

    def random(self) -> float:
        return 0.75


def fuzz(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(what became of the runs, findings)."""
    outcomes: Counter[str] = Counter()
    findings: list[str] = []
    with HostileServer() as server:
        before = 0
        for number in range(count):
            rng = random.Random(f"{seed} {number}")
            try:
                run_once(rng, server, rng.choice((0.05, 0.3, 1.0)))
                outcomes["answered"] += 1
            except AdecError as error:
                outcomes[type(error).__name__] += 1
                if "\n" in str(error) or len(str(error)) > 1000 or not str(error).isprintable():
                    findings.append(f"{number}: no line: {str(error)[:300]!r}")
            except Exception:
                findings.append(f"{number}: {traceback.format_exc()}")
            memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if number == min(100, count - 1):
                before = memory
            if before and memory > before + MEMORY_BYTES:
                findings.append(f"{number}: {memory >> 20} MB, {before >> 20} MB at the start")
                break
            if len(findings) >= 20:
                break
    return outcomes, findings


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", "--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcomes, findings = fuzz(given.count, given.seed)
    print(", ".join(f"{name} {number}" for name, number in outcomes.most_common()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{len(findings)} findings, at most {memory} MB")
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
