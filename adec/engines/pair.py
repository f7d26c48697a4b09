"""The engines of a run by role, and whether two models may share token ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from adec.engines.base import Engine, ModelHeader
from adec.engines.vocabulary import Vocabulary
from adec.errors import PairError
from adec.events.records import Role

SHOWN = 3
"""Differing ids that a message lists; the rest is counted."""

PADDING = 512
"""Most unused ids at the end by which sizes may differ: heads are padded to suit hardware."""


class Engines(Mapping[Role, Engine]):
    """The engines of a run by role, `Engines(large=..., small=...)`; "large" is always there."""

    def __init__(self, **by_role: Engine) -> None:
        self._by_role = by_role

    def __getitem__(self, role: Role) -> Engine:
        return self._by_role[role]

    def __iter__(self) -> Iterator[Role]:
        return iter(self._by_role)

    def __len__(self) -> int:
        return len(self._by_role)

    @property
    def context(self) -> int:
        """Tokens that every one of them can hold."""
        return min(engine.context for engine in self.values())

    def close(self) -> None:
        """Free all of them. Calling it twice is harmless."""
        for engine in self.values():
            engine.close()


def check_pair(small: ModelHeader, large: ModelHeader) -> list[str]:
    """Raise PairError unless the two may share token ids; returns remarks for the user.

    It needs headers only, so nothing is loaded for a pair that cannot work.
    """
    found = differences(small.vocabulary, large.vocabulary)
    if found:
        raise PairError(
            f"{small.info.path.name} and {large.info.path.name} do not speak the same vocabulary:"
            f" {'; '.join(found)}",
            hint="use two models of one family, or one of them alone with --model",
        )
    remarks = []
    if small.vocabulary.chat_template != large.vocabulary.chat_template:
        remarks.append("the chat templates differ; the large model's is used")
    if small.info.parameters > large.info.parameters:
        remarks.append(
            f"--small has more parameters than --large ({small.info.parameters:,} and"
            f" {large.info.parameters:,})"
        )
    return remarks


def differences(small: Vocabulary, large: Vocabulary) -> list[str]:
    """How two vocabularies differ, most telling first; empty when they may share ids."""
    found: list[str] = []
    if small.kind != large.kind:
        found.append(f"the tokenizer types are {small.kind} and {large.kind}")
    if small.pre_tokenizer and large.pre_tokenizer and small.pre_tokenizer != large.pre_tokenizer:
        found.append(
            f"texts are split by the rules {small.pre_tokenizer} and {large.pre_tokenizer}"
        )
    common = min(len(small), len(large))
    longer = small if len(small) > common else large
    surplus = len(longer) - common
    if surplus > PADDING or not all(_unused(longer.pieces[i]) for i in range(common, len(longer))):
        found.append(f"the sizes are {len(small):,} and {len(large):,}")
    unlike = [i for i in range(common) if small.pieces[i] != large.pieces[i]]
    if unlike:
        shown = ", ".join(f"id {i} is {small.name(i)} and {large.name(i)}" for i in unlike[:SHOWN])
        rest = f" and {len(unlike) - SHOWN:,} more" if len(unlike) > SHOWN else ""
        found.append(f"{shown}{rest}")
    found += _special_differences(small, large)
    return found


def _special_differences(small: Vocabulary, large: Vocabulary) -> Iterable[str]:
    if small.begin != large.begin:
        yield f"the begin tokens are {_named(small, small.begin)} and {_named(large, large.begin)}"
    if small.adds_begin != large.adds_begin:
        which = "small" if small.adds_begin else "large"
        yield f"only the {which} one puts a begin token before a text"
    if small.end != large.end:
        ours, theirs = (
            ", ".join(_named(vocabulary, token) for token in sorted(vocabulary.end)) or "none"
            for vocabulary in (small, large)
        )
        yield f"the end tokens are {ours} and {theirs}"


def _unused(piece: bytes) -> bool:
    lowered = piece.lower()
    return not piece or any(word in lowered for word in (b"pad", b"unused", b"reserved", b"dummy"))


def _named(vocabulary: Vocabulary, token: int | None) -> str:
    return "none" if token is None else f"{vocabulary.name(token)} ({token})"
