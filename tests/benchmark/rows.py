"""Rows on table engines, and a bench of them that another process can open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adec.answering.plan import Plan
from adec.benchmark.decoders import StrategyDecoder
from adec.benchmark.run_bench import BenchRequest
from adec.benchmark.runner import Bench, BenchSettings
from adec.benchmark.samples import RowHeader, SamplesFile
from adec.benchmark.tasks.task import Task
from adec.benchmark.tasks.task_sources import TaskSource
from adec.decoding.registry import find_method
from adec.decoding.settings import build
from adec.engines.base import ModelHeader
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.events.records import Guarantee
from tests import laws

LETTERS = "abcde"
EXACT_EAD = {"accept": "exact", "up": "1.5", "window": "1", "dwell": "0"}
"""Speculation that depends on distributions alone, so that every run of it feeds the same
tokens."""


def plan_of(engines: Engines, strategy: str, assignments: dict[str, str] | None = None) -> Plan:
    method = find_method(strategy)
    settings = build(method.settings, strategy, ("test", assignments or {}))
    large = ModelHeader(
        engines["large"].info, engines["large"].vocabulary, engines["large"].capabilities
    )
    return Plan({"large": large}, method, settings, None, ())


def table_bench(
    settings: BenchSettings, strategies: Sequence[str] = ("plain", "ead", "lookup"), seed: int = 0
) -> Bench:
    small, large = laws.pair(seed, size=6, context=512)
    engines = Engines(large=large, small=small)
    rows = [
        StrategyDecoder(
            name,
            plan_of(engines, name, EXACT_EAD if name == "ead" else None),
            engines,
            settings.runs,
        )
        for name in strategies
    ]
    rows += [
        StrategyDecoder(
            "small", plan_of(engines, "plain", {"model": "small"}), engines, settings.runs
        )
    ]
    return Bench(rows, settings, engines=engines, close=engines.close)


def bench_here() -> Bench:
    """At module level, so that it can be pickled by name."""
    return table_bench(BenchSettings(max_tokens=12))


def liar_here() -> Bench:
    """A row that says it is exact, and is the small model."""
    bench = table_bench(BenchSettings(max_tokens=12), ("plain",))
    liar = bench.decoders[-1]
    assert isinstance(liar, StrategyDecoder)
    liar.header = RowHeader("liar", "strategy", "", Guarantee.EXACT.value)
    return bench


class Nothing(list):
    """A list that forgets."""

    def append(self, item: object) -> None: ...


def forgetful_here(names: Sequence[str] = ("plain",)) -> Bench:
    """Rows without the small model, on engines whose own log, which grows by design, is off."""
    bench = table_bench(BenchSettings(max_tokens=4), names)
    bench.decoders.pop()
    first = bench.decoders[0]
    assert isinstance(first, StrategyDecoder)
    for engine in first.engines.values():
        assert isinstance(engine, TableEngine)
        engine.fed = Nothing()
    return bench


def prompt_of(index: int) -> str:
    """A word over the table's letters, different for each index below 5 ** 6."""
    word = ""
    for _ in range(6):
        index, letter = divmod(index, len(LETTERS))
        word += LETTERS[letter]
    return word


def source_of(count: int) -> TaskSource:
    return TaskSource(
        "letters", count, f"letters/{count}",
        lambda: (
            Task(i, prompt_of(i), "letters", match="regex", answer="[ab]") for i in range(count)
        ),
    )  # fmt: skip


def request_of(
    count: int, opener=bench_here, jobs: int = 1, names=("plain", "ead", "lookup", "small")
) -> BenchRequest:
    rows = tuple(RowHeader(name, "strategy") for name in names)
    return BenchRequest(
        source_of(count), rows, opener, {"key": f"k{count}", "prompts": count, "task": "letters"},
        jobs=jobs,
    )  # fmt: skip


def samples_of(request: BenchRequest, folder: Path, **options: bool) -> SamplesFile:
    return SamplesFile(folder / "samples.jsonl", request.header, **options)
