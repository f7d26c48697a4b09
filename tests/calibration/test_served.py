"""Calibrations with a large model behind a server: what is asked is said before, bounded, and asked
once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from adec.answering.purchases import MILLION
from adec.calibration.journal import Journal
from adec.calibration.report.printout import price_table
from adec.calibration.report.to_profile import Named, profile_text
from adec.calibration.result import Result, Server
from adec.calibration.served.allowance import Allowance, check_budget, wanted
from adec.calibration.served.served_stages import ServedCalibration
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import PLAIN, Bought, Point, Runner, Trial
from adec.calibration.wishes import Wishes
from adec.engines.pair import Engines
from adec.engines.remote.bill import Bill
from adec.engines.table import TableEngine
from adec.errors import EngineError, UsageError
from adec.profiles.read import read_profile
from adec.profiles.schema import Prices
from tests.calibration.tables import MACHINE, Unseen, header, plan_of, prompts
from tests.engines.remote.fake_server import KEY, FakeServer
from tests.laws import blend, law

SIZE = 6
SMALL_COSTS = [[16, n, 1.0 + n / 10, 0.01, 9, 0] for n in (1, 2, 4, 8, 16)]
WISHES = Wishes(keep=0.8, confidence=0.9, seconds=1e6, max_tokens=12)
PRICES = Prices(read=1.0, written=4.0, currency="USD")


@lru_cache(None)
def laws(seed: int) -> tuple[Callable, Callable]:
    """Of a server's model and of the small one, over two tokens each."""
    target = lru_cache(None)(law(SIZE, seed, order=2, sharpness=6))
    draft = lru_cache(None)(blend(target, law(SIZE, seed + 1000, order=2), 0.8))
    return (lambda prefix: target(prefix[-2:])), (lambda prefix: draft(prefix[-2:]))


class Shop:
    """A calibration on a fake server, and everything that it said."""

    def __init__(self, folder: Path, dialect: str, seed: int = 1) -> None:
        target, self.draft = laws(seed)
        self.folder = folder
        self.server = FakeServer(target, SIZE, dialect)
        self.said: list[str] = []

    def calibration(
        self,
        *,
        budget: int | None = None,
        prices: Prices | None = None,
        count: int = 24,
        fit: int = 8,
        wishes: Wishes = WISHES,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> ServedCalibration:
        small = TableEngine(self.draft, size=SIZE, name="small", context=192)
        pair = Engines(large=self.server.engine(context=192, budget=budget, key=KEY), small=small)
        runner = Runner(plan_of(pair), pair, max_tokens=12, interrupted=interrupted)
        journal = Journal(self.folder / "journal.jsonl", "key")
        if "costs" not in journal:
            journal.put("costs", {"small": SMALL_COSTS})
        self.bill, self.journal = pair["large"].bill, journal
        self.server.requests.clear()
        return ServedCalibration(
            runner, prompts(1, count, fit=fit), wishes, MACHINE, journal, Unseen(interrupted),
            place="a.server:1", prices=prices, budget=budget, say=self.said.append,
        )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shop]:
    found = Shop(tmp_path, getattr(request, "param", "llama-server"))
    with found.server:
        yield found


def on(*dialects: str) -> pytest.MarkDecorator:
    """Servers that a test runs on; one that scores drafts takes longest."""
    return pytest.mark.parametrize("shop", dialects, indirect=True)


