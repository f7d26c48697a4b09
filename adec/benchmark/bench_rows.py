"""Which rows a bench has, by the words of --strategies and --peers; checked, and then opened."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adec import __version__
from adec.answering.choice import Choice
from adec.answering.elsewhere import PlanThere, carried
from adec.answering.exactness_plan import measure_and_keep
from adec.answering.placement import place
from adec.answering.plan import Plan, plan, plan_yardstick
from adec.answering.session import open_session
from adec.benchmark.decoders import BenchDecoder, StrategyDecoder
from adec.benchmark.peers.offered import PeerChoice, find_peers, open_peer, peer_header
from adec.benchmark.runner import Bench, BenchSettings
from adec.benchmark.samples import PLAIN, RowHeader
from adec.decoding.registry import METHODS, remaining
from adec.decoding.settings import as_typed
from adec.engines.base import Engine, OpenOptions
from adec.engines.exactness.invariance import reach_of
from adec.engines.exactness.kept_invariance import kept_invariance
from adec.errors import PairError, UsageError
from adec.machine import usable_cores

BEST_OF_N = "best-of-n"
"""Sampled answers of which the likeliest counts; their number follows from the tokens that the
searching row before it was fed on the same prompt."""
SMALL = "small"
"""The row of the small model alone: the floor of both time and quality."""
AUTO = "auto"
"""The row of what a run without --strategy would take."""


SAMPLE = "The quick brown fox jumps over the lazy dog, and 12 others look on. def f(x): return x"
"""Tokens to feed where a model is measured before any prompt is known."""


@dataclass(frozen=True)
class StrategyRow:
    """One row of a strategy: its name in the table, the strategy, its settings."""

    name: str
    strategy: str
    assignments: tuple[str, ...] = ()
    follows: str = ""
    """The row whose tokens fed are this one's budget."""


