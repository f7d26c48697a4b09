"""What servers answer, read as pieces: every number is checked, since a reply is as hostile as a
file.

The shapes are those that the servers' own documentation and sources give: llama-server's
`/completion`, OpenAI's legacy completions (llama-cpp-python's server and others), and vLLM's
additions to them. What does not fit raises ValueError, with half a sentence for people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import msgspec

from adec.engines.protocols import Piece
from adec.events.hostile_json import Count

SLACK = 0.01
"""Nats by which a log-probability may lie above 0: servers round."""
MOST_TOP = 1000
"""Likeliest tokens of a position that are read."""
TOKEN_ID = "token_id:"
"""How vLLM writes a token when asked for ids."""


@dataclass(slots=True)
class ServerReply:
    """A reply, or the part of one that an event of a stream holds."""

    pieces: list[Piece] = field(default_factory=list)
    """What was written."""
    ended: bool = False
    """Whether the model ended its answer by itself."""
    last: bool = False
    """Whether nothing more comes."""
    counted: int | None = None
    """Tokens written so far by the server's own count."""
    prompt: list[Piece | None] = field(default_factory=list)
    """The given tokens, None where the server tells nothing of one."""
    prompt_tokens: int | None = None
    cached: int | None = None
    """Tokens of the prompt that were not read again."""
    text: str = ""
    """The text as a whole, with the prompt where it was asked to be repeated."""


class _Top(msgspec.Struct):
    id: Count
    logprob: float
    token: str = ""
    bytes: list[int] = []


class _Probability(msgspec.Struct):
    id: Count
    logprob: float
    token: str = ""
    bytes: list[int] = []
    top_logprobs: list[_Top] = []


class _LlamaReply(msgspec.Struct):
    content: str
    tokens: list[Count] = []
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: Count | None = None
    tokens_evaluated: Count | None = None
    completion_probabilities: list[_Probability] = []


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None


class _Logprobs(msgspec.Struct):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None


class _VllmToken(msgspec.Struct):
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


class _Choice(msgspec.Struct):
    text: str
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None
    prompt_logprobs: list[dict[str, _VllmToken] | None] | None = None


