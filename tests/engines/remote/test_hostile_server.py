"""What a server may do wrong is one line, bounded in time and memory; and nothing is lost."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adec.engines.remote.address import parse_address
from adec.engines.remote.api_key import KEY as KEY_NAME
from adec.engines.remote.api_key import KEY_FILE, read_key
from adec.engines.remote.http_client import PAUSES_S, HttpClient
from adec.errors import RemoteError, UsageError
from tests import laws
from tests.cli.command import call
from tests.engines.remote.fake_server import KEY, FakeServer
from tests.fuzz.fuzz_remote import HostileServer, fuzz

SIZE = 8
PAGE = b"<!DOCTYPE html><html>Sign in</html>"


def head(state: int, kind: str, length: int | None, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {state} X", f"content-type: {kind}", *more]
    lines += [] if length is None else [f"content-length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def answers(parts: Callable[[], Iterator[bytes]]) -> Callable[[str, bytes], Iterator[bytes]]:
    return lambda path, body: parts()


def client(server: HostileServer, waits: list[float], key: str | None = None) -> HttpClient:
    address = parse_address(f"http://127.0.0.1:{server.port}/v1")
    return HttpClient(address, key, pause=waits.append, patience_s=2)


@pytest.fixture
def hostile() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


def endless_stream() -> Iterator[bytes]:
    yield head(200, "text/event-stream", None)
    while True:
        yield b'data: {"content": "aaaa", "tokens": [1]}\n\n' * 100


def endless_line() -> Iterator[bytes]:
    yield head(200, "text/event-stream", None) + b"data: "
    while True:
        yield b"[" * 65536


def endless_comments() -> Iterator[bytes]:
    yield head(200, "text/event-stream", None)
    while True:
        yield b": still here\n\n" * 1000


WRONG: dict[str, tuple[bytes, str]] = {
    "page": (head(200, "text/html", len(PAGE)) + PAGE, "a web page"),
    "page as json": (head(200, "application/json", len(PAGE)) + PAGE, "a web page"),
    "no json": (head(200, "application/json", 5) + b"{nope", "not JSON"),
    "nan": (head(200, "application/json", 8) + b'{"a":NaN', "not JSON"),
    "half": (head(200, "application/json", 8) + b'"\\ud800"', "not JSON"),
    "redirect": (head(302, "text/plain", 0, "location: http://127.0.0.1:1/"), "redirects"),
    "compressed": (head(200, "application/json", 2, "content-encoding: gzip") + b"{}", "compress"),
    "long": (head(200, "application/json", 9) + b"[[[[[[[[[", "not JSON"),
    "no http": (b"SSH-2.0-OpenSSH_9.6\r\n", "the connection broke"),
    "refusal": (head(418, "application/json", 25) + b'{"error":{"message":"x"}}', "418: x"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_one_line(name: str, hostile: HostileServer) -> None:
    raw, words = WRONG[name]
    hostile.answer = answers(lambda: iter([raw]))
    with pytest.raises(RemoteError, match=words) as caught:
        client(hostile, []).get(f"http://127.0.0.1:{hostile.port}/v1/models")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (endless_stream, "without an end"),
        (endless_line, "without an end"),
        (endless_comments, "without an end|said nothing"),
    ],
)
def test_what_never_ends_is_ended(parts: Any, words: str, hostile: HostileServer) -> None:
    hostile.answer = answers(parts)
    stream = client(hostile, []).stream(f"http://127.0.0.1:{hostile.port}/x", {}, 10)
    with pytest.raises(RemoteError, match=words):
        for _ in stream:
            pass


def test_refused_connections_are_tried_again_for_a_while() -> None:
    with HostileServer() as gone:
        pass
    waits: list[float] = []
    with pytest.raises(RemoteError, match="no connection"):
        client(gone, waits).get(f"http://127.0.0.1:{gone.port}/v1/models")
    assert waits == list(PAUSES_S)


def test_a_server_says_how_long_to_wait_up_to_a_bound(hostile: HostileServer) -> None:
    replies = [
        head(429, "application/json", 0, "retry-after: 3"),
        head(503, "application/json", 0, "retry-after: 99999"),
        head(200, "application/json", 2) + b"{}",
    ]
    hostile.answer = answers(lambda: iter([replies.pop(0)]))
    waits: list[float] = []
    assert client(hostile, waits).get(f"http://127.0.0.1:{hostile.port}/v1/models") == {}
    assert waits == [3.0, 30.0]


def test_an_error_never_holds_the_key(hostile: HostileServer) -> None:
    body = json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()
    hostile.answer = answers(lambda: iter([head(400, "application/json", len(body)) + body]))
    with pytest.raises(RemoteError, match="bad key …") as caught:
        client(hostile, [], KEY).get(f"http://127.0.0.1:{hostile.port}/v1/models")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["http://", "http://a b/v1", "http://h:99999999/v1", "http://h/v1?key=3", "http://h:0/v1",
     "http://[::1/v1", "http://u:secret@h/v1", f"http://{'h' * 3000}/v1"],
)  # fmt: skip
def test_a_bad_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(address)
    assert "secret" not in str(caught.value)


def test_addresses_are_read_as_people_write_them() -> None:
    for text in ("http://h:1/v1", "http://h:1/v1/", "http://h:1", "http://h:1/v1/completions"):
        assert parse_address(text).base == "http://h:1/v1"
    assert parse_address("http://h:1/v1#a/b").model == "a/b"
    assert parse_address("http://8.8.8.8/v1").in_the_open
    assert not parse_address("https://8.8.8.8/v1").in_the_open
    assert not parse_address("http://192.168.3.4/v1").in_the_open


def test_a_key_comes_from_a_file_or_the_environment(tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert read_key({}) is None
    assert read_key({KEY_NAME: "a"}) == "a"
    assert read_key({KEY_NAME: "a", KEY_FILE: str(file)}) == KEY
    file.write_text("two words")
    for wrong in (str(file), str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(UsageError):
            read_key({KEY_FILE: wrong})


# ---- through the command line


def endless(prefix: tuple[int, ...]) -> list[float]:
    """A law without an end."""
    return [*laws.law(SIZE - 1, 4)(prefix), 0.0]


def run(capsys: Any, server: FakeServer, *more: object) -> Any:
    return call(capsys, "run", "--model", server.url, "-n", 20, *more, "abcb")


def test_a_server_alone_answers_and_is_paid_for(capsys: Any) -> None:
    for dialect in ("llama-server", "vllm", "echo", "openai"):
        with FakeServer(laws.law(SIZE, 4), SIZE, dialect) as server:
            found = json.loads(run(capsys, server, "--json").out)
            written = [t for t, _, last in server.written([0, 1, 2, 1], 20) if not last]
            assert found["text"] == "".join(server.pieces[token] for token in written)
            assert found["summary"]["bought"]["requests"] == 1
            assert found["summary"]["strategy"] == "plain"


def test_what_was_shown_stays_when_a_server_dies(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("adec.engines.remote.http_client.PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr("adec.engines.remote.server_engine.PAUSES_S", (0.0, 0.0))
    with FakeServer(endless, SIZE, "llama-server") as server:
        whole = run(capsys, server, "--plain").out
        server.breaks, server.states = [3], [200, *[500] * 30]
        outcome = run(capsys, server, "--plain")
        assert outcome.code == 1 and len(outcome.out.strip()) == 3
        assert whole.startswith(outcome.out.strip()) and len(whole) > 4
        assert outcome.err.count("\n") == 1 and "answers 500" in outcome.err


def test_a_budget_a_key_and_a_name_are_checked(capsys: Any, tmp_path: Any) -> None:
    with FakeServer(laws.law(SIZE, 4), SIZE, "openai") as server:
        server.models = ["one", "two"]
        outcome = run(capsys, server)
        assert outcome.code == 2 and "several models: one, two" in outcome.err
        server.models, server.key = ["one"], KEY
        assert "asks for a key" in run(capsys, server).err
        file = tmp_path / "key"
        file.write_text(KEY)
        trace = tmp_path / "run.jsonl"
        outcome = run(capsys, server, "--key-file", file, "--trace", trace)
        assert outcome.code == 0 and KEY not in trace.read_text() + outcome.out + outcome.err
        outcome = run(capsys, server, "--key-file", file, "--budget-tokens", 1)
        assert outcome.code == 1 and "budget of 1" in outcome.err


def test_inspect_says_what_a_server_can(capsys: Any) -> None:
    with FakeServer(laws.law(SIZE, 4), SIZE, "vllm") as server:
        data = json.loads(call(capsys, "inspect", server.url, "--json").out)
        assert data["abilities"]["scores"] and data["abilities"]["latency_ms"] > 0
        assert "scores given tokens" in call(capsys, "inspect", server.url).out


def test_fuzzed_answers_end_in_one_line() -> None:
    outcomes, findings = fuzz(60, random.Random(0).randrange(1000))
    assert findings == []
    assert outcomes["answered"] > 0 and sum(outcomes.values()) == 60
