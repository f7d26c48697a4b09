"""Which points are run for real: those that replay and simulation find promising, as many as the time allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

from adec.calibration.grids import EXACT_PAIR, EXACT_SINGLE, GRIDS, PAPER, ead_exact_grid
from adec.calibration.prompts import Prompt
from adec.calibration.recording import Record
from adec.calibration.replay import Replay, replay_ead, replay_ead_exact
from adec.calibration.replay_chains import cascade_defers, replay_bild, replay_chain, replay_fly
from adec.calibration.simulate import Simulator, forwards_ms, own_ms
from adec.calibration.trial import Measured, Point, front, point_from
from adec.decoding import settings as setting_values
from adec.decoding.pair.bild import BildSettings
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.pair.ead import EadSettings
from adec.decoding.pair.fly import FlySettings

TARGETS = (1, 0.5, 2, 0.2, 4)
"""Losses of agreement that points are looked for at, as multiples of what may be lost."""
INVOLVED = 1.08
"""EAD that averages or dwells must save that much time by replay to be looked at before EAD that judges each token by itself: else
the choice between two that are as good is chance, another one with each seed."""
REPLAYED = 60
"""Answers that candidates are replayed on; more would only make the grid slower."""
PER_FAMILY = 5
"""Points of an approximate family that are run at most, the published one apart."""
LEAST_POINTS, MOST_POINTS = 6, 24
SIMULATED = 12
"""Answers that decide between variants."""
BETTER = 0.97
"""Time, as a share of the default's, that a variant must be below to be run in its place."""
SLOWER = 1.1
"""A family all of whose points are forecast to take so much longer than the best exact one is not run."""


@dataclass(frozen=True)
class Candidate:
    """A point and what its replay says."""

    point: Point
    least: float
    """Agreement if all differs after a path was left; likewise `most` if nothing more does."""
    most: float
    ms_per_token: float
    forwards_ms: float
    """Forwards alone, for a token."""
    left: float
    """Share of the answers whose path was left."""


def replay(point: Point, records: Sequence[Record], curves: Curves) -> Replay:
    """What the records say of a point of a family below."""
    values = point.table()
    if point.strategy == "ead":
        chosen = setting_values.build(EadSettings, "ead", ("candidate", values))
        return (replay_ead_exact if chosen.accept == "exact" else replay_ead)(
            records, chosen, curves
        )
    if point.strategy == "bild":
        return replay_bild(
            records, setting_values.build(BildSettings, "bild", ("candidate", values)), curves
        )
    if point.strategy == "fly":
        return replay_fly(
            records, setting_values.build(FlySettings, "fly", ("candidate", values)), curves
        )
    defers = [cascade_defers(record, values["rule"], values["alpha"]) for record in records]
    return replay_chain(records, values["drafts"], curves, defers=defers)


def candidates(
    points: Sequence[Point],
    records: Sequence[Record],
    curves: Curves,
    own_ms: float,
    tick: Callable[[float], None] = lambda share: None,
) -> list[Candidate]:
    """Each point replayed; `own_ms` is what a step takes apart from forwards."""
    part = records[:REPLAYED]
    found = []
    for number, point in enumerate(points):
        tick(number / len(points))
        seen = replay(point, part, curves)
        found.append(
            Candidate(
                point,
                seen.least,
                seen.most,
                seen.ms_per_token(own_ms),
                seen.ms_per_token(0.0),
                seen.left / max(1, seen.answers),
            )
        )
    return found


def left_by(point: Point, records: Sequence[Record], curves: Curves) -> float:
    """Share of the answers whose path a point leaves, by replay on all records."""
    seen = replay(point, records, curves)
    return seen.left / max(1, seen.answers)


def promising(known: Sequence[Candidate], keep: float, count: int) -> list[Candidate]:
    """Points of the replayed front whose certain agreement lies about `keep`, the likeliest to be chosen first.

    Replay knows only that much, since what follows after a path was left may agree again, or matter to nobody.
    """
    edge = front([_ByLeast(candidate) for candidate in known])
    chosen: list[Candidate] = []
    for factor in TARGETS[:count]:
        enough = [p for p in edge if p.quality >= 1 - (1 - keep) * factor]
        pick = enough[0] if enough else edge[-1]
        if pick.candidate not in chosen:
            chosen.append(pick.candidate)
    return chosen


def paper_point(known: Sequence[Candidate], keep: float) -> Candidate | None:
    """EAD with the published window and dwell, at the fastest threshold that may keep enough, else at the safest."""
    published = [c for c in known if set(PAPER) <= set(c.point.settings)]
    enough = [c for c in published if c.least >= keep]
    if enough:
        return min(enough, key=lambda c: c.ms_per_token)
    return max(published, key=lambda c: c.least, default=None)


@dataclass(frozen=True)
class _ByLeast:
    candidate: Candidate

    @property
    def ms_per_token(self) -> float:
        values = self.candidate.point.table()
        involved = values.get("window", 1) > 1 or values.get("dwell", 0) > 0
        if self.candidate.point.strategy == "ead" and involved:
            return INVOLVED * self.candidate.ms_per_token
        return self.candidate.ms_per_token

    @property
    def quality(self) -> float:
        return self.candidate.least


