"""What happens between here and a server, over real sockets and through the command line: what was
shown stays, and what failed is one line."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from adec.engines.remote import remote_header
from adec.engines.remote.abilities import probe
from adec.engines.remote.address import parse_address
from adec.engines.remote.http_client import HttpClient
from adec.engines.remote.server_engine import ServerEngine
from adec.engines.vocabularies.vocabulary import Vocabulary
from tests import laws
from tests.cli.command import Outcome, call
from tests.engines.remote.fake_server import FakeServer
from tools.network.slow_link import SlowLink

SIZE = 8
TOKENS = 20


def endless(prefix: tuple[int, ...]) -> list[float]:
    return [*laws.law(SIZE - 1, 4)(prefix), 0.0]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(endless, SIZE, "llama-server") as found:
        yield found


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts, which take no time."""
    found: list[float] = []
    monkeypatch.setitem(HttpClient.__init__.__kwdefaults__, "pause", found.append)
    monkeypatch.setattr(ServerEngine.__init__, "__defaults__", (None, found.append))
    return found


def run(capsys: Any, address: str, *more: object) -> Outcome:
    words = "run", "--model", address, "-n", TOKENS, "--plain", "--quiet", *more, "abcb"
    return call(capsys, *words)


def through(server: FakeServer) -> SlowLink:
    parts = urlsplit(server.url)
    assert parts.hostname is not None and parts.port is not None
    return SlowLink(parts.hostname, parts.port, 0)


def assert_failed_in_one_line(outcome: Outcome, words: str) -> None:
    assert outcome.code == 1 and outcome.err.count("\n") == 1, outcome.err
    assert words in outcome.err and "Traceback" not in outcome.err


def test_a_busy_server_is_asked_again_when_it_says(
    server: FakeServer, capsys: Any, waits: list[float]
) -> None:
    whole = run(capsys, server.url).out
    server.states, server.retry_after = [429, 503, 429, 200], "2"
    outcome = run(capsys, server.url)
    assert (outcome.code, outcome.out, outcome.err) == (0, whole, "")
    assert waits == [2.0, 2.0, 2.0]


def test_a_server_that_stays_busy_is_given_up(server: FakeServer, capsys: Any) -> None:
    server.states = [429] * 30
    outcome = run(capsys, server.url)
    assert_failed_in_one_line(outcome, "answers 429")
    assert outcome.out == ""


def test_a_refusal_is_not_repeated(server: FakeServer, capsys: Any, waits: list[float]) -> None:
    server.states = [403]
    assert_failed_in_one_line(run(capsys, server.url), "asks for a key")
    assert len(server.requests) == 1 and waits == []


def test_a_truncated_stream_is_gone_on_with_behind_what_was_shown(
    server: FakeServer, capsys: Any
) -> None:
    whole = run(capsys, server.url).out
    server.requests.clear()
    server.breaks = [3, 5]
    outcome = run(capsys, server.url)
    assert (outcome.code, outcome.out, outcome.err) == (0, whole, "")
    lengths = [len(body["prompt"]) for body in server.requests]
    assert lengths == [lengths[0], lengths[0] + 3, lengths[0] + 8]


def test_a_link_that_is_cut_for_a_while_costs_time_only(server: FakeServer, capsys: Any) -> None:
    whole = run(capsys, server.url).out
    server.requests.clear()
    with through(server) as link:

        def cut(number: int) -> None:
            if number == 4:
                link.cut()
                threading.Timer(0.2, link.mend).start()

        server.watch = cut
        outcome = run(capsys, f"http://{link.address}/v1")
    assert (outcome.code, outcome.out, outcome.err) == (0, whole, "")
    assert len(server.requests) == 1


def test_a_server_that_dies_in_mid_answer_leaves_what_was_shown(
    server: FakeServer, capsys: Any
) -> None:
    whole = run(capsys, server.url).out

    def die(number: int) -> None:
        if number == 4:
            server.close()
            raise ConnectionError

    server.watch = die
    outcome = run(capsys, server.url)
    assert_failed_in_one_line(outcome, "no connection")
    assert len(outcome.out.strip()) == 4 and whole.startswith(outcome.out.strip())


def test_a_certificate_that_nobody_vouches_for_is_refused_before_a_prompt_is_sent(
    server: FakeServer, capsys: Any, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    more = "-subj", "/CN=localhost", "-keyout", key, "-out", certificate
    subprocess.run([openssl, *words.split(), *more], check=True, capture_output=True)
    server.encrypt(certificate, key)
    outcome = run(capsys, server.url.replace("http://", "https://"))
    assert_failed_in_one_line(outcome, "certificate")
    assert outcome.out == "" and server.requests == []


def test_http_where_https_is_spoken_is_one_line(server: FakeServer, capsys: Any) -> None:
    outcome = run(capsys, server.url.replace("http://", "https://"))
    assert_failed_in_one_line(outcome, "connection")
    assert outcome.out == "" and server.requests == []


def test_a_server_is_not_asked_for_ids_that_another_vocabulary_lacks(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama-cpp-python's server would end with the first of them."""
    pieces = tuple(f"t{number} ".encode() for number in range(50_000))
    vocabulary = Vocabulary("gpt2", pieces)
    asked: list[int] = []

    def theirs(known: int, other: str) -> Callable[..., str]:
        def detokenize(client: Any, abilities: Any, ids: Sequence[int]) -> str:
            asked.extend(ids)
            assert max(ids) < known
            return "".join(other + pieces[token].decode() for token in ids)

        return detokenize

    client = HttpClient(parse_address(server.url), None)
    abilities = probe(client)
    monkeypatch.setattr(remote_header, "detokenize", theirs(256, "x"))
    assert "other texts" in str(remote_header._unlike(client, abilities, vocabulary))
    asked.clear()
    monkeypatch.setattr(remote_header, "detokenize", theirs(50_000, ""))
    assert remote_header._unlike(client, abilities, vocabulary) is None
    assert asked == sorted(asked) and len(set(asked)) == len(asked) >= 64 and max(asked) > 40_000
