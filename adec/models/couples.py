"""Which models go together, what a pair could gain at most, and why a likely one does not fit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adec.errors import PairError
from adec.models.listing import ListedModel, Listing
from adec.models.names import locate
from adec.models.stores import PRACTICE, Found

AUTO = "auto"
"""In place of a small model's name: the best that fits."""
LONGEST = 16
"""Drafts of one round that the greatest gain is computed with."""
WORTHWHILE = 0.8
"""Share of the bytes from which on a small model is none."""
MOST_COUPLES = 400
_UNLIKE = 1.3
"""Ratio of parameters from which two models of a family have different sizes."""
_SIZE = re.compile(r"(?<![a-z0-9])(\d+x)?\d+(\.\d+)?[bm](?![a-z])")
_FIRST_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Couple:
    """Two models that share token ids."""

    small: ListedModel
    large: ListedModel

    @property
    def cost_ratio(self) -> float:
        """Bytes of weights read for one token, the small model's as a share of the large one's."""
        return self.small.card.read_bytes / max(1, self.large.card.read_bytes)

    @property
    def greatest_gain(self) -> float:
        """See `greatest_gain`."""
        return greatest_gain(self.cost_ratio)


@dataclass(frozen=True)
class Misfit:
    """Two models that look like a pair and are none."""

    small: ListedModel
    large: ListedModel
    why: str


def greatest_gain(ratio: float) -> float:
    """No pair is faster than this against the large model alone: (k + 1) / (k c + 1).

    Every draft stands, k = `LONGEST` are made in a round, a small forward costs the share c of a
    large one, and a large forward of k + 1 tokens costs no more than one of a single token
    (Leviathan et al. 2023, arXiv 2211.17192, theorem 3.8 with an acceptance of 1).
    """
    return (LONGEST + 1) / (LONGEST * ratio + 1)


def couples(listing: Listing, large: ListedModel | None = None) -> list[Couple]:
    """Pairs by their greatest gain, the built-in ones last, at most `MOST_COUPLES`.

    With `large`, only those that serve it.
    """
    usable = [m for m in listing.models if m.problem is None and m.card.rewinds]
    wanted = usable if large is None else [large] if large.card.rewinds else []
    found = [
        Couple(small, big)
        for big in wanted
        for small in usable
        if _smaller(small, big) and listing.difference(small, big) == ""
    ]
    listing.save()
    found.sort(key=lambda c: (_shipped(c), c.cost_ratio, c.large.card.read_bytes, c.small.name))
    return found[:MOST_COUPLES]


def misfits(listing: Listing) -> list[Misfit]:
    """Couples of a family that do not fit, one for each two vocabularies, the closest kin first."""
    usable = [m for m in listing.models if m.problem is None and m.card.rewinds]
    found: dict[tuple[str, str, str], tuple[int, Misfit]] = {}
    for large in usable:
        for small in usable:
            kin = _kin(small, large)
            if kin and small.card.parameters * _UNLIKE < large.card.parameters:
                why = listing.difference(small, large)
                if why is None and small.card.rewinds:
                    why = "not compared yet: there are many vocabularies; list again"
                elif why == "" and not small.card.rewinds:
                    why = f"{small.name} cannot take tokens back"
                if why:
                    assert small.card.tokens is not None and large.card.tokens is not None
                    key = (family(small), small.card.tokens.key, large.card.tokens.key)
                    found.setdefault(key, (kin, Misfit(small, large, why)))
    listing.save()
    return [misfit for _, misfit in sorted(found.values(), key=lambda kept: -kept[0])]


def partner(large: Path, listing: Listing | None = None) -> tuple[Path, str]:
    """The small model for `large` with the greatest possible gain, and a sentence that says so.

    Raises PairError when nothing fits.
    """
    listing = listing or Listing()
    real = os.path.realpath(large)
    known = next((m for m in listing.models if os.path.realpath(m.found.path) == real), None)
    whole = known or ListedModel(Found(large.name, large, "path"), listing.card_of(large))
    if whole.problem is not None:
        raise PairError(f"--small auto: {whole.name} {whole.problem}")
    fitting = couples(listing, whole)
    if not fitting:
        raise PairError(
            f"--small auto: no model on this machine can draft for {whole.name}",
            hint="which go together: adec inspect models; a model alone: --model",
        )
    best = fitting[0]
    return best.small.found.path, (
        f"--small auto took {best.small.name}: it reads {100 * best.cost_ratio:.0f} % of the bytes"
        f" of {whole.name}, so a pair is at most {best.greatest_gain:.2f} times plain"
    )


def small_for(name: str, large: Path) -> tuple[Path, list[str]]:
    """The small model that `name` means beside `large`, and remarks; "auto" lets adec take one.

    Raises ModelFileError when there is none of that name, PairError when none fits.
    """
    if name != AUTO:
        return locate(name), []
    path, remark = partner(large)
    return path, [remark]


def family(model: ListedModel) -> str:
    """The name of a model up to its size: "qwen2.5-coder" of Qwen2.5-Coder-0.5B-Instruct."""
    for name in _names(model):
        size = _SIZE.search(name)
        if size and size.start() > 1:
            return name[: size.start()].strip("-_ .:")
    return next(_names(model))


def _names(model: ListedModel) -> Iterator[str]:
    yield model.name.rsplit("/", 1)[-1].lower()
    yield model.card.title.rsplit("/", 1)[-1].lower().replace(" ", "-")


def _kin(small: ListedModel, large: ListedModel) -> int:
    """2 for one family, 1 for families whose names begin with the same word, 0 for others."""
    ours, theirs = family(small), family(large)
    if ours == theirs:
        return 2
    first, other = _FIRST_WORD.match(ours), _FIRST_WORD.match(theirs)
    return int(first is not None and other is not None and first[0] == other[0])


def _shipped(couple: Couple) -> bool:
    return couple.small.name.startswith(PRACTICE) and couple.large.name.startswith(PRACTICE)


def _smaller(small: ListedModel, large: ListedModel) -> bool:
    return 0 < small.card.read_bytes <= WORTHWHILE * large.card.read_bytes
