"""Rows that spend computation to be right: what they are compared with, and at what cost."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import pytest

import adec.benchmark
from adec.answering.choice import Choice
from adec.answering.session import Question
from adec.benchmark.bench_report import BenchReport, make_rows
from adec.benchmark.bench_rows import plan_bench
from adec.benchmark.decoders import StrategyDecoder
from adec.benchmark.runner import Bench, BenchSettings
from adec.benchmark.samples import BenchAnswer, PromptResult, RowHeader
from adec.benchmark.statistics import Gain
from adec.benchmark.tasks.task import Task
from adec.benchmark.text_report import show
from adec.benchmark.totals import Totals
from adec.benchmark.verdict import with_verdicts
from adec.decoding.registry import METHODS
from adec.decoding.strategy import Limits
from adec.engines.base import OpenOptions
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.errors import UsageError
from adec.events.records import Forward, Guarantee, Step, Token
from tests.benchmark.rows import plan_of, prompt_of
from tests.laws import law

ONE = OpenOptions(threads=1, context=256)
PAIR = Choice(large="practice:large", small="practice:small")


def never() -> bool:
    return False


@pytest.mark.parametrize(
    ("count", "won", "lost"), [(20, 0.1, 0.1), (40, 0.15, 0.03), (40, 0.0, 0.02)]
)
def test_the_paired_interval_covers_the_truth(count: int, won: float, lost: float) -> None:
    """By enumeration of every outcome: at least 94 % of the probability, nearly as promised."""
    covered = 0.0
    for w, m in product(range(count + 1), repeat=2):
        if w + m > count:
            continue
        chance = comb(count, w) * comb(count - w, m)
        chance *= won**w * lost**m * (1 - won - lost) ** (count - w - m)
        low, high = Gain(w, m, count).interval
        covered += chance * (low <= won - lost <= high)
    assert covered >= 0.94


def test_a_gain_is_symmetric_and_never_without_width() -> None:
    low, high = Gain(3, 9, 50).interval
    assert (-high, -low) == pytest.approx(Gain(9, 3, 50).interval)
    low, high = Gain(0, 0, 50).interval
    assert low < 0 < high and Gain(50, 0, 50).interval[1] <= 1


def test_best_of_n_follows_the_adadec_row_before_it() -> None:
    words = "adadec:threshold=0.2+model=small,best-of-n:temperature=0.9,adadec:ahead=2,best-of-n"
    planned = plan_bench(PAIR, words, ONE, BenchSettings())
    rows = {row.name: row for row in planned.rows}
    first = "best-of-n temperature=0.9 (threshold=0.2 model=small)"
    assert rows[first].follows == "adadec threshold=0.2 model=small"
    assert rows["best-of-n (ahead=2)"].follows == "adadec ahead=2"
    assert all(row.searches == (row.name != "plain") for row in planned.rows)
    entry = next(e for e in planned.strategies if e.name == first)
    assert entry.strategy == "iad"
    assert {"iad.model=small", "iad.temperature=0.9", "iad.rounds=1"} <= set(entry.assignments)
    with pytest.raises(UsageError, match="there is none before it"):
        plan_bench(PAIR, "best-of-n,adadec", ONE, BenchSettings())


def test_it_is_fed_as_much_on_the_same_prompts() -> None:
    """Over 60 prompts the rows' tokens agree within 15 %: single prompts differ by an answer."""
    engines = Engines(large=TableEngine(law(6, 3, sharpness=1.0), size=6, context=256))
    plans = {
        "plain": plan_of(engines, "plain"),
        "adadec": plan_of(engines, "adadec", {"threshold": "1.2", "ahead": "3", "keep": "false"}),
        "best-of-n": plan_of(engines, "iad", {"rounds": "1", "candidates": "1000"}),
    }
    rows = [
        StrategyDecoder(name, made, engines, 1, follows="adadec" if name == "best-of-n" else "")
        for name, made in plans.items()
    ]
    bench = Bench(rows, BenchSettings(max_tokens=12), engines=engines)
    bench.warm(Task(0, prompt_of(0), "g"), never)
    fed = dict.fromkeys(plans, 0)
    for index in range(60):
        result = bench.run(Task(index, prompt_of(index * 7), "g"), never)
        assert result is not None
        for answer in result.answers:
            assert answer.fed is not None
            fed[answer.row] += answer.fed
    assert fed["adadec"] > 1.5 * fed["plain"]
    assert fed["best-of-n"] == pytest.approx(fed["adadec"], rel=0.15)


