"""A server of completions in this process, whose model is a law: each dialect, and each failure."""

from __future__ import annotations

import json
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from adec.engines.base import ModelHeader
from adec.engines.remote.abilities import probe
from adec.engines.remote.address import parse_address
from adec.engines.remote.http_client import HttpClient
from adec.engines.remote.remote_header import header_from
from adec.engines.remote.server_engine import ServerEngine
from adec.engines.table import Law, TableEngine, letters

KEY = "sk-a-key-that-nobody-may-see"


class FakeServer:
    """`law` over the vocabulary of `letters(size)`; `dialect` as `Abilities.dialect` names them."""

    def __init__(
        self,
        law: Law,
        size: int,
        dialect: str = "llama-server",
        *,
        shifted: bool = False,
        vocabulary_bias: int = 0,
    ) -> None:
        """`shifted`: rows of an echoed prompt stand one place too early, as in llama-cpp-python.

        `vocabulary_bias`: added to an id before its text is told, as with another tokenizer.
        """
        self.law, self.size, self.dialect, self.shifted = law, size, dialect, shifted
        self.bias = vocabulary_bias
        self.pieces = [piece.decode() for piece in letters(size).pieces]
        self.end = size - 1
        self.models = ["fake"]
        self.states: list[int] = []
        """Answer the next requests for completions with these."""
        self.breaks: list[int] = []
        """Break the next streams after so many events."""
        self.retry_after: str | None = None
        """Told with a state that is no success."""
        self.watch: Callable[[int], None] = lambda number: None
        """Called before each event of a stream; may break it."""
        self.key: str | None = None
        self.requests: list[dict[str, Any]] = []
        """Bodies of requests for completions."""
        self.hidden: set[int] = set()
        """Tokens that are not told one by one in a stream, as those within a character."""
        self._server = _Http(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self.close()

    def encrypt(self, certificate: Path, key: Path) -> None:
        """Speak TLS from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def close(self) -> None:
        """Free the port; enough for a server that was never entered."""
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def engine(
        self, *, context: int = 4096, budget: int | None = None, key: str | None = None
    ) -> ServerEngine:
        """An engine on it that speaks the letters' vocabulary; pauses take no time."""
        beside = TableEngine(self.law, size=self.size, context=context)
        header = ModelHeader(beside.info, beside.vocabulary, beside.capabilities)
        client = HttpClient(parse_address(self.url), key, pause=lambda _: None, patience_s=20)
        remote = header_from(client, probe(client), header)
        engine = ServerEngine(remote, client, context, budget, pause=lambda _: None)
        engine.borrow_tokenizer(beside)
        return engine

    # ---- answers

    def get(self, path: str) -> Any:
        if path == "/v1/models":
            owner = {"llama-server": "llamacpp", "vllm": "vllm"}.get(self.dialect, "me")
            return {
                "object": "list",
                "data": [{"id": name, "owned_by": owner} for name in self.models],
            }
        if path == "/props" and self.dialect == "llama-server":
            return {"default_generation_settings": {"n_ctx": 4096}}
        return None

    def detokenize(self, path: str, body: dict[str, Any]) -> Any:
        names = {
            "llama-server": ("/detokenize", "content"),
            "vllm": ("/detokenize", "prompt"),
            "echo": ("/extras/detokenize", "text"),
        }
        wanted, name = names.get(self.dialect, ("", ""))
        if path == "/extras/tokenize" and self.dialect == "echo":
            return {"tokens": self.read(body["input"])}
        if path != wanted:
            return None
        return {name: "".join(self.pieces[(t + self.bias) % self.size] for t in body["tokens"])}

    def read(self, prompt: Any) -> list[int]:
        if not isinstance(prompt, str):
            return list(prompt)
        return [self.pieces.index(char) if char in self.pieces else 0 for char in prompt]

    def row(self, prefix: Sequence[int]) -> list[tuple[int, float]]:
        """The law after a prefix as (id, nats), likeliest first."""
        chances = enumerate(self.law(tuple(prefix)))
        ranked = sorted(chances, key=lambda one: (-one[1], one[0]))
        return [(token, math.log(p) if p > 0 else -3.4e38) for token, p in ranked]

    def written(self, prefix: Sequence[int], count: int) -> Iterator[tuple[int, list[Any], bool]]:
        """(token, its row, whether it ends the answer) of a greedy answer."""
        sequence = list(prefix)
        for _ in range(count):
            row = self.row(sequence)
            token = row[0][0]
            yield token, row, token == self.end
            if token == self.end:
                return
            sequence.append(token)

    def llama(self, body: dict[str, Any]) -> Iterator[Any]:
        """Events of llama-server; of a whole answer there is one."""
        prompt, top = self.read(body["prompt"]), body["n_probs"]
        tokens, rows, ended, count = [], [], False, 0
        for token, row, last in self.written(prompt, body["n_predict"]):
            count += 1
            if last and body.get("ignore_eos"):
                row_of_end, token = row, row[1][0]
                row, last = row_of_end, False
            ended = last
            if last:
                break
            tokens.append(token)
            rows.append(self._llama_row(token, row, top))
            if body.get("stream") and token not in self.hidden:
                yield self._llama_event([token], rows[-1:], count, len(prompt))
        final = self._llama_event(tokens, rows, count, len(prompt))
        if body.get("stream"):
            final |= {"tokens": [], "completion_probabilities": [], "content": ""}
        yield final | {"stop": True, "stop_type": "eos" if ended else "limit"}

    def _llama_row(self, token: int, row: list[Any], top: int) -> dict[str, Any]:
        told = [
            {"id": t, "token": self.pieces[t], "bytes": list(self.pieces[t].encode()), "logprob": n}
            for t, n in row[:top]
        ]
        return {
            "id": token,
            "token": self.pieces[token],
            "logprob": row[0][1],
            "top_logprobs": told,
        }

    def _llama_event(self, tokens: list[int], rows: list[Any], count: int, read: int) -> Any:
        return {
            "content": "".join(self.pieces[t] for t in tokens),
            "tokens": tokens,
            "stop": False,
            "tokens_predicted": count,
            "tokens_evaluated": read,
            "completion_probabilities": rows,
        }

    def openai(self, body: dict[str, Any]) -> Iterator[Any]:
        prompt, top = self.read(body["prompt"]), body.get("logprobs") or 0
        numbers = bool(body.get("return_tokens_as_token_ids"))
        written = list(self.written(prompt, body["max_tokens"]))
        ended = bool(written) and written[-1][2]
        shown = [one for one in written if not one[2] or self.dialect == "vllm"]
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(shown)}
        reason = "stop" if ended else "length"
        if body.get("stream"):
            for token, row, last in shown:
                yield self._choice(
                    "" if last else self.pieces[token], [(token, row, token)], top, None, numbers
                )
            yield {"choices": [{"text": "", "index": 0, "finish_reason": reason}], "usage": usage}
            return
        told = [(token, row, token) for token, row, _ in shown]
        text = "".join(self.pieces[t] for t, _, last in shown if not last)
        if body.get("echo"):
            rows = [self.row(prompt[:at]) for at in range(len(prompt) + 1)]
            given = [(token, rows[at], token) for at, token in enumerate(prompt)]
            text = "".join(self.pieces[t] for t in prompt) + text
            if self.shifted:
                told = [(token, rows[at + 1], token) for at, token in enumerate(prompt)]
            else:
                told = [*given, *told]
        reply = self._choice(text, told, top, reason, numbers)
        if body.get("echo"):
            # characters that the letters lack are told as they are
            names = reply["choices"][0]["logprobs"]["tokens"]
            names[: len(prompt)] = list(body["prompt"])
            reply["choices"][0]["text"] = body["prompt"] + text[len(prompt) :]
        if body.get("echo") and told:
            reply["choices"][0]["logprobs"]["top_logprobs"][0] = None
            reply["choices"][0]["logprobs"]["token_logprobs"][0] = None
        if body.get("prompt_logprobs"):
            count = body["prompt_logprobs"]
            reply["choices"][0]["prompt_logprobs"] = [
                None if at == 0 else self._vllm_row(token, self.row(prompt[:at]), count)
                for at, token in enumerate(prompt)
            ]
        yield reply | {"usage": usage}

    def _vllm_row(self, token: int, row: list[Any], count: int) -> dict[str, Any]:
        ranks = {t: rank for rank, (t, _) in enumerate(row, 1)}
        nats = dict(row)
        told = dict.fromkeys([token, *(t for t, _ in row[:count])])
        return {
            str(t): {"logprob": nats[t], "rank": ranks[t], "decoded_token": self.pieces[t]}
            for t in told
        }

    def _choice(
        self, text: str, told: list[Any], top: int, reason: str | None, numbers: bool
    ) -> dict[str, Any]:
        name = (lambda t: f"token_id:{t}") if numbers else self.pieces.__getitem__
        logprobs = None
        if top:
            logprobs = {
                "tokens": [name(token) for token, _, _ in told],
                "token_logprobs": [dict(row)[own] for _, row, own in told],
                "top_logprobs": [
                    {name(t): n for t, n in row[:top]} | {name(own): dict(row)[own]}
                    for _, row, own in told
                ],
            }
        choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": reason}
        return {"object": "text_completion", "choices": [choice]}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._whole(self.server.fake.get(self.path))

    def do_POST(self) -> None:
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/completion" and fake.dialect == "llama-server":
            events = fake.llama
        elif self.path == "/v1/completions" and fake.dialect != "llama-server":
            events = fake.openai
        else:
            self._whole(fake.detokenize(self.path, body))
            return
        if fake.key is not None and self.headers.get("authorization") != f"Bearer {fake.key}":
            self._refuse(401, {"error": {"message": "wrong key"}})
            return
        fake.requests.append(body)
        if fake.states:
            state = fake.states.pop(0)
            if state != 200:
                self._refuse(state, {"error": {"message": f"state {state}"}})
                return
        refused = (
            ("echo" in body and fake.dialect == "openai")
            or ("prompt_logprobs" in body and fake.dialect != "vllm")
            or (not isinstance(body["prompt"], str) and fake.dialect in ("echo", "openai"))
        )
        if refused:
            self._refuse(400, {"error": {"message": "no such thing here"}})
        elif body.get("stream"):
            self._stream(events(body))
        else:
            self._whole(next(iter([list(events(body))[-1]])))

    def _refuse(self, state: int, data: Any) -> None:
        raw = json.dumps(data).encode()
        self.send_response(state)
        if self.server.fake.retry_after is not None:
            self.send_header("retry-after", self.server.fake.retry_after)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _whole(self, data: Any) -> None:
        if data is None:
            self._refuse(404, {"detail": "Not Found"})
            return
        raw = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, events: Iterator[Any]) -> None:
        fake = self.server.fake
        breaks = fake.breaks.pop(0) if fake.breaks else None
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(events):
            fake.watch(number)
            if number == breaks:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._chunk(f": a comment\n\ndata: {json.dumps(event)}\n\n".encode())
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()
