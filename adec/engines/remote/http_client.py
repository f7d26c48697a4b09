"""JSON over HTTP, with a server that may answer anything.

Replies are bounded in bytes and in time, redirects are not followed, and a failure is one line.
A request is repeated only while nothing of its reply has been used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from adec.engines.remote.address import RemoteAddress
from adec.errors import RemoteError, UsageError
from adec.events.hostile_json import JsonReader

CONNECT_S = 10.0
PATIENCE_S = 120.0
"""Longest silence of a server that works on a request. Lines that say nothing do not count."""
WHOLE_S = 600.0
"""Longest time for a reply in one piece."""
PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Between a request that failed and its repetition."""
LONGEST_PAUSE_S = 30.0
"""Of what a server asks for by Retry-After."""
KEPT_S = 30.0
"""How long a connection is kept without a request."""
REPLY_BYTES = 64 << 20
LINE_BYTES = 4 << 20
EVENT_BYTES = 64 << 10
"""Of a streamed token, on average."""
QUOTED = 200
"""Characters of a server's words in an error."""
AGAIN = frozenset({429, 500, 502, 503, 504})
BUSY = frozenset({429, 503})

_JSON: JsonReader[Any] = JsonReader(Any)


def library() -> Any:
    """The module of the HTTP client. Raises UsageError where it is missing."""
    try:
        import httpx2
    except ImportError:
        raise UsageError(
            "a model behind an address needs httpx2", hint="pip install 'adec[remote]'"
        ) from None
    return httpx2


