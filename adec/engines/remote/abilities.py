"""What a server can do: asked once, before anything is generated, and said."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adec.engines.remote.dialects import (
    Dialect,
    DialectName,
    EchoServer,
    LlamaCppPython,
    LlamaServer,
    OpenAi,
    Vllm,
)
from adec.engines.remote.http_client import BUSY, HttpClient
from adec.engines.remote.replies import ServerReply, is_shifted
from adec.errors import RemoteError, UsageError

TOP = 20
"""Likeliest tokens asked for at a position: what vLLM gives at most by default."""
PROBE = "The sea is deep. The sea"
LONGER = f"{PROBE} is"
PROBE_IDS = (1, 2, 1, 2)
PINGS = 3
SHOWN = 6
_NO_TOKENS = "none"


@dataclass(frozen=True)
class Abilities:
    """A server and one model behind it."""

    dialect: DialectName
    model: str
    ids: bool
    """Whether prompts may be token ids, and answers tell theirs."""
    scores: bool
    """Whether it tells log-probabilities of given tokens."""
    likeliest: int
    """Likeliest tokens that it tells at a position."""
    prefix_cache: bool | None
    """Whether the beginning of a prompt is kept between requests; None: it does not say."""
    latency_ms: float
    """Of the quickest small request."""
    context: int | None = None
    vocabulary: int | None = None
    parameters: int = 0
    bytes: int = 0
    chat_template: str | None = None
    special: dict[str, str] = field(default_factory=dict)
    """Its begin and end tokens by the names that chat templates know."""
    detokenizer: str | None = None
    """The path that turns ids into text."""
    shifted: bool = False
    """Whether rows of scored prompts stand one place too early."""
    probe_requests: int = 0

    def dialect_on(self, client: HttpClient, *, by_id: bool = True) -> Dialect:
        """How to ask this server; without `by_id`, its tokens are told by their texts."""
        kinds: dict[DialectName, type[Dialect]] = {
            "llama-server": LlamaServer,
            "echo": LlamaCppPython if self.detokenizer == "/extras/detokenize" else EchoServer,
            "vllm": Vllm if by_id else OpenAi,
            "openai": OpenAi,
        }
        dialect = kinds[self.dialect](client, self.model, self.likeliest)
        if isinstance(dialect, LlamaCppPython):
            dialect.shifted = self.shifted
        return dialect

    def lines(self) -> list[str]:
        """What it can do, for people, a line each."""
        cache = {True: "yes", False: "no", None: "it does not say"}[self.prefix_cache]
        return [
            f"speaks: {self.dialect}",
            f"scores given tokens: {'yes' if self.scores else 'no'}",
            f"token ids in and out: {'yes' if self.ids else 'no, text'}",
            f"likeliest tokens at a position: {self.likeliest or _NO_TOKENS}",
            f"keeps the beginning of prompts: {cache}",
            f"latency: {self.latency_ms:.1f} ms, of the quickest of {PINGS} small requests",
        ]


def probe(client: HttpClient) -> Abilities:
    """Ask what the server is and can. Raises RemoteError, or UsageError for a model it has not."""
    card = _model_card(client)
    model = str(card.get("id") or client.address.model or "")
    owner = card.get("owned_by")
    if owner == "llamacpp":
        found = _llama_server(client, model, card)
    elif owner == "vllm" or "max_model_len" in card:
        found = _vllm(client, model, card)
    else:
        found = _by_trying(client, model)
    return found


def detokenize(client: HttpClient, abilities: Abilities, ids: Sequence[int]) -> str | None:
    """The text of `ids` as the server has it; None where it does not tell."""
    path = abilities.detokenizer
    if path is None:
        return None
    body: dict[str, Any] = {"tokens": list(ids)}
    if abilities.dialect == "vllm":
        body["model"] = abilities.model
    try:
        found = client.post(client.address.root + path, body, again=BUSY)
    except RemoteError as error:
        if error.status is None:
            raise
        return None
    for name in ("content", "text", "prompt"):
        if isinstance(found, dict) and isinstance(found.get(name), str):
            return str(found[name])
    return None


# ---- one kind of server after another


def _model_card(client: HttpClient) -> dict[str, Any]:
    """What the list of models says of ours; empty where there is no list."""
    try:
        found = client.get(f"{client.address.base}/models", again=BUSY)
    except RemoteError as error:
        if error.status in (404, 405, 501):
            return {}
        raise
    listed = found.get("data") if isinstance(found, dict) else None
    cards = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    names = [str(card.get("id", ""))[:200] for card in cards[:1000]]
    wanted = client.address.model
    if wanted is None:
        if len(cards) > 1:
            raise UsageError(
                f"{client.address.place} has several models: {_shown(names)}",
                hint=f"say which: {client.address.base}#{names[0]}",
            )
        return cards[0] if cards else {}
    for name, card in zip(names, cards, strict=False):
        if name == wanted:
            return card
    if not cards:
        return {}
    raise UsageError(
        f"{client.address.place} has no model {wanted}: there is {_shown(names)}",
        hint="its name stands behind # in the address",
    )


def _llama_server(client: HttpClient, model: str, card: dict[str, Any]) -> Abilities:
    meta = card.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    props: dict[str, Any] = {}
    try:
        found = client.get(f"{client.address.root}/props", again=BUSY)
        props = found if isinstance(found, dict) else {}
    except RemoteError as error:
        if error.status is None:
            raise
    settings = props.get("default_generation_settings")
    context = _integer(settings if isinstance(settings, dict) else {}, "n_ctx")
    special = {
        name: str(props[name])[:200]
        for name in ("bos_token", "eos_token")
        if isinstance(props.get(name), str)
    }
    template = props.get("chat_template")
    return Abilities(
        dialect="llama-server",
        model=model,
        ids=True,
        scores=False,
        likeliest=TOP,
        prefix_cache=True,
        latency_ms=_latency(client),
        context=context or _integer(meta, "n_ctx_train"),
        vocabulary=_integer(meta, "n_vocab"),
        parameters=_integer(meta, "n_params") or 0,
        bytes=_integer(meta, "size") or 0,
        chat_template=template if isinstance(template, str) and template else None,
        special=special,
        detokenizer="/detokenize",
        probe_requests=client.requests,
    )


def _vllm(client: HttpClient, model: str, card: dict[str, Any]) -> Abilities:
    dialect = Vllm(client, model, TOP)
    reply = _tried(lambda: dialect.score(PROBE_IDS, again=BUSY))
    scores = reply is not None and len(reply.prompt) == len(PROBE_IDS)
    ids = reply is not None and bool(reply.pieces) and reply.pieces[0].token is not None
    return Abilities(
        dialect="vllm" if ids else "openai",
        model=model,
        ids=ids,
        scores=scores and ids,
        likeliest=TOP if reply is not None and _tops(reply.pieces) else 0,
        prefix_cache=None if reply is None or reply.cached is None else True,
        latency_ms=_latency(client),
        context=_integer(card, "max_model_len"),
        detokenizer="/detokenize",
        probe_requests=client.requests,
    )


def _by_trying(client: HttpClient, model: str) -> Abilities:
    """A server that does not say what it is."""
    detokenizer = None
    found = _tried(
        lambda: client.post(client.address.root + "/extras/tokenize", {"input": PROBE}, again=BUSY)
    )
    if isinstance(found, dict) and isinstance(found.get("tokens"), list):
        detokenizer = "/extras/detokenize"
    kind = LlamaCppPython if detokenizer else EchoServer
    asking = kind(client, model, TOP)
    reply, prompt = _tried(lambda: asking.score(PROBE, again=BUSY)), PROBE
    if reply is not None and reply.counted == 0:
        # the model would end here, where a shift does not show
        reply, prompt = _tried(lambda: asking.score(LONGER, again=BUSY)), LONGER
    shifted = reply is not None and bool(detokenizer) and is_shifted(reply, prompt)
    scores = reply is not None and _scored(reply, prompt, shifted=shifted)
    top = TOP if scores and reply is not None and _tops(reply.pieces) else 0
    if not scores:
        top = _most_likeliest(client, model)
    return Abilities(
        dialect="echo" if scores else "openai",
        model=model,
        ids=False,
        scores=scores and top > 0,
        likeliest=top,
        prefix_cache=None if reply is None or reply.cached is None else True,
        latency_ms=_latency(client),
        detokenizer=detokenizer,
        shifted=shifted,
        probe_requests=client.requests,
    )


def _scored(reply: ServerReply, prompt: str, *, shifted: bool) -> bool:
    """Whether a reply repeats the prompt, token by token, with log-probabilities."""
    told = [piece for piece in (*reply.prompt, *(reply.pieces if shifted else ())) if piece]
    texts = "".join(piece.text for piece in told)
    known = any(piece.nats is not None for piece in told[1:])
    return len(told) > 1 and known and texts.strip() == prompt and reply.counted != 0


def _most_likeliest(client: HttpClient, model: str) -> int:
    """How many likeliest tokens it tells: what it is asked for, OpenAI's own limit, or none."""
    for count in (TOP, 5):
        dialect = OpenAi(client, model, count)
        reply = _tried(functools.partial(dialect.write_whole, PROBE, 1, BUSY))
        if reply is not None:
            return count if _tops(reply.pieces) else 0
    # its own words, if it refuses even this
    OpenAi(client, model, 0).write_whole(PROBE, 1, BUSY)
    return 0


def _tried(ask: Callable[[], Any]) -> Any:
    """What it answers; None where the server refuses the question itself."""
    try:
        return ask()
    except RemoteError as error:
        # 401 and the like concern every question
        if error.status is None and not error.odd:
            raise
        if error.status in (401, 403, 429):
            raise
        return None


def _tops(pieces: Sequence[Any]) -> bool:
    return any(len(piece.top) > 1 for piece in pieces)


def _latency(client: HttpClient) -> float:
    quickest = float("inf")
    for _ in range(PINGS):
        began = time.perf_counter()
        try:
            client.get(f"{client.address.base}/models", again=frozenset())
        except RemoteError as error:
            if error.status is None:
                raise
        quickest = min(quickest, 1000 * (time.perf_counter() - began))
    return quickest


def _integer(table: dict[str, Any], name: str) -> int | None:
    value = table.get(name)
    ok = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 48
    return value if ok else None


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
