"""The models of this machine with what their headers say, remembered between runs.

`listing/models.json` in adec's cache keeps a card for every file as long as its size and time stay;
`listing/names` has the names for the completion of shells, one a line.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from adec import __version__
from adec.engines.llama.gguf.gguf_split import part_paths
from adec.engines.pair import PADDING, differences
from adec.errors import AdecError
from adec.models.headers import Card, ManyHeaders, Tokens
from adec.models.stores import MOST, Found, Surroundings, find_models
from adec.places import kept_folder
from adec.whole_file import whole_file

MOST_COMPARED = 40
"""Vocabularies that one listing compares token by token; the next one goes on."""
_CACHE_LIMIT = 16 << 20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+@-]{0,199}")
"""Names that no shell takes apart: a file may be called anything."""
_BRIEF = 110


@dataclass(frozen=True)
class ListedModel:
    """A model that was found, with its card."""

    found: Found
    card: Card

    @property
    def name(self) -> str:
        return self.found.name

    @property
    def problem(self) -> str | None:
        """Why it cannot be used; None when it can."""
        return self.found.problem or self.card.problem


class _Kept(msgspec.Struct):
    adec: str
    cards: dict[str, Card]
    verdicts: dict[str, str]
    """By two keys of vocabularies, "KEY KEY": how they differ in brief, empty where they fit."""


class Listing:
    """All models, and which vocabularies may share ids."""

    def __init__(self, around: Surroundings | None = None) -> None:
        """Find the models and read the headers that are new."""
        self._file = kept_folder("listing") / "models.json"
        self._headers = ManyHeaders()
        self._kept = _load(self._file)
        self._compared = 0
        self._changed = False
        found = find_models(around or Surroundings())
        self.complete = len(found) < MOST
        save_names(found)
        try:
            cards = self._cards(found)
        finally:
            self.save()
        self.models = tuple(ListedModel(model, cards[model.name, model.path]) for model in found)

    def card_of(self, path: Path) -> Card:
        """The card of any model, in the listing or not."""
        stamp = _stamp(path)
        known = self._kept.cards.get(str(path))
        if known is not None and known.stamp == stamp:
            return known
        card = self._headers.card(path, stamp)
        self._kept.cards[str(path)] = card
        self._changed = True
        return card

    def difference(self, small: ListedModel, large: ListedModel) -> str | None:
        """How the vocabularies of two models differ in brief; empty where they fit.

        None where it is not known yet, because this listing has compared too many.
        """
        ours, theirs = small.card.tokens, large.card.tokens
        if ours is None or theirs is None:
            return "one of them has no vocabulary"
        if ours.key == theirs.key:
            return ""
        at_sight = _at_sight(ours, theirs)
        if at_sight is not None:
            return at_sight
        key = f"{ours.key} {theirs.key}"
        verdict = self._kept.verdicts.get(key)
        if verdict is None and self._compared < MOST_COMPARED:
            self._compared += 1
            verdict = self._compare(small.found.path, large.found.path)
            self._kept.verdicts[key] = verdict
            self._changed = True
        return verdict

    def save(self) -> None:
        """Keep what was read for the next listing, as far as the cache can be written."""
        if not self._changed:
            return
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._file) as stream:
                stream.write(msgspec.json.encode(self._kept).decode())
        self._changed = False

    def _cards(self, found: list[Found]) -> dict[tuple[str, Path], Card]:
        # by file name, so that models of a family, which share vocabularies, come together
        order = sorted(found, key=lambda model: model.path.name.lower())
        cards = {}
        for model in order:
            broken = model.problem is not None
            cards[model.name, model.path] = Card("") if broken else self.card_of(model.path)
        gone = self._kept.cards.keys() - {str(model.path) for model in found}
        if len(self._kept.cards) > 2 * MOST:
            for path in gone:
                del self._kept.cards[path]
        return cards

    def _compare(self, small: Path, large: Path) -> str:
        try:
            ours, theirs = self._headers.vocabulary(small), self._headers.vocabulary(large)
        except (AdecError, OSError, ValueError, MemoryError):
            return "one of them cannot be read any more"
        found = differences(ours, theirs)
        return _brief(found[0]) if found else ""


def _at_sight(ours: Tokens, theirs: Tokens) -> str | None:
    """A difference that needs no pieces, by the rules of `adec.engines.pair.differences`."""
    if ours.kind != theirs.kind:
        return _brief(f"the tokenizer types are {ours.kind} and {theirs.kind}")
    if ours.splits and theirs.splits and ours.splits != theirs.splits:
        return _brief(f"texts are split by the rules {ours.splits} and {theirs.splits}")
    if abs(ours.count - theirs.count) > PADDING:
        return f"the vocabularies have {ours.count:,} and {theirs.count:,} tokens"
    return None


def _brief(text: str) -> str:
    return text if len(text) <= _BRIEF else text[: _BRIEF - 1] + "…"


def _stamp(path: Path) -> str:
    """Sizes and times of a file, of all its parts, or of every file in a folder.

    Empty where it cannot be read.
    """
    try:
        if not path.is_dir():
            found = [path.stat(), *(part.stat() for part in part_paths(path)[1:] if part.exists())]
            return ",".join(f"{status.st_size}:{status.st_mtime_ns}" for status in found)
        inside = ((file.name, file.stat()) for file in sorted(path.iterdir())[:4096])
        facts = [(name, status.st_size, status.st_mtime_ns) for name, status in inside]
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _load(file: Path) -> _Kept:
    """What an earlier listing kept; nothing where that cannot be read or is another version's."""
    fresh = _Kept(__version__, {}, {})
    try:
        with file.open("rb") as stream:
            raw = stream.read(_CACHE_LIMIT + 1)
        kept = msgspec.json.decode(raw, type=_Kept) if len(raw) <= _CACHE_LIMIT else fresh
    except (OSError, ValueError, RecursionError):
        return fresh
    return kept if kept.adec == __version__ else fresh


def save_names(found: list[Found]) -> None:
    """Keep the names for the completion of shells, those that are safe there."""
    names = sorted({name for model in found for name in (model.name, *model.aliases)})
    text = "".join(f"{name}\n" for name in names if _PLAIN_NAME.fullmatch(name))
    file = kept_folder("listing") / "names"
    with suppress(OSError):
        if not file.is_file() or file.read_text(encoding="utf-8", errors="replace") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file) as stream:
                stream.write(text)