@dataclass(frozen=True)
class BenchPlan:
    """The rows of a bench, found possible with nothing loaded. Picklable, for other processes."""

    choice: Choice
    strategies: tuple[StrategyRow, ...]
    peers: tuple[PeerChoice, ...]
    options: OpenOptions
    settings: BenchSettings
    rows: tuple[RowHeader, ...]
    """Of strategies and peers, in the table's order."""
    about: dict[str, Any]
    """Models, settings and options as plain data."""
    remarks: tuple[str, ...] = ()
    there: PlanThere | None = None
    """For workers on other machines: the models, to be found on their disks."""
    sharing: int = 1
    """Workers that share the cores of one such machine."""

    def for_elsewhere(self, sharing: int) -> BenchPlan:
        """The same to be opened on other machines. Raises UsageError for peers, which are here."""
        if self.peers:
            raise UsageError(
                f"the peer {self.peers[0].name} runs on this machine only",
                hint="leave --peers or --ray out",
            )
        there = carried(plan_yardstick(self.choice))
        return dataclasses.replace(self, there=there, sharing=sharing)

    def open(self) -> Bench:
        """Load the models once for all rows. Raises AdecError."""
        placed = place(*self._to_open())
        base = placed.plan
        session = open_session(base, placed.options)
        try:
            if base.bitwise:
                _measure_bits(session.engines["large"])
            decoders: list[BenchDecoder] = [
                StrategyDecoder(
                    row.name,
                    base.with_strategy(row.strategy, row.assignments),
                    session.engines,
                    self.settings.runs,
                    follows=row.follows,
                )
                for row in self.strategies
            ]
            decoders += [open_peer(peer, session.engines, self.options) for peer in self.peers]
        except BaseException:
            session.close()
            raise
        return Bench(decoders, self.settings, engines=session.engines, close=session.close)

    def _to_open(self) -> tuple[Plan, OpenOptions]:
        if self.there is None:
            return plan_yardstick(self.choice), self.options
        if self.sharing == 1 or self.options.threads is not None:
            return self.there.plan(), self.options
        threads = max(1, usable_cores() // self.sharing)
        return self.there.plan(), dataclasses.replace(self.options, threads=threads)

    def key(self, identity: str) -> str:
        """A digest of what must be equal for a stopped bench to go on.

        That is models, rows, settings, adec's version, and the `identity` of the tasks.
        """
        parts = [
            __version__,
            identity,
            self.about,
            [_plain_data(row) for row in self.strategies],
            [_plain_data(peer) for peer in self.peers],
        ]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def _measure_bits(large: Engine) -> None:
    """Measure what bitwise rows may run, unless it is known: no answer's time shall hold that."""
    known = kept_invariance(large)
    if known is None or known.length < reach_of(large.context, large.context):
        text = large.tokenizer.encode(SAMPLE, special=False)
        measure_and_keep(large, text, large.context, remark=lambda line: None)


def plan_bench(
    choice: Choice,
    strategies: str | None,
    options: OpenOptions,
    settings: BenchSettings,
    peers: str = "none",
    peer_places: tuple[Path, ...] = (),
    origin: str | None = None,
) -> BenchPlan:
    """Resolve the words of --strategies and --peers on these models.

    `strategies` are names with commas between, each perhaps with settings:
    "plain,ead:up=0.3+window=1". "all" stands for those that the models can serve, None for plain,
    the small model, what the profile recommends, and the methods that `bench` shows by default.
    Raises UsageError, PairError, ModelFileError or ProfileError.
    """
    placed = place(plan_yardstick(choice), options, origin)
    base, options = placed.plan, placed.options
    words, remarks = _words(strategies, base)
    named: dict[str, StrategyRow] = {}
    for word in [PLAIN, *words]:
        row = _strategy_row(word, base, choice, list(named.values()))
        named.setdefault(row.name, row)
    found = tuple(named.values())
    _check_assignments(choice, found)
    headers, beams, layered = [], 0, False
    for row in found:
        made = base.with_strategy(row.strategy, row.assignments)
        method = made.method
        about = f"best-of-N, fed as {row.follows} is" if row.follows else method.about
        headers.append(
            RowHeader(row.name, "strategy", about, follows=row.follows, searches=method.looks_ahead)
        )
        if method.width is not None and not beams:
            beams = getattr(made.settings, method.width)
        layered = layered or "layers" in method.needs.get("large", ())
    offered = find_peers(
        peers,
        peer_places,
        base.models,
        beams=beams,
        layered=layered,
        unlike=base.unlike is not None,
        greedy=settings.sampler.greedy,
    )
    if offered and options.rpc:
        raise UsageError(
            f"{offered[0].name} would run here, and the large model does not: no fair comparison",
            hint="leave --peers out, or give --rpc off",
        )
    headers += [peer_header(peer) for peer in offered]
    about_all = {
        "models": _models(base),
        "settings": _plain_data(settings),
        "options": _plain_data(options),
        **({"exactness": choice.exactness} if base.bitwise else {}),
    }
    return BenchPlan(
        choice, found, offered, options, settings, tuple(headers), about_all,
        (*base.remarks, *placed.remarks, *remarks),
    )  # fmt: skip


def _words(strategies: str | None, base: Plan) -> tuple[list[str], list[str]]:
    """The rows that --strategies names, and remarks on those that cannot be."""
    first = [SMALL] if SMALL in base.models and base.unlike is None else []
    if strategies is None:
        models = "pair" if first else "one model"
        able = remaining(base.models)
        shown = [
            m for m in METHODS.values() if m.default_row in ("always", models) and m.name in able
        ]
        words = [method.name for method in shown]
        if base.profile is not None and base.profile.recommended is not None:
            always = [method.name for method in shown if method.default_row == "always"]
            words = [base.profile.recommended, *always]
        return first + words, []
    if strategies == "all":
        words, remarks = [], []
        for name in METHODS:
            try:
                base.with_strategy(name)
            except (PairError, UsageError) as error:
                remarks.append(f"{name} is left out: {error.message}")
                continue
            words.append(name)
        return first + words, remarks
    words = [word.strip() for word in strategies.split(",") if word.strip()]
    if not words:
        raise UsageError("--strategies names none", hint=f"there are {', '.join(METHODS)}")
    return words, []


def _strategy_row(word: str, base: Plan, choice: Choice, before: list[StrategyRow]) -> StrategyRow:
    """The row of one word. Its settings come after those of --set for that strategy."""
    name, _, rest = word.partition(":")
    own = [part.strip() for part in rest.split("+") if part.strip()]
    if name == AUTO:
        if own:
            raise UsageError("auto takes no settings: it takes those of the profile")
        return _auto(choice)
    if name == SMALL:
        if own:
            raise UsageError("small takes no settings")
        if SMALL not in base.models:
            raise UsageError("small is the small model of a pair, and there is none")
        if base.unlike is not None:
            raise PairError(f"small cannot answer what the large model reads: {base.unlike}")
        return StrategyRow(SMALL, PLAIN, (f"{PLAIN}.model={SMALL}",))
    if name == BEST_OF_N:
        return _best_of_n(own, before, choice)
    shared = _shared(choice, name)
    if name == PLAIN and (own or shared):
        raise UsageError(
            "plain is the yardstick and takes no settings",
            hint="the small model alone is the row small",
        )
    if name == PLAIN:
        return StrategyRow(PLAIN, base.method.name)
    return StrategyRow(" ".join([name, *own]), name, (*shared, *_of(name, own)))


def _best_of_n(own: list[str], before: list[StrategyRow], choice: Choice) -> StrategyRow:
    """One round of whole answers, with the budget of the nearest searching row before it."""
    ahead = [m.name for m in METHODS.values() if m.looks_ahead and not m.whole_answers]
    followed = next((row for row in reversed(before) if row.strategy in ahead), None)
    if followed is None:
        raise UsageError(
            f"best-of-n is fed as much as {' or '.join(ahead)}, and there is none before it",
            hint=f"for example: --strategies {ahead[0]},best-of-n",
        )
    sampler = next(m for m in METHODS.values() if m.best_of_n)
    # the same model writes
    start = f"{followed.strategy}.model="
    model = [f"model={a.removeprefix(start)}" for a in followed.assignments if a.startswith(start)]
    beside = followed.name.removeprefix(followed.strategy).strip()
    return StrategyRow(
        " ".join([BEST_OF_N, *own, *([f"({beside})"] if beside else [])]),
        sampler.name,
        (
            *_of(sampler.name, model),
            *_shared(choice, sampler.name),
            *_of(sampler.name, [*own, *sampler.best_of_n]),
        ),
        followed.name,
    )


def _auto(choice: Choice) -> StrategyRow:
    """The row of what `adec run` would do by itself on these models."""
    made = plan(dataclasses.replace(choice, strategy=AUTO, assignments=()))
    settings = {f.name: getattr(made.settings, f.name) for f in dataclasses.fields(made.settings)}
    words = [f"{name}={as_typed(value)}" for name, value in settings.items()]
    return StrategyRow(AUTO, made.method.name, _of(made.method.name, words))


def _of(strategy: str, settings: list[str]) -> tuple[str, ...]:
    return tuple(f"{strategy}.{setting}" for setting in settings)


def _shared(choice: Choice, strategy: str) -> list[str]:
    """What --set says of a strategy."""
    return [a for a in choice.assignments if a.strip().startswith(f"{strategy}.")]


def _check_assignments(choice: Choice, rows: tuple[StrategyRow, ...]) -> None:
    known = {row.strategy for row in rows}
    for assignment in choice.assignments:
        strategy = assignment.strip().partition(".")[0]
        if strategy not in known:
            raise UsageError(
                f"--set {assignment} has no effect: {strategy} is not among the strategies",
                hint=f"add it to --strategies, which are {', '.join(sorted(known))}",
            )


def _models(base: Plan) -> dict[str, Any]:
    return {
        role: {
            "name": header.info.name, "path": str(header.info.path), "format": header.info.format,
            "parameters": header.info.parameters, "quantisation": header.info.quantisation,
            "bytes": header.info.bytes, "changed": _changed(header.info.path),
            "vocabulary": header.vocabulary.fingerprint,
        }
        for role, header in base.models.items()
    }  # fmt: skip


def _changed(path: Path) -> float | None:
    """When a model's file was changed; None for a model behind an address."""
    return path.stat().st_mtime if path.exists() else None


def _plain_data(thing: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(thing), default=str))
    return data