@on("llama-server", "vllm")
def test_it_finds_thresholds_and_says_before_what_it_will_ask(shop: Shop) -> None:
    work = shop.calibration(prices=PRICES)
    assert shop.server.requests == []
    (line,) = shop.said
    assert "a.server:1 will be asked at most some" in line and "8 answers to fit on" in line
    assert "tokens read and" in line and "USD" in line
    result = work.run()
    assert result.server is not None and result.server.bill.requests == len(shop.server.requests)
    assert result.server.request_ms >= result.server.token_ms > 0
    names = {m.point.strategy for m in result.measured}
    assert {"plain", "ead"} <= names and result.budget is not None
    assert ("speculate" in names) == (shop.server.dialect != "llama-server")
    # what a server cannot give
    assert set(result.tables) == {"small"} and result.thresholds == {}
    assert any("left out" in remark for remark in result.remarks)
    assert result.agreement.thresholds and len(result.agreement.large_entropy) > 0
    for m in result.measured:
        assert m.bought is not None and all(run.bought is not None for run in m.runs)
        if m.exact:
            assert m.unlike == 0
    assert result.plain.bought[0] == 1


@on("llama-server", "vllm", "echo")
def test_answers_and_their_records_are_bought_once(shop: Shop) -> None:
    work = shop.calibration()
    answers, records, _ = work._answers()
    assert len(answers) == len(records) == len(shop.server.requests) == 8
    target, _ = laws(1)
    for answer, record, prompt in zip(answers, records, work._prompts.fit, strict=True):
        ids = work._runner.encode(prompt)
        for at, token in enumerate(answer.tokens):
            chances = target((*ids, *answer.tokens[:at]))
            assert record.large_chosen[at] == pytest.approx(chances[token], abs=2e-3) or (
                # by text, an end is told without its probability
                token == SIZE - 1
            )
            assert record.large_ids[at][0] == token


def names_of(shop: Shop) -> list[str]:
    lines = (shop.folder / "journal.jsonl").read_text().splitlines()
    return [json.loads(line)[0] for line in lines]


def test_what_was_bought_before_an_interruption_is_not_asked_again(shop: Shop) -> None:
    for limit in (5, 70, 400):
        calls = iter(range(10**9))
        work = shop.calibration(interrupted=lambda n=limit, c=calls: next(c) > n)
        with pytest.raises(KeyboardInterrupt):
            work.run()
        shop.journal.close()
    held = set(names_of(shop))
    result = shop.calibration().run()
    names = [name for name in names_of(shop) if name != "bought"]
    assert len(names) == len(set(names)) and held <= {*names, "bought"}
    shop.journal.close()
    again = shop.calibration().run()
    assert shop.server.requests == []
    for one, two in zip(result.measured, again.measured, strict=True):
        assert (one.point, one.runs) == (two.point, two.runs)


@pytest.mark.parametrize("budget", [500, 900, 2000, 6000])
def test_a_budget_is_never_passed_and_the_calibration_ends(shop: Shop, budget: int) -> None:
    work = shop.calibration(budget=budget)
    assert f"never more than {budget:,} tokens" in shop.said[1]
    try:
        result = work.run()
    except EngineError as error:
        # the least that a calibration measures did not fit into it
        assert "--budget-tokens" in (error.hint or "") and "answer fit 0" in shop.journal
    else:
        assert result.measured
    assert shop.bill.bought <= budget


def test_a_budget_that_holds_nothing_is_refused_before_anything_is_asked(shop: Shop) -> None:
    with pytest.raises(UsageError, match="--budget-tokens 100 is too little"):
        shop.calibration(budget=100)
    assert shop.server.requests == [] and shop.said == []
    check_budget(None, [], 10)
    check_budget(2 * 4 * 30, [10, 30], 10)