class HttpClient:
    """Pooled connections to one server."""

    def __init__(
        self,
        address: RemoteAddress,
        key: str | None,
        *,
        transport: Any = None,
        pause: Callable[[float], None] = time.sleep,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`transport`, `pause`: a test's own."""
        self._http = http = library()
        self.address = address
        self._key = key
        self._pause = pause
        self._patience_s = patience_s
        self.requests = 0
        """Sent so far, repetitions included."""
        headers = {"accept-encoding": "identity", "user-agent": "adec"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        try:
            self._client = http.Client(
                headers=headers,
                follow_redirects=False,
                timeout=http.Timeout(patience_s, connect=min(CONNECT_S, patience_s)),
                limits=http.Limits(
                    max_connections=4, max_keepalive_connections=4, keepalive_expiry=KEPT_S
                ),
                transport=transport,
            )
        except (ValueError, OSError) as error:
            raise self.failure(f"no connection can be made: {error}") from None

    def close(self) -> None:
        """Close all connections. Calling it twice is harmless."""
        self._client.close()

    def warm_up(self) -> None:
        """Open a connection before it is needed."""
        with suppress(RemoteError):
            self.get(f"{self.address.base}/models", again=frozenset())

    def get(self, url: str, *, again: frozenset[int] = AGAIN) -> Any:
        """The JSON at `url`. Raises RemoteError."""
        return self._whole("GET", url, None, again)

    def post(self, url: str, body: Any, *, again: frozenset[int] = AGAIN) -> Any:
        """The JSON that answers `body`, asked for again after states of `again`.

        Raises RemoteError.
        """
        return self._whole("POST", url, body, again)

    def stream(self, url: str, body: Any, events: int) -> Iterator[Any]:
        """The JSON of server-sent events as they arrive, at most about `events` of them.

        Raises RemoteError. Closing the iterator closes the connection, which ends the request.
        """
        with self._sent("POST", url, body, AGAIN) as response:
            kind = response.headers.get("content-type", "")
            if "text/event-stream" not in kind:
                # a server that does not stream answers in one piece
                yield self._json(self._body(response))
                return
            yield from self._events(response, (events + 16) * EVENT_BYTES)

    # ---- inside

    def _whole(self, method: str, url: str, body: Any, again: frozenset[int]) -> Any:
        for number, pause_s in enumerate((*PAUSES_S, None)):
            try:
                with self._sent(method, url, body, again, first=number) as response:
                    return self._json(self._body(response))
            except RemoteError as error:
                # the connection broke within the reply, of which nothing was used yet
                if not error.broken or pause_s is None:
                    raise
            self._pause(pause_s)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _sent(
        self, method: str, url: str, body: Any, again: frozenset[int], first: int = 0
    ) -> Iterator[Any]:
        """A response of state 200 whose body is still to be read."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": "application/json"}
        request = self._client.build_request(method, url, content=content, headers=headers)
        pauses = [*PAUSES_S[first:], None]
        for pause_s in pauses:
            try:
                self.requests += 1
                response = self._client.send(request, stream=True)
            except self._http.HTTPError as error:
                if pause_s is None or not self._may_pass(error):
                    failure = self._broken(error)
                    failure.broken = False  # it was tried again already
                    raise failure from None
                self._pause(pause_s)
                continue
            try:
                if response.status_code in again and pause_s is not None:
                    asked = response.headers.get("retry-after", "")
                    if asked.isascii() and asked.isdigit() and len(asked) < 6:
                        pause_s = min(float(asked), LONGEST_PAUSE_S)
                else:
                    self._check(response)
                    with self._reading():
                        yield response
                    return
            finally:
                response.close()
            self._pause(pause_s)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except self._http.HTTPError as error:
            raise self._broken(error) from None

    def _body(self, response: Any) -> bytes:
        parts: list[bytes] = []
        size, until = 0, time.monotonic() + WHOLE_S
        for part in response.iter_raw():
            size += len(part)
            if size > REPLY_BYTES:
                raise self.failure(f"its reply is larger than {REPLY_BYTES >> 20} MB")
            if time.monotonic() > until:
                raise self.failure(f"its reply takes longer than {WHOLE_S:.0f} s")
            parts.append(part)
        return b"".join(parts)

    def _events(self, response: Any, most: int) -> Iterator[Any]:
        rest, size = b"", 0
        until = time.monotonic() + self._patience_s
        for part in response.iter_raw():
            size += len(part)
            if size > most:
                raise self.failure("its stream goes on without an end")
            *lines, rest = (rest + part).split(b"\n")
            if len(rest) > LINE_BYTES:
                raise self.failure("its stream has a line without an end")
            for line in lines:
                data = _data(line)
                if data == b"[DONE]":
                    return
                if data:
                    yield self._json(data)
                    until = time.monotonic() + self._patience_s
            if time.monotonic() > until:
                raise self.failure(f"it has said nothing for {self._patience_s:.0f} s")
        if (data := _data(rest)) and data != b"[DONE]":
            yield self._json(data)

    def _json(self, data: bytes) -> Any:
        if data.lstrip()[:1] == b"<":
            raise self.failure("it answers with a web page, not with JSON; is it a proxy's?")
        try:
            if b"\\ud" in data.lower():
                # half a character pair, which no encoder takes, is refused here
                msgspec.json.decode(data)
            return _JSON.read(data)
        except (ValueError, RecursionError):
            raise self.failure("it answers with what is not JSON") from None

    def _check(self, response: Any) -> None:
        """Raise RemoteError unless the response is a reply in JSON or events."""
        status = response.status_code
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self.failure("it compresses its replies, which was not asked for")
        if status == 200:
            if "text/html" in response.headers.get("content-type", ""):
                raise self.failure("it answers with a web page, not with JSON; is it a proxy's?")
            return
        if 300 <= status < 400:
            raise self.failure("it redirects to another address, which is not followed", status)
        words = ""
        with self._reading():
            for part in response.iter_raw():
                words = _words(part)
                break
        if status in (401, 403):
            how = "it refuses the key" if self._key else "it asks for a key"
            raise self.failure(
                how, status, "put the key into ADEC_API_KEY, or into a file for --key-file"
            )
        raise self.failure(f"it answers {status}{': ' if words else ''}{words}", status)

    def _may_pass(self, error: Exception) -> bool:
        """Whether to try again: not where a certificate or an address is wrong."""
        return (
            isinstance(error, self._http.TransportError)
            and not isinstance(error, (self._http.UnsupportedProtocol, self._http.ProxyError))
            and "certificate" not in str(error).lower()
        )

    def _broken(self, error: Exception) -> RemoteError:
        http, words = self._http, " ".join(str(error).split())[:QUOTED]
        if "certificate" in words.lower():
            return self.failure(f"its certificate does not fit: {words}")
        if isinstance(error, http.TimeoutException):
            failure = self.failure("it does not answer in time")
        elif isinstance(error, http.ConnectError):
            failure = self.failure(f"no connection: {words}", None, "is the server running?")
        else:
            failure = self.failure(f"the connection broke: {words or type(error).__name__}")
        failure.broken = True
        return failure

    def failure(self, why: str, status: int | None = None, hint: str | None = None) -> RemoteError:
        """An error of this server, which never holds the key."""
        if self._key:
            why = why.replace(self._key, "…")
        return RemoteError(f"{self.address.place}: {why}", status=status, hint=hint)


def _data(line: bytes) -> bytes:
    """What a line of an event stream says; empty for comments and other fields."""
    return line[5:].strip() if line.startswith(b"data:") else b""


def _words(data: bytes) -> str:
    """What a refusal says, short and printable."""
    if data.lstrip()[:1] == b"<":
        return "a web page"
    try:
        found = _JSON.read(data)
    except ValueError:
        found = data.decode("utf-8", "replace")
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    text = found if isinstance(found, str) else str(found)
    return "".join(c if c.isprintable() else " " for c in text[:QUOTED]).strip()
