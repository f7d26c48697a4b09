"""The header of a model behind a server: what it can do, and in which vocabulary it is spoken to.

A server does not give its vocabulary away. Beside a small model here, that one's is spoken: by ids
where both number tokens alike, otherwise by text. Alone, pieces are numbered as they arrive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adec.engines.base import Capability, ModelHeader, ModelInfo
from adec.engines.pair import PADDING
from adec.engines.remote import REMOTE_NAME, is_remote
from adec.engines.remote.abilities import Abilities, detokenize, probe
from adec.engines.remote.address import RemoteAddress, parse_address
from adec.engines.remote.api_key import read_key
from adec.engines.remote.http_client import HttpClient
from adec.engines.remote.text_vocabulary import MOST, text_vocabulary
from adec.engines.vocabularies.vocabulary import Tokenizer, Vocabulary
from adec.errors import UsageError

CONTEXT = 8192
"""Tokens, where neither the server nor the model here says how many."""
COMPARED = 16
"""Tokens whose texts are compared at a time."""
FIRST, FURTHER = 256, 4
"""Ids below which the first are taken, and how many times as far the next ones may reach.

Ids that a server's vocabulary lacks end the process of llama-cpp-python's server. Another
vocabulary differs among its first ids already, so that no higher ones are asked for.
"""
_NO_VECTORS = "its server reads tokens or text only"
_NO_TREE = "a server takes one continuation at a time"


@dataclass(frozen=True)
class RemoteHeader(ModelHeader):
    """A model behind an address; its weights are never here."""

    address: RemoteAddress = field(kw_only=True)
    abilities: Abilities = field(kw_only=True)
    speaks_ids: bool = False
    """Whether ids mean the same to the server as in `vocabulary`."""
    tokenizer: Tokenizer | None = None
    """None: that of the model here."""

    @property
    def called(self) -> str:
        """The whole address, with the model's name."""
        model = self.abilities.model
        return f"{self.address.base}#{model}" if model else self.address.base


def read_remote_header(name: str, beside: ModelHeader | None = None) -> RemoteHeader:
    """Ask the server at an address what it is; `beside` is the small model.

    Raises UsageError for a bad address, key or model name, RemoteError when the server is away or
    answers what it must not.
    """
    address, key = parse_address(name), read_key()
    if beside is not None and is_remote(str(beside.info.path)):
        raise UsageError("the small model must lie on this machine")
    client = HttpClient(address, key)
    try:
        abilities = probe(client)
        header = header_from(client, abilities, beside)
    finally:
        client.close()
    if key is not None and address.in_the_open:
        words = "the key goes to it unencrypted: use https://"
        header = dataclasses.replace(header, remarks=(*header.remarks, words))
    return header


def header_from(
    client: HttpClient, abilities: Abilities, beside: ModelHeader | None
) -> RemoteHeader:
    """The header that a server's abilities and the model here make together."""
    address, remarks = client.address, []
    tokenizer: Tokenizer | None = None
    speaks_ids = shared = False
    if beside is None:
        vocabulary, tokenizer = text_vocabulary(abilities.chat_template, abilities.special)
        size, why = MOST, "no model here speaks its vocabulary: give --small"
    else:
        vocabulary, size = _spoken(beside.vocabulary, abilities), len(beside.vocabulary)
        unlike = _unlike(client, abilities, beside.vocabulary)
        shared = unlike is None
        speaks_ids = shared and abilities.ids
        why = "its server scores no given tokens"
        if unlike is not None:
            why = f"its tokens are not those of {beside.info.name}"
            remarks.append(f"it is spoken to by text: {unlike}")
    able: set[Capability] = {"text"}
    missing: Mapping[Capability, str] = {
        "tree": _NO_TREE, "vectors": _NO_VECTORS, "rewind": why,
    }  # fmt: skip
    if abilities.scores and shared:
        able.add("rewind")
        missing = {"tree": _NO_TREE, "vectors": _NO_VECTORS}
    if not abilities.likeliest:
        remarks.append("it tells no probabilities, so how sure it is is not known")
    limit = abilities.context or (CONTEXT if beside is None else beside.info.context_limit)
    name = (abilities.model.rsplit("/", 1)[-1] or address.place)[:120]
    info = ModelInfo(
        name=name,
        path=Path(f"{address.place}#{abilities.model.replace('/', ':')[:200]}"),
        format=REMOTE_NAME,
        architecture=abilities.dialect,
        layers=0,
        parameters=abilities.parameters,
        vocabulary=size,
        context_limit=limit,
        bytes=abilities.bytes,
        quantisation="unknown",
        # an end that is told by no id cannot be drawn
        likeliest=abilities.likeliest if speaks_ids else 0,
    )
    return RemoteHeader(
        info,
        vocabulary,
        frozenset(able),
        missing,
        tuple(remarks),
        address=address,
        abilities=abilities,
        speaks_ids=speaks_ids,
        tokenizer=tokenizer,
    )


def _spoken(vocabulary: Vocabulary, abilities: Abilities) -> Vocabulary:
    """The small model's vocabulary with the server's own chat template, if it tells one."""
    if abilities.chat_template is None:
        return vocabulary
    special = {**vocabulary.special, **abilities.special}
    return dataclasses.replace(vocabulary, chat_template=abilities.chat_template, special=special)


def _unlike(client: HttpClient, abilities: Abilities, vocabulary: Vocabulary) -> str | None:
    """Why ids do not mean the same to the server; None where they do."""
    size = len(vocabulary)
    if abilities.vocabulary is not None and abs(abilities.vocabulary - size) > PADDING:
        return f"it has {abilities.vocabulary:,} tokens, the small model {size:,}"
    for ids in _compared(vocabulary):
        theirs = detokenize(client, abilities, ids)
        if theirs is None:
            return "it does not tell the texts of its tokens"
        ours = b"".join(vocabulary.pieces[token] for token in ids).decode("utf-8", "replace")
        if theirs.split() != ours.split() and "".join(theirs.split()) != "".join(ours.split()):
            return "its ids stand for other texts than the small model's"
    return None


def _compared(vocabulary: Vocabulary) -> Iterator[list[int]]:
    """Ids of whole characters, the lowest ones first, then some that reach further."""
    silent = vocabulary.control | vocabulary.end
    usable = [
        token
        for token, piece in enumerate(vocabulary.pieces)
        if token not in silent and piece and _is_text(piece)
    ]
    low, high = 0, FIRST
    while low < len(vocabulary):
        found = [token for token in usable if low <= token < high]
        step = max(1, len(found) // COMPARED)
        if found:
            yield found[::step][:COMPARED]
        low, high = high, FURTHER * high


def _is_text(piece: bytes) -> bool:
    try:
        return piece.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False