def test_stages_end_before_their_share_is_spent() -> None:
    bill = Bill()
    allowance = Allowance(bill, 100, 1000)
    over = allowance.over(0.5)
    while not over():
        bill.requests, bill.read = bill.requests + 7, bill.read + 1
    assert 43 <= bill.requests <= 50
    rest = allowance.over(1.0)
    while not rest():
        bill.read += 90
    assert 900 < bill.bought <= 1000 and allowance.left == (100 - bill.requests, 1000 - bill.bought)
    assert [spent for spent, _ in allowance.stages] == [
        (bill.requests, bill.requests // 7), (0, bill.bought - bill.requests // 7),
    ]  # fmt: skip


def test_a_stage_goes_on_with_what_it_had_bought_before() -> None:
    bill, again = Bill(), Bill()
    first = Allowance(bill, 100, None)
    over = first.over(0.5)
    for _ in range(4):
        assert not over()
        bill.requests += 6
    second = Allowance(again, 100, None, first.stages)
    over = second.over(0.5)
    while not over():
        again.requests += 6
    # a stage that did not look since its last step forgets that one
    assert 43 <= bill.requests + again.requests <= 56 and again.requests < bill.requests + 8
    assert second.left[0] <= 100 - again.requests - 18


def test_more_prompts_and_longer_answers_cost_more() -> None:
    one = wanted([10] * 24, 8, 16, 12, 0.9)
    assert one.answers == 8 and one.requests == one.answers + one.tries + one.proof
    assert wanted([10] * 24, 8, 16, 12, 1.0).proof == 0
    for other in (wanted([10] * 200, 60, 140, 12, 0.9), wanted([10] * 24, 8, 16, 90, 0.9)):
        assert other.read > one.read and other.written > one.written
    # however many prompts there are
    assert wanted([9] * 3000, 999, 2001, 9, 0.9) == wanted([9] * 300, 99, 201, 9, 0.9)


@on("echo")
def test_the_profile_says_what_is_known_and_no_more(shop: Shop, tmp_path: Path) -> None:
    work = shop.calibration(prices=PRICES)
    result = work.run()
    small = header(work._engines["small"])
    models = {"large": work._server._header, "small": small}
    address = work._server._header.called
    text = profile_text(result, Named("mine", address, str(tmp_path / "s.gguf"), "p", 0), {
        role: model for role, model in models.items()
    })  # fmt: skip
    assert KEY not in text
    path = tmp_path / "mine.toml"
    path.write_text(text)
    profile = read_profile(path)
    assert profile.models["large"] == address == profile.model_path("large")
    assert profile.prices == PRICES and profile.costs is None
    assert profile.settings["ead"]["up"] >= 0 and profile.budget is not None
    assert profile.history["requests"] == len(shop.server.requests)
    assert all(row["cost"] > 0 for row in profile.front if row["requests"] > 0)
    assert profile.other_models(models) == []
    shown = price_table(result).splitlines()
    assert len(shown) == 1 + len(result.measured) and "USD" in shown[1]


def test_where_times_are_scattered_a_server_is_asked_once_an_answer(shop: Shop) -> None:
    result = shop.calibration(wishes=replace(WISHES, keep=1.0)).run()
    plain, other = (bought(name, 2.0, read=9, written=9) for name in ("plain", "speculate"))
    plain.runs = [replace(r, ms=r.ms * (0.2 + 1.6 * (i % 2))) for i, r in enumerate(plain.runs)]
    plain.point, result.measured = PLAIN, [plain, other]
    assert result.scattered and result.recommended is result.plain
    result.server = None
    assert result.recommended.point.strategy == "speculate"


def bought(name: str, ms: float, *, read: int, written: int) -> Measured:
    run = Trial((1,) * 11, "", 10 * ms, 0.0, 0, 0, 1, bought=Bought(1, read, written))
    return Measured(Point(name), True, runs=[run] * 20, losses=[0.0] * 20)


def test_money_counts_as_time_does_where_prices_are_known() -> None:
    slow = bought("plain", 2.0, read=100, written=50)
    dear = bought("ead", 1.5, read=900, written=50)
    cheap = bought("ead", 2.2, read=100, written=5)
    prices = Prices(read=1.0, written=1.0)

    def worth(first: Measured, prices: Prices | None) -> bool:
        found = SimpleNamespace(server=Server("s", 9.0, 1.0, Bill(), prices))
        return Result._is_worth_more(found, first, slow)

    assert worth(dear, None) and not worth(cheap, None)
    assert not worth(dear, prices) and worth(cheap, prices)
    assert Server("s", 9.0, 1.0, Bill(), prices).cost(slow) == 150 / MILLION
