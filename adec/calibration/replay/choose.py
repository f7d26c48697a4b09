"""Which points are run for real: those that look promising on records, as many as the time allows.

The points of a family are simulated by successive halving: all of them on the first records, the
better half on twice as many, and so on until the records or the time run out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from adec.calibration.replay.grids import (
    ADAPTIVE,
    EXACT_GRIDS,
    EXACT_PAIR,
    EXACT_SINGLE,
    FAMILIES,
    handicap,
)
from adec.calibration.replay.simulate import Replay, forwards_ms, own_ms
from adec.calibration.trials.measured import Measured, front
from adec.calibration.trials.trial import Metric, Point
from adec.errors import UsageError

TARGETS = (1, 0.5, 2, 0.2, 4)
"""Losses of agreement that points are looked for at, as multiples of what may be lost: at most so
many points of a family are run, the published one apart."""
LENIENT = 4.0
"""How much more agreement may be lost than of a metric that does not compare tokens: after another
token an answer mostly says the same in other words."""
LEAST_POINTS, MOST_POINTS = 6, 24
LEAST_RECORDS, FIRST_RECORDS, MOST_RECORDS = 4, 8, 60
"""Records that a point is simulated on: whatever the time, before the first halving, at most."""
OTHER_SURVEYS = 2
"""Surveys that share the time with those of the families: exact EAD, and the published points."""
VARIANT_RECORDS = 12
"""Records that decide between variants of an exact method."""
BETTER = 0.97
"""Time, as a share of the default's, that a variant must take less than to be run in its place."""
SLOWER = 1.1
"""A family whose points are all forecast to take so much longer than the best exact one is not
run."""


Kept = tuple[list[tuple[bool, Point]], dict[str, int]]


@dataclass
class Shortlist:
    """What is run, and what was looked at."""

    points: list[Measured] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    """Family to the number of its points that were simulated."""

    @property
    def kept(self) -> Kept:
        """For the journal."""
        return [(m.exact, m.point) for m in self.points], self.tried

    @classmethod
    def from_kept(cls, kept: Kept) -> Shortlist | None:
        """None when a point is not one that this version knows."""
        points, tried = kept
        try:
            for _, point in points:
                point.build_settings()
        except UsageError:
            return None
        return cls([Measured(point, exact) for exact, point in points], tried)


@dataclass
class Contender:
    """A point and what its simulation on some records says."""

    point: Point
    records: int = 0
    ms: float = 0.0
    decoded: int = 0
    kept: int = 0
    """Tokens before the large model's path was left."""
    tokens: int = 0
    """Tokens of the recorded answers."""

    @property
    def quality(self) -> float:
        """Agreement if everything differs once the path was left: the least that it can be."""
        return self.kept / max(1, self.tokens)

    @property
    def ms_per_token(self) -> float:
        """With what the point is handicapped by."""
        return handicap(self.point) * self.ms / max(1, self.decoded)

    def simulate(self, simulator: Replay) -> None:
        """Take in the next record."""
        answer = simulator.records[self.records].tokens
        run = simulator.run(self.point, self.records, on_path=True)
        self.records += 1
        self.ms += run.ms
        self.decoded += run.decoded
        self.kept += len(run.tokens) - (run.tokens != answer[: len(run.tokens)])
        self.tokens += len(answer)


def survey(
    simulator: Replay,
    points: Sequence[Point],
    *,
    late: Callable[[], bool] = lambda: False,
    tick: Callable[[], None] = lambda: None,
) -> list[Contender]:
    """The points that successive halving leaves, all simulated on the same records."""
    going = [Contender(point) for point in points]
    halve_at = FIRST_RECORDS
    for index in range(min(MOST_RECORDS, len(simulator.records))):
        if index >= LEAST_RECORDS and late():
            break
        if index == halve_at:
            going, halve_at = better_half(going), 2 * halve_at
        for candidate in going:
            tick()
            candidate.simulate(simulator)
    return going


def better_half(candidates: Sequence[Contender]) -> list[Contender]:
    """At least half of the candidates: those on the front, those on the front of the others, and
    so on."""
    rest, kept = list(candidates), list[Contender]()
    while 2 * len(kept) < len(candidates):
        edge = front(rest)
        kept += edge
        rest = [candidate for candidate in rest if candidate not in edge]
    return kept


def promising(known: Sequence[Contender], keep: float) -> list[Contender]:
    """Points of the front whose certain agreement lies about `keep`, the most promising first.

    Only the certain part is known: after a path was left, the answer may agree again.
    """
    edge = front(known)
    chosen: list[Contender] = []
    for factor in TARGETS:
        enough = [c for c in edge if c.quality >= 1 - (1 - keep) * factor]
        pick = enough[0] if enough else edge[-1]
        if pick not in chosen:
            chosen.append(pick)
    return chosen


def safe_and_fast(known: Sequence[Contender], keep: float) -> Contender:
    """The fastest that certainly keeps enough, else the safest."""
    enough = [c for c in known if c.quality >= keep]
    if enough:
        return min(enough, key=lambda c: c.ms_per_token)
    return max(known, key=lambda c: c.quality)


