"""The engines of a run by role, and whether two models may share token ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from adec.engines.base import Engine, ModelHeader
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import PairError
from adec.events.records import Role

SHOWN = 3
"""Differing ids that a message lists; the rest is counted."""

MOST_SPECIAL = 8
"""Special tokens that may differ, as between two generations of one family."""
PADDING = 512
"""Most unused ids at the end by which sizes may differ: heads are padded to suit hardware."""


@dataclass(frozen=True)
class Translation:
    """What a small model must know of the special tokens that differ; empty where none does."""

    ids: Mapping[int, int]
    """The large model's id to the small one's of the same text."""
    barred: frozenset[int]
    """Ids that mean something else to the small model, or end an answer for it alone."""


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

    @cached_property
    def share_ids(self) -> bool:
        """Whether ids mean the same to the large and the small model, if both are there."""
        if "small" not in self:
            return True
        small, large = self["small"].vocabulary, self["large"].vocabulary
        return small is large or not differences(small, large)

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
        more = f", and {len(found) - 1} more differences" if len(found) > 1 else ""
        raise PairError(
            f"{small.info.path.name} and {large.info.path.name} do not speak the same vocabulary:"
            f" {found[0]}{more}",
            hint="use two models of one family, or one of them alone with --model",
        )
    remarks = []
    barred = sorted(translation(small.vocabulary, large.vocabulary).barred)
    if barred:
        names = ", ".join(large.vocabulary.name(token) for token in barred[:SHOWN])
        more = f" and {len(barred) - SHOWN} more" if len(barred) > SHOWN else ""
        remarks.append(
            f"special tokens differ, and the small model never writes them: {names}{more}"
        )
    rules = (small.vocabulary.pre_tokenizer, large.vocabulary.pre_tokenizer)
    # a folder names no rule
    if rules.count(None) == 1 and {small.info.format, large.info.format} == {"gguf"}:
        silent = small if rules[0] is None else large
        remarks.append(
            f"whether both split texts alike is not known: {silent.info.path.name} names no"
            " pre-tokenizer"
        )
    if small.vocabulary.chat_template != large.vocabulary.chat_template:
        remarks.append("the chat templates differ; the large model's is used")
    if small.info.parameters > large.info.parameters > 0:
        remarks.append(
            f"--small has more parameters than --large ({small.info.parameters:,} and"
            f" {large.info.parameters:,})"
        )
    return remarks


def differences(small: Vocabulary, large: Vocabulary) -> list[str]:
    """How two vocabularies differ, most telling first; empty when they may share ids.

    At most `MOST_SPECIAL` ids may differ that are special in both: control tokens, tokens that end
    an answer, or names kept free for either. `translation` says what becomes of them.
    """
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
    unlike = _unlike(small, large)
    bridged = _all_special(small, large, {*unlike, *(small.end ^ large.end)})
    if unlike and not bridged:
        shown = ", ".join(f"id {i} is {small.name(i)} and {large.name(i)}" for i in unlike[:SHOWN])
        rest = f" and {len(unlike) - SHOWN:,} more" if len(unlike) > SHOWN else ""
        found.append(f"{shown}{rest}")
    found += _special_differences(small, large, bridged=bridged)
    return found


def translation(small: Vocabulary, large: Vocabulary) -> Translation:
    """How a small model reads what the large one writes. Only for two without `differences`."""
    unlike = _unlike(small, large)
    special = {small.pieces[i]: i for i in sorted(small.control | small.end) if small.pieces[i]}
    ids = {i: special[large.pieces[i]] for i in unlike if large.pieces[i] in special}
    if large.begin in unlike and large.begin not in ids and small.begin is not None:
        ids[large.begin] = small.begin
    return Translation(ids, frozenset({*unlike, *(small.end - large.end)}))


def _unlike(small: Vocabulary, large: Vocabulary) -> list[int]:
    if small.pieces == large.pieces:
        return []
    pairs = enumerate(zip(small.pieces, large.pieces, strict=False))
    return [i for i, (ours, theirs) in pairs if ours != theirs]


def _all_special(small: Vocabulary, large: Vocabulary, ids: set[int]) -> bool:
    def special(vocabulary: Vocabulary, token: int) -> bool:
        piece = vocabulary.pieces[token] if token < len(vocabulary) else b""
        kept_free = not piece or (_unused(piece) and piece[:1] in b"<[")
        return kept_free or token in vocabulary.control or token in vocabulary.end

    return len(ids) <= MOST_SPECIAL and all(special(small, i) and special(large, i) for i in ids)


def _special_differences(small: Vocabulary, large: Vocabulary, *, bridged: bool) -> Iterable[str]:
    begins = {token for token in (small.begin, large.begin) if token is not None}
    if small.begin != large.begin and not (
        bridged and len(begins) == 2 and _all_special(small, large, begins)
    ):
        yield f"the begin tokens are {_named(small, small.begin)} and {_named(large, large.begin)}"
    if small.adds_begin != large.adds_begin:
        which = "small" if small.adds_begin else "large"
        yield f"only the {which} one puts a begin token before a text"
    if small.end != large.end and not bridged:
        yield f"the end tokens are {_listed(small)} and {_listed(large)}"


def _unused(piece: bytes) -> bool:
    lowered = piece.lower()
    return not piece or any(word in lowered for word in (b"pad", b"unused", b"reserved", b"dummy"))


def _listed(vocabulary: Vocabulary) -> str:
    end = sorted(vocabulary.end)
    more = f" and {len(end) - SHOWN} more" if len(end) > SHOWN else ""
    return ", ".join(_named(vocabulary, token) for token in end[:SHOWN]) + more or "none"


def _named(vocabulary: Vocabulary, token: int | None) -> str:
    return "none" if token is None else f"{vocabulary.name(token)} ({token})"
