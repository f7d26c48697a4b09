"""Which rows a bench has: strategies with their settings, the small model alone, peers. Picklable, opened where it runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adec.answering.choice import Choice
from adec.answering.plan import Plan, plan
from adec.answering.session import open_session
from adec.benchmark.decoders import Contestant, StrategyContestant
from adec.benchmark.peers.offered import PeerChoice, find_peers, open_peer, peer_header
from adec.benchmark.runner import Bench, BenchSettings
from adec.benchmark.samples import PLAIN, RowHeader
from adec.decoding.registry import METHODS
from adec.decoding.search.adadec import AdaDecSettings
from adec.engines.base import OpenOptions
from adec.errors import PairError, UsageError

BEST_OF_N = "best-of-n"
"""Whole answers, the likeliest of which counts, as many as an adadec row's tokens are enough for: one round of iad."""
SMALL = "small"
"""The row of the small model alone: the floor of both time and quality."""
AUTO = "auto"
"""The row of what a run without --strategy would take."""


@dataclass(frozen=True)
class Entry:
    """One strategy row: its name in the table, the strategy, its settings."""

    name: str
    strategy: str
    assignments: tuple[str, ...] = ()
    follows: str = ""
    """The row whose tokens fed are this one's budget."""


@dataclass(frozen=True)
class Lineup:
    """Everything that opening the rows needs."""

    choice: Choice
    entries: tuple[Entry, ...]
    options: OpenOptions
    settings: BenchSettings
    peers: tuple[PeerChoice, ...] = ()

    def open(self) -> Bench:
        """Load the models once for all rows. Raises AdecError."""
        base = _base(self.choice)
        session = open_session(base, self.options)
        try:
            rows: list[Contestant] = [
                StrategyContestant(
                    entry.name,
                    base.with_strategy(entry.strategy, entry.assignments),
                    session.engines,
                    self.settings.runs,
                    follows=entry.follows,
                )
                for entry in self.entries
            ]
            rows += [open_peer(peer, session.engines, self.options) for peer in self.peers]
        except BaseException:
            session.close()
            raise
        return Bench(rows, self.settings, engines=session.engines, close=session.close)


@dataclass(frozen=True)
class Checked:
    """A line-up found possible, with nothing loaded."""

    lineup: Lineup
    rows: tuple[RowHeader, ...]
    about: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def make_lineup(
    choice: Choice,
    strategies: str | None,
    options: OpenOptions,
    settings: BenchSettings,
    peers: str = "none",
    peer_places: tuple[Path, ...] = (),
) -> Checked:
    """Resolve the words of --strategies and --peers on these models. Raises UsageError, PairError, ModelFileError, ProfileError.

    `strategies` are names with commas between, each perhaps with settings: "plain,ead:up=0.3+window=1". "all" are
    those that the models can serve. "best-of-n" is `iad` in one round that is fed as much as the adadec row before it. None: plain, the small model, what the profile recommends, speculate and lookup.
    """
    base = _base(choice)
    entries, remarks = _entries(strategies, base, choice)
    rows, beams = [], 0
    for entry in entries:
        made = base.with_strategy(entry.strategy, entry.assignments)
        what = made.method.about if not entry.follows else f"best-of-N, fed as {entry.follows} is"
        searches = entry.strategy in ("adadec", "iad")
        rows.append(
            RowHeader(entry.name, "strategy", what, follows=entry.follows, searches=searches)
        )
        if isinstance(made.settings, AdaDecSettings) and not beams:
            beams = made.settings.candidates
    _check_assignments(choice, entries)
    found = find_peers(
        peers, peer_places, base.models["large"], base.models.get("small"), beams=beams
    )
    lineup = Lineup(choice, tuple(entries), options, settings, found)
    rows += [peer_header(peer) for peer in found]
    about = {
        "models": _models(base),
        "settings": _plain_data(settings),
        "options": _plain_data(options),
    }
    return Checked(lineup, tuple(rows), about, (*base.remarks, *remarks))