class Chooser:
    """Looks at points on records."""

    def __init__(
        self,
        simulator: Replay,
        *,
        allow: Callable[[float], Callable[[], bool]],
        tick: Callable[[float], None] = lambda share: None,
        exact: Mapping[str, Sequence[Point]] | None = None,
        serves: Callable[[Point], bool] = lambda point: True,
    ) -> None:
        """`allow`: from a share of the time for simulations to whether it has passed since.

        `exact`: variants of exact methods; None: those of `grids`. `serves`: whether the models can
        run a method with these settings.
        """
        self._simulator = simulator
        self._allow = allow
        self._tick = tick
        self._done = 0.0
        self._variants = exact or (EXACT_PAIR if simulator.pair else EXACT_SINGLE)
        self._serves = serves
        self._surveys = OTHER_SURVEYS

    def choose(
        self,
        able: Sequence[str],
        plain: Measured,
        *,
        keep: float,
        most: int,
        metric: Metric = "agreement",
    ) -> Shortlist:
        """At most `most` points (at least LEAST_POINTS), plain decoding first.

        `able`: methods that these models can serve. `keep`: of the metric. The simulation knows
        agreement only.
        """
        shortlist = Shortlist([plain])
        self._surveys = OTHER_SURVEYS + sum(name in able for name in FAMILIES)
        exact = self._exact(able, shortlist)
        room = max(LEAST_POINTS, min(MOST_POINTS, most)) - 1
        if keep >= 1:
            shortlist.points += exact[:room]
            return shortlist
        agreement = keep if metric == "agreement" else 1 - LENIENT * (1 - keep)
        lists = self._approximate(able, shortlist, agreement, exact)
        # the two best exact ones are always run: an approximate one must earn its place against
        # them
        mixed = chain.from_iterable(zip_longest(exact[2:], *lists))
        shortlist.points += [*exact[:2], *(m for m in mixed if m is not None)][:room]
        return shortlist

    def _exact(self, able: Sequence[str], shortlist: Shortlist) -> list[Measured]:
        """The best variant of each exact method: the adaptive one first, the others by forecast."""
        pair = self._simulator.pair
        found: list[tuple[float, Point]] = []
        for name, variants in self._variants.items():
            if name in able and all(map(self._serves, variants)):
                times = [(self._simulated_ms(point), place) for place, point in enumerate(variants)]
                shortlist.tried[name] = len(variants)
                ms, place = min(times)
                if ms > BETTER * times[0][0]:
                    ms, place = times[0]
                found.append((ms, variants[place]))
        for name, grid in EXACT_GRIDS.items() if pair else ():
            if name in able:
                points = [p for p in grid(self._simulator.records) if self._serves(p)]
                if not points:
                    continue
                best = min(self._survey(points), key=lambda c: c.ms_per_token)
                shortlist.tried[f"{name} accept=exact"] = len(points)
                found.append((self._simulated_ms(best.point), best.point))
        found.sort(key=lambda item: (item[1].strategy != ADAPTIVE, item[0]))
        return [Measured(point, True, forecast_ms=ms) for ms, point in found]

    def _approximate(
        self, able: Sequence[str], shortlist: Shortlist, keep: float, exact: Sequence[Measured]
    ) -> list[list[Measured]]:
        """The promising points of each family that may be faster than what is exact.

        Of every family where none may.
        """
        lists: list[list[Measured]] = []
        for name, family in FAMILIES.items():
            if name not in able:
                continue
            points = [p for p in family.grid(self._simulator.records) if self._serves(p)]
            if not points:
                continue
            shortlist.tried[name] = len(points)
            chosen = [candidate.point for candidate in promising(self._survey(points), keep)]
            known: list[Point] = []
            if family.published:
                known = [p for p in points if set(family.published) <= set(p.settings)]
            if known:
                chosen.append(safe_and_fast(self._survey(known), keep).point)
            lists.append(
                [
                    Measured(point, False, forecast_ms=self._simulated_ms(point))
                    for point in dict.fromkeys(chosen)
                ]
            )
        best = min((m.forecast_ms or 0.0 for m in exact), default=0.0)
        quick = [
            points for points in lists if min(m.forecast_ms or 0.0 for m in points) <= SLOWER * best
        ]
        return quick or lists

    def _survey(self, points: Sequence[Point]) -> list[Contender]:
        late = self._allow(1 / self._surveys)
        found = survey(self._simulator, points, late=late, tick=lambda: self._tick(self._done))
        self._done += 1 / self._surveys
        return found

    def _simulated_ms(self, point: Point) -> float:
        """Forecast of milliseconds a token, own time included."""
        self._tick(self._done)
        # the first run of a strategy pays for what Python sets up
        self._simulator.run(point, 0)
        count = min(VARIANT_RECORDS, len(self._simulator.records))
        runs = [self._simulator.run(point, index) for index in range(count)]
        return forwards_ms(runs) + own_ms(runs)