@dataclass
class Choice:
    """What is run, and what was looked at."""

    points: list[Measured] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    """Family to the number of its points that were replayed or simulated."""

    def data(self) -> list[Any]:
        """Plain data, for the journal."""
        return [[[m.exact, m.point.data()] for m in self.points], self.tried]


def choice_from(data: Any) -> Choice:
    """From plain data. Raises ValueError, TypeError, AttributeError or UsageError when it is none."""
    points, tried = data
    return Choice(
        [Measured(point_from(point), bool(exact)) for exact, point in points],
        {str(family): int(count) for family, count in tried.items()},
    )


class Chooser:
    """Looks at points on records."""

    def __init__(
        self,
        simulator: Simulator,
        prompts: Sequence[Prompt],
        records: Sequence[Record],
        curves: Curves,
        *,
        step_ms: float,
        tick: Callable[[float], None] = lambda share: None,
    ) -> None:
        """`step_ms`: adec's own time for a step."""
        self._simulator = simulator
        self._prompts = prompts
        self._records = records
        self._curves = curves
        self._step_ms = step_ms
        self._tick = tick
        self._at = 0.3
        """How far the bar is."""

    def choose(self, able: Sequence[str], plain: Measured, *, keep: float, most: int) -> Choice:
        """At most `most` points (at least LEAST_POINTS), plain decoding first; `able`: methods that these models can serve."""
        pair = self._curves.small is not None
        choice = Choice([plain])
        exact = self._exact(able, choice, pair)
        room = max(LEAST_POINTS, min(MOST_POINTS, most)) - 1
        if not pair or keep >= 1:
            choice.points += exact[:room]
            return choice
        lists = self._approximate(able, choice, keep, exact)
        # the two best exact ones are always run: an approximate one must earn its place against them
        mixed = chain.from_iterable(zip_longest(exact[2:], *lists))
        choice.points += [*exact[:2], *(m for m in mixed if m is not None)][:room]
        return choice

    def _exact(self, able: Sequence[str], choice: Choice, pair: bool) -> list[Measured]:
        """The best variant of each exact method, speculate first, the others by their forecast."""
        methods = dict(EXACT_PAIR if pair else EXACT_SINGLE)
        found: list[tuple[float, Point]] = []
        for number, (name, variants) in enumerate(methods.items()):
            if name in able:
                self._tick(0.3 * number / len(methods))
                times = [(self._simulated_ms(point), place) for place, point in enumerate(variants)]
                choice.tried[name] = len(variants)
                ms, place = min(times)
                if ms > BETTER * times[0][0]:
                    ms, place = times[0]
                found.append((ms, variants[place]))
        if pair and "ead" in able:
            known = self._replayed(ead_exact_grid(self._records))
            choice.tried["ead accept=exact"] = len(known)
            best = min(known, key=lambda c: c.ms_per_token)
            found.append((self._simulated_ms(best.point), best.point))
        found.sort(key=lambda item: (item[1].strategy != "speculate", item[0]))
        return [Measured(point, True, forecast_ms=ms) for ms, point in found]

    def _approximate(
        self,
        able: Sequence[str],
        choice: Choice,
        keep: float,
        exact: Sequence[Measured],
    ) -> list[list[Measured]]:
        """The promising points of each family that may be faster than what is exact; of all, where none is."""
        lists: list[list[Measured]] = []
        for number, (family, grid) in enumerate(GRIDS.items()):
            if family not in able:
                continue
            start = 0.3 + 0.7 * number / len(GRIDS)
            self._at = start
            known = self._replayed(grid(self._records))
            choice.tried[family] = len(known)
            chosen = promising(known, keep, PER_FAMILY)
            published = paper_point(known, keep) if family == "ead" else None
            if published is not None and published not in chosen:
                chosen.append(published)
            lists.append(
                [Measured(c.point, False, forecast_ms=self._simulated_ms(c.point)) for c in chosen]
            )
        best = min((m.forecast_ms or 0.0 for m in exact), default=0.0)
        quick = [
            points for points in lists if min(m.forecast_ms or 0.0 for m in points) <= SLOWER * best
        ]
        return quick or lists

    def _replayed(self, points: Sequence[Point]) -> list[Candidate]:
        # a grid takes seconds: Ctrl-C is heard, while the bar stands
        return candidates(
            points, self._records, self._curves, self._step_ms, lambda share: self._tick(self._at)
        )

    def _simulated_ms(self, point: Point) -> float:
        """Forecast of milliseconds a token, own time included."""
        if self._records:
            # the first run of a strategy pays for what Python sets up
            self._simulator.run(point, self._prompts[0], self._records[0])
        runs = [
            self._simulator.run(point, prompt, record)
            for prompt, record in zip(
                self._prompts[:SIMULATED], self._records[:SIMULATED], strict=False
            )
        ]
        return forwards_ms(runs) + own_ms(runs)
