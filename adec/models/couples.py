"""Which models go together, what a pair could gain, and why a likely one does not fit.

Two models of unlike vocabularies go together by text. They are forecast, not bounded: the clock of
`speculate` leaves a small model alone that does not pay, so what counts is whether it is worth its
memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.kept_curve import kept_curve_of
from adec.engines.base import ModelInfo
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
BY_TEXT = 0.5
"""Share of drafts that is taken to stand, each after one that did, where the two are of unlike
families: less than SmolLM2-135M was counted at as it drafted for Qwen2.5-Coder-0.5B, about 0.6 on
chat and 0.85 on code (`docs/results/speculation.md`)."""
PAYS = 1.1
"""Speed, as a multiple of plain decoding, that a forecast must promise."""
LEAST_BY_TEXT = 0.005
"""Share of the bytes below which a small model of another family has nothing to say."""
_UNLIKE = 1.3
"""Ratio of parameters from which two models of a family have different sizes."""
_SIZE = re.compile(r"(?<![a-z0-9])(\d+x)?\d+(\.\d+)?[bm](?![a-z])")
_FIRST_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Couple:
    """Two models that go together, by token ids or by text."""

    small: ListedModel
    large: ListedModel
    by_text: bool = False
    """Whether their vocabularies are unlike."""

    @property
    def cost_ratio(self) -> float:
        """Bytes of weights read for one token, the small model's as a share of the large one's."""
        return self.small.card.read_bytes / max(1, self.large.card.read_bytes)

    @property
    def greatest_gain(self) -> float:
        """See `greatest_gain`."""
        return greatest_gain(self.cost_ratio)

    def forecast(self) -> Forecast:
        """What drafting by text promises, by the large model's forward times where runs kept some.

        A few header facts tell which times those are; nothing is loaded.
        """
        card = self.large.card
        info = ModelInfo(
            card.title, self.large.found.path, card.format, card.architecture, 0,
            card.parameters, 0, card.context, card.file_bytes, card.quantisation,
        )  # fmt: skip
        curve = kept_curve_of(info)
        times = None if curve is None or curve.ms(1) <= 0 else curve
        return Forecast(_best_speed(BY_TEXT, self.cost_ratio, times), times is not None)


@dataclass(frozen=True)
class Forecast:
    """What a couple by text promises."""

    speed: float
    """As a multiple of plain decoding; 1 where nothing is drafted."""
    measured: bool
    """Whether it rests on forward times of the large model on this machine, not on bytes alone."""

    @property
    def pays(self) -> bool:
        """Whether the small model is worth loading."""
        return self.speed >= PAYS

    @property
    def words(self) -> str:
        """For people."""
        source = "the forward times kept here" if self.measured else "bytes, which flatter"
        speed = f"{self.speed:.2f} times plain" if self.pays else "it does not pay"
        return f"{speed} if {100 * BY_TEXT:.0f} % of its drafts stand, by {source}"


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


def expected_speed(
    chance: float, drafts: int, draft: float, verify: Callable[[int], float]
) -> float:
    """Expected speed of drafting `drafts` tokens in a chain, as a multiple of the large model's.

    Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding", arXiv
    2211.17192, theorem 3.8: (1 - a^(k+1)) / ((1 - a) (k c + 1)) with acceptance rate a, draft
    length k and cost ratio c, here `draft`. The paper counts a forward of k + 1 tokens like one of
    a single token, which holds where memory binds and is too kind on most CPUs: `verify` says what
    it costs, in forwards of one token.
    """
    tokens = drafts + 1 if chance >= 1 else (1 - chance ** (drafts + 1)) / (1 - chance)
    return tokens / (drafts * draft + verify(drafts + 1))


def _best_speed(chance: float, ratio: float, times: CostCurve | None) -> float:
    def verify(tokens: int) -> float:
        return 1.0 if times is None else times.ms(tokens) / times.ms(1)

    return max(expected_speed(chance, k, ratio, verify) for k in range(LONGEST + 1))


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


def couples_by_text(listing: Listing, large: ListedModel | None = None) -> list[Couple]:
    """Couples of unlike vocabularies, the cheapest drafter of each large model first.

    With `large`, only those that serve it. The built-in models know their own tasks and nothing
    else, so they are not among them.
    """
    usable = [m for m in listing.models if m.problem is None and not _is_built_in(m)]
    usable = [m for m in usable if m.card.rewinds and m.card.tokens is not None]
    wanted = usable if large is None else [large] if large.card.rewinds else []
    found = [
        Couple(small, big, by_text=True)
        for big in wanted
        for small in usable
        if _smaller(small, big)
        and small.card.read_bytes >= LEAST_BY_TEXT * big.card.read_bytes
        and listing.difference(small, big)
    ]
    listing.save()
    found.sort(key=lambda c: (c.cost_ratio, c.large.card.read_bytes, c.small.name))
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

    Where none of its vocabulary lies here, one of another that is forecast to pay. Raises PairError
    when nothing fits.
    """
    listing = listing or Listing()
    real = os.path.realpath(large)
    known = next((m for m in listing.models if os.path.realpath(m.found.path) == real), None)
    whole = known or ListedModel(Found(large.name, large, "path"), listing.card_of(large))
    if whole.problem is not None:
        raise PairError(f"--small auto: {whole.name} {whole.problem}")
    fitting = couples(listing, whole)
    if not fitting:
        return _partner_by_text(whole, listing)
    best = fitting[0]
    return best.small.found.path, (
        f"--small auto took {best.small.name}: it reads {100 * best.cost_ratio:.0f} % of the bytes"
        f" of {whole.name}, so a pair is at most {best.greatest_gain:.2f} times plain"
    )


def _partner_by_text(large: ListedModel, listing: Listing) -> tuple[Path, str]:
    unlike = couples_by_text(listing, large)
    hint = "which go together: adec inspect models; a model alone: --model"
    if not unlike:
        raise PairError(
            f"--small auto: no model on this machine can draft for {large.name}", hint=hint
        )
    best, forecast = unlike[0], unlike[0].forecast()
    name = best.small.name
    if not forecast.pays:
        raise PairError(
            f"--small auto: only models of other vocabularies could draft for {large.name}, and"
            f" {name} is not expected to pay: {forecast.words}",
            hint=f"--small {name} takes it all the same",
        )
    return best.small.found.path, (
        f"--small auto took {name}, of another vocabulary, which drafts by text: forecast"
        f" {forecast.words}"
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
    return _is_built_in(couple.small) and _is_built_in(couple.large)


def _is_built_in(model: ListedModel) -> bool:
    return model.name.startswith(PRACTICE)


def _smaller(small: ListedModel, large: ListedModel) -> bool:
    return 0 < small.card.read_bytes <= WORTHWHILE * large.card.read_bytes