def result_of(index: int, *rights: bool) -> PromptResult:
    return PromptResult(
        index, "g", "",
        tuple(
            BenchAnswer(
                name, 0, seconds, 10, "", right=right, large_fed=fed, small_fed=0, forward_ms=1.0
            )
            for name, right, seconds, fed in zip(
                ("plain", "adadec"), rights, (1.0 + index / 100, 2.0), (9, 18), strict=True
            )
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("won", "words"), [(30, "more often right, +"), (1, "nothing that can be told")]
)
def test_the_verdict_speaks_of_accuracy(won: int, words: str) -> None:
    headers = [
        RowHeader("plain", "strategy", guarantee="exact"),
        RowHeader("adadec", "strategy", guarantee="approximate", searches=True),
    ]
    totals = Totals(headers, 0)
    for index in range(100):
        totals.add(result_of(index, index >= won, True))
    report = with_verdicts(BenchReport({}, make_rows(totals, 0), 100, 100, 100), totals)
    row = report.rows[1]
    assert row.gain is not None and (row.won, row.lost, row.gain.count) == (won, 0, 100)
    assert row.fed == 2.0 and words in row.verdict and "2.00x the tokens fed" in row.verdict
    stream = io.StringIO()
    show(report, stream, width=80, unicode=False, colour=False)
    assert "gain in points" in stream.getvalue() and "2.00x" in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80


def test_a_question_has_no_budget_of_its_own() -> None:
    assert Question("a").budget is None


def test_the_bench_knows_no_strategy_by_name() -> None:
    """What it needs to know of a method is a property of the method; plain is the yardstick."""
    names = set(METHODS) - {"plain"}
    for path in Path(adec.benchmark.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{path.name}:{node.lineno} names {node.value}"


def test_without_names_a_pair_and_one_model_have_rows_that_fit() -> None:
    def names(choice: Choice) -> list[str]:
        return [row.name for row in plan_bench(choice, None, ONE, BenchSettings()).rows]

    assert names(PAIR) == ["plain", "small", "speculate", "ead", "lookup"]
    alone = names(Choice(model="practice:large"))
    assert alone == ["plain", "speculate", "recycling", "lookup"]


class Three:
    """A strategy on three models, each of which reads everything."""

    name, paper, guarantee = "three", None, Guarantee.APPROXIMATE

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def generate(self, prompt: Any, limits: Limits) -> Iterator[Step]:
        yield Step("prompt", (), tuple(Forward(role, "prompt", 4, 1.0) for role in self._engines))
        forwards = tuple(Forward(role, "write", 2, 1.0) for role in self._engines)
        yield Step("write", (Token(0, "expert:2"),), forwards)


def test_work_is_counted_over_models_of_any_role() -> None:
    roles = ("large", "small", "expert:2")
    engines = Engines(
        **{role: TableEngine(law(6, i), size=6, context=64) for i, role in enumerate(roles)}
    )
    base = plan_of(engines, "plain")
    method = replace(base.method, build=lambda engines, settings, aids: Three(engines))
    decoder = StrategyDecoder("three", replace(base, method=method), engines, 1)
    reply = decoder.reply(Question("ab", max_tokens=1), 0, never)
    assert reply is not None
    parameters = sum(engine.info.parameters for engine in engines.values())
    answer = reply.answer
    assert (answer.fed, answer.large_fed, answer.small_fed) == (6, 2, 2)
    assert (answer.fed_work, answer.prompt_fed_work) == (2 * parameters, 4 * parameters)
    assert answer.forward_ms == 6.0 and reply.ids == (0,)