def key_of(checked: Checked, identity: str) -> str:
    """What must be equal for a stopped bench to go on: models, rows, tasks, settings, adec itself."""
    from adec import __version__

    parts = [
        __version__,
        identity,
        checked.about,
        [_plain_data(entry) for entry in checked.lineup.entries],
        [_plain_data(peer) for peer in checked.lineup.peers],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _base(choice: Choice) -> Plan:
    return plan(dataclasses.replace(choice, strategy=PLAIN, assignments=()))


def _entries(strategies: str | None, base: Plan, choice: Choice) -> tuple[list[Entry], list[str]]:
    remarks: list[str] = []
    if strategies == "all":
        words = [PLAIN]
        for name in METHODS:
            try:
                base.with_strategy(name)
            except (PairError, UsageError) as error:
                remarks.append(f"{name} is left out: {error.message}")
                continue
            words.append(name)
        if "small" in base.models:
            words.insert(1, SMALL)
    elif strategies is None:
        words = _default_words(base)
    else:
        words = [word.strip() for word in strategies.split(",") if word.strip()]
        if not words:
            raise UsageError("--strategies names none", hint="for example: --strategies ead,lookup")
    entries: dict[str, Entry] = {}
    for word in [PLAIN, *words]:
        entry = _entry(word, base, choice, list(entries.values()))
        entries.setdefault(entry.name, entry)
    return list(entries.values()), remarks


def _default_words(base: Plan) -> list[str]:
    recommended = None if base.profile is None else base.profile.recommended
    words = [PLAIN, SMALL] if "small" in base.models else [PLAIN]
    words += [
        recommended or ("ead" if "small" in base.models else "recycling"),
        "speculate",
        "lookup",
    ]
    return words


def _entry(word: str, base: Plan, choice: Choice, before: list[Entry]) -> Entry:
    """One word of --strategies. The settings of --set for that strategy come first, its own after them."""
    name, colon, rest = word.partition(":")
    if name == AUTO:
        if colon:
            raise UsageError("auto takes no settings: it takes those of the profile")
        return _auto(choice)
    if name == SMALL:
        if colon:
            raise UsageError("small takes no settings")
        if "small" not in base.models:
            raise UsageError("small is the small model of a pair, and there is none")
        return Entry(SMALL, PLAIN, ("plain.model=small",))
    if name == BEST_OF_N:
        return _best_of_n(rest, before, choice)
    own = tuple(f"{name}.{part.strip()}" for part in rest.split("+") if part.strip())
    shared = tuple(a for a in choice.assignments if a.strip().startswith(f"{name}."))
    if name == PLAIN and (own or shared):
        raise UsageError(
            "plain is the yardstick and takes no settings",
            hint="the small model alone is the row small",
        )
    shown = " ".join([name, *(part.removeprefix(f"{name}.") for part in own)])
    return Entry(shown, name, (*shared, *own))


def _best_of_n(rest: str, before: list[Entry], choice: Choice) -> Entry:
    """One round of iad, beside the nearest adadec row; settings are iad's."""
    followed = next((entry for entry in reversed(before) if entry.strategy == "adadec"), None)
    if followed is None:
        raise UsageError(
            "best-of-n is fed as much as an adadec row, and there is none before it",
            hint="for example: --strategies adadec,best-of-n",
        )
    # the same model writes
    model = tuple(a for a in followed.assignments if a.startswith("adadec.model="))
    words = [a.replace("adadec.", "iad.") for a in model]
    words += [a for a in choice.assignments if a.strip().startswith("iad.")]
    own = [part.strip() for part in rest.split("+") if part.strip()]
    beside = followed.name.removeprefix("adadec").strip()
    shown = " ".join([BEST_OF_N, *own, *([f"({beside})"] if beside else [])])
    words += [f"iad.{part}" for part in own]
    return Entry(shown, "iad", (*words, "iad.rounds=1", "iad.candidates=1000"), followed.name)


def _auto(choice: Choice) -> Entry:
    """The row of what `adec run` would do by itself on these models."""
    made = plan(dataclasses.replace(choice, strategy=AUTO, assignments=()))
    settings = {f.name: getattr(made.settings, f.name) for f in dataclasses.fields(made.settings)}
    words = (f"{made.method.name}.{name}={_word(value)}" for name, value in settings.items())
    return Entry(AUTO, made.method.name, tuple(words))


def _word(value: Any) -> str:
    """A setting's value as it is typed."""
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _check_assignments(choice: Choice, entries: list[Entry]) -> None:
    known = {entry.strategy for entry in entries}
    for assignment in choice.assignments:
        strategy = assignment.strip().partition(".")[0]
        if strategy not in known:
            raise UsageError(
                f"--set {assignment} has no effect: {strategy} is not among the strategies",
                hint=f"add it to --strategies, which are {', '.join(sorted(known))}",
            )


def _models(base: Plan) -> dict[str, Any]:
    found = {}
    for role, header in (("large", base.models["large"]), ("small", base.models.get("small"))):
        if header is not None:
            info = header.info
            stat = info.path.stat()
            found[role] = {
                "name": info.name, "path": str(info.path), "format": info.format,
                "parameters": info.parameters, "quantisation": info.quantisation,
                "bytes": info.bytes, "changed": stat.st_mtime,
                "vocabulary": header.vocabulary.fingerprint,
            }  # fmt: skip
    return found


def _plain_data(thing: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(thing), default=str))
    return data