class _OpenAiReply(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


def llama_reply(data: Any) -> ServerReply:
    """An answer of llama-server's `/completion`, whole or an event of its stream."""
    got = _typed(data, _LlamaReply)
    reply = ServerReply(
        ended=got.stop and got.stop_type in ("eos", "word"),
        last=got.stop,
        counted=got.tokens_predicted,
        prompt_tokens=got.tokens_evaluated,
    )
    known = got.completion_probabilities
    if known and [one.id for one in known][: len(got.tokens)] != got.tokens[: len(known)]:
        raise ValueError("its tokens and its probabilities do not belong together")
    for index, token in enumerate(got.tokens or [one.id for one in known]):
        # an event has one token, whose text may complete a character of earlier ones
        text = got.content if len(got.tokens) == 1 else ""
        if index >= len(known):
            reply.pieces.append(Piece(text, token))
            continue
        one = known[index]
        text = text or _text(one)
        top = one.top_logprobs[:MOST_TOP]
        reply.pieces.append(
            Piece(
                text,
                token,
                _nats(one.logprob),
                tuple((_text(t), _nats(t.logprob)) for t in top),
                tuple(t.id for t in top),
            )
        )
    if not reply.pieces and got.content:
        reply.pieces.append(Piece(got.content))
    return reply


def openai_reply(data: Any, *, echoed: bool = False) -> ServerReply:
    """An answer of `/v1/completions`, whole or an event of its stream.

    `echoed`: the prompt stands before what was written, whose last token is the only one written.
    """
    got = _typed(data, _OpenAiReply)
    usage = got.usage or _Usage()
    details = usage.prompt_tokens_details
    reply = ServerReply(
        counted=usage.completion_tokens,
        prompt_tokens=usage.prompt_tokens,
        cached=None if details is None else details.cached_tokens,
    )
    if not got.choices:
        # the last event of a stream may hold the usage alone
        return reply
    choice = got.choices[0]
    reply.text = choice.text
    reply.ended = choice.finish_reason == "stop"
    reply.last = choice.finish_reason is not None
    pieces = _pieces(choice)
    if choice.prompt_logprobs is not None:
        reply.prompt = [_vllm_piece(one) for one in choice.prompt_logprobs]
    if echoed:
        written = usage.completion_tokens
        count = len(pieces) if written is None else max(0, len(pieces) - written)
        reply.prompt, pieces = list(pieces[:count]), pieces[count:]
    elif pieces and pieces[0].token is None:
        pieces = _as_in(choice.text, pieces)
    reply.pieces = pieces
    return reply


def is_shifted(reply: ServerReply, prompt: str) -> bool:
    """Whether rows of an echoed prompt stand one place too early.

    For models without a begin token llama-cpp-python 0.3 tells at each token the row that follows
    it, and leaves out the token that was written. Where none was written, nobody can tell.
    """
    told = [piece for piece in (*reply.prompt, *reply.pieces) if piece is not None]
    texts = "".join(piece.text for piece in told)
    return bool(reply.counted) and texts == prompt and len(told) == reply.prompt_tokens


def unshifted(reply: ServerReply, prompt: str) -> ServerReply:
    """Rows that stand one place too early, put right."""
    told = [piece for piece in (*reply.prompt, *reply.pieces) if piece is not None]
    if not told:
        return reply
    given: list[Piece | None] = [replace(told[0], nats=None, top=())]
    for before, piece in pairwise(told):
        chances = dict(before.top)
        given.append(replace(piece, nats=chances.get(piece.text), top=before.top))
    written = reply.text.removeprefix(prompt)
    chances = dict(told[-1].top)
    pieces = [Piece(written, None, chances.get(written), told[-1].top)] if written else []
    return replace(reply, prompt=given, pieces=pieces)


def _pieces(choice: _Choice) -> list[Piece]:
    logprobs = choice.logprobs
    if logprobs is None or not logprobs.tokens:
        return [Piece(choice.text)] if choice.text else []
    tops = logprobs.top_logprobs or []
    pieces = []
    for index, text in enumerate(logprobs.tokens):
        chance = logprobs.token_logprobs[index] if index < len(logprobs.token_logprobs) else None
        found = (tops[index] if index < len(tops) else None) or {}
        if len(found) > MOST_TOP:
            raise ValueError(f"it tells more than {MOST_TOP} tokens of one position")
        ranked = sorted(((t, _nats(n)) for t, n in found.items()), key=lambda one: -one[1])
        ids = [_id_of(word) for word, _ in ranked]
        known = bool(ids) and None not in ids
        pieces.append(
            Piece(
                "" if _id_of(text) is not None else text,
                _id_of(text),
                None if chance is None else _nats(chance),
                tuple(("" if known else word, nats) for word, nats in ranked),
                tuple(one for one in ids if one is not None) if known else (),
            )
        )
    return pieces


def _as_in(text: str, pieces: list[Piece]) -> list[Piece]:
    """Pieces as far as the text has them: names of special tokens are no text.

    Where it has more than they tell, such as characters of several tokens, it counts alone.
    """
    kept, rest = [], text
    for piece in pieces:
        if piece.text and not rest.startswith(piece.text):
            break
        kept.append(piece)
        rest = rest[len(piece.text) :]
    return [Piece(text)] if rest else kept


def _vllm_piece(found: dict[str, _VllmToken] | None) -> Piece | None:
    """vLLM tells the given token first, then the likeliest ones; the keys are ids."""
    if not found:
        return None
    if len(found) > MOST_TOP:
        raise ValueError(f"it tells more than {MOST_TOP} tokens of one position")
    entries = []
    for word, one in found.items():
        if not (word.isascii() and word.isdigit() and len(word) < 10):
            raise ValueError("it names a token by what is no id")
        entries.append((int(word), _nats(one.logprob), one.decoded_token or "", one.rank))
    token, nats, text, _ = entries[0]
    # rank 1 is the likeliest; among equal ranks the log-probability decides
    ranked = sorted(entries, key=lambda one: (one[3] if one[3] is not None else 1 << 30, -one[1]))
    return Piece(
        text,
        token,
        nats,
        tuple((words, value) for _, value, words, _ in ranked),
        tuple(one for one, _, _, _ in ranked),
    )


def _id_of(text: str) -> int | None:
    digits = text.removeprefix(TOKEN_ID)
    if len(digits) == len(text) or not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        return None
    return int(digits)


def _text(one: _Top | _Probability) -> str:
    if not one.bytes or len(one.bytes) > 4096 or not all(0 <= byte < 256 for byte in one.bytes):
        return one.token
    return bytes(one.bytes).decode("utf-8", "replace")


def _nats(value: float) -> float:
    """A log-probability. Servers write the least float for minus infinity."""
    if math.isnan(value) or value > SLACK:
        raise ValueError(f"it tells {value:.3g} for a log-probability")
    return max(min(value, 0.0), -1e30)


def _typed(data: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(data, kind)
    except (msgspec.ValidationError, RecursionError, OverflowError):
        raise ValueError(_complaint(data)) from None


def _complaint(data: Any) -> str:
    """An error inside a reply of state 200 is said in the server's words."""
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    if isinstance(error, str) and error:
        words = "".join(c if c.isprintable() else " " for c in error[:200])
        return f"it fails: {words}"
    return "its reply is not of the shape that such servers give"
