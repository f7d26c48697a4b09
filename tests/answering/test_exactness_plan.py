"""A session with `--exactness bitwise`: what it measures, what it says, what it answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adec.answering.exactness_plan import shortfall
from adec.answering.session import Question, Session
from adec.engines.exactness.invariance import Invariance, Reach
from adec.engines.exactness.kept_invariance import kept_entries, kept_invariance
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.events.records import End
from tests.benchmark.rows import plan_of
from tests.engines.shaped import ShapedTable
from tests.laws import blend, law

METHODS = {
    "lookup": {"size": "fixed", "least": "1"},
    "recycling": {"size": "fixed", "budget": "12"},
    "suffix": {"least": "1"},
    "aded": {"size": "fixed"},
    "adaedl": {},
    "dyspec": {"size": "fixed", "budget": "8"},
    "ead": {"accept": "exact", "up": "1.5"},
    "speculate": {},
}


def endless(prefix):
    """A law that never ends an answer."""
    return [*law(5, 0, order=2)(prefix), 0.0]


def models(chains=(2, 3), trees=(2, 3), reach=10_000) -> Engines:
    large = ShapedTable(endless, size=6, name="large")
    large.chains, large.trees, large.reach = chains, trees, reach
    small = TableEngine(blend(endless, law(6, 9), 0.8), size=6, name="small")
    return Engines(large=large, small=small)


def session_of(engines: Engines, strategy: str, settings=None, *, bitwise: bool = True) -> Session:
    plan = replace(plan_of(engines, strategy, settings), bitwise=bitwise)
    return Session(plan, engines, 0.0)


def answer(session: Session, text: str = "abcabca", **options):
    said: list[str] = []
    most, resume = options.pop("max_tokens", 40), options.pop("resume", False)
    question = Question(text, max_tokens=most, resume=resume)
    events = list(session.answer(question, remark=said.append, **options))
    tokens = [token.id for event in events[1:-1] for token in event.tokens]
    assert isinstance(events[-1], End)
    return tokens, events[-1].summary, said


@pytest.mark.parametrize("name", METHODS)
def test_answers_are_plains_and_the_summary_says_so(name: str) -> None:
    wanted, *_ = answer(session_of(models(), "plain"))
    engines = models()
    session = session_of(engines, name, METHODS[name])
    for number in range(2):
        tokens, summary, said = answer(session)
        assert tokens == wanted and len(tokens) == 40
        assert (summary["exactness"], summary["exactness_noise"]) == ("bitwise", 0.0)
        assert [line.split()[0] for line in said] == ["measuring"][number:]
    again = session_of(models(), name, METHODS[name])
    assert answer(again)[2] == [], "it is kept for later runs"


def test_without_it_the_grade_is_rounding() -> None:
    _, summary, said = answer(session_of(models(), "lookup", METHODS["lookup"], bitwise=False))
    assert summary["drafted"] > 0
    assert (summary["exactness"], said) == ("rounding", [])


def test_an_approximate_method_runs_as_ever() -> None:
    _, summary, said = answer(session_of(models(), "ead"))
    assert "exactness" not in summary and said == []


def test_nothing_goes_on_from_what_another_method_left_in_the_cache() -> None:
    engines = models(chains=(2,), trees=())
    session = session_of(engines, "lookup", METHODS["lookup"])
    answer(session, "abcabca")
    approximate = replace(plan_of(engines, "ead", {"up": "0.5", "dwell": "0"}), bitwise=True)
    text = "abcabcaabcabcaabcabca"
    yardstick = models(chains=(2,), trees=())
    wanted, *_ = answer(session_of(yardstick, "plain"), text + "e")
    for plan in (approximate, replace(plan_of(engines, "lookup", METHODS["lookup"]), bitwise=True)):
        session.take(plan)
        tokens, *_ = answer(session, text + ("e" if plan is not approximate else ""), resume=True)
    assert tokens == wanted
    large, plain = engines["large"], yardstick["large"]
    assert large.marks == plain.marks[: len(large.marks)] and large.length > len(text)


def test_what_measuring_takes_is_not_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**6, 10**9, 10**6))
    monkeypatch.setattr("adec.answering.exactness_plan.perf_counter", lambda: float(next(now)))
    _, summary, _ = answer(session_of(models(), "lookup", METHODS["lookup"]))
    assert summary["seconds"] < 0, "the clock of measuring ran far ahead of the answer's"


def test_a_longer_answer_is_measured_as_far_as_it_goes() -> None:
    engines = models()
    session = session_of(engines, "lookup")
    answer(session)
    assert kept_invariance(engines["large"]).length == 512
    *_, said = answer(session, "abc" * 170, max_tokens=200)
    assert "up to 1,024 tokens" in said[0]
    assert kept_invariance(engines["large"]).length == 1024
    assert answer(session)[2] == []


def test_ctrl_c_ends_the_measurement_and_nothing_is_kept() -> None:
    engines = models()
    tokens, summary, said = answer(session_of(engines, "lookup"), interrupted=lambda: True)
    assert len(said) == 1, "half a measurement has nothing to say"
    assert summary["finish"] == "interrupted" and kept_entries(engines["large"]) == ()
    assert len(tokens) <= 1


def test_it_says_where_it_goes_on_as_plain_decoding() -> None:
    engines = models(chains=(), trees=())
    session = session_of(engines, "lookup", METHODS["lookup"])
    tokens, summary, said = answer(session)
    assert tokens == answer(session_of(models(chains=()), "plain"))[0]
    assert "only single tokens are known to be bit for bit" in said[1] and len(said) == 2
    assert summary["exactness"] == "bitwise" and summary["drafted"] == 0
    assert answer(session)[2] == [], "once"


def test_the_line_names_the_length_and_the_threads() -> None:
    engine = models()["large"]
    found = Invariance((Reach(256, (2, 3)), Reach(512, ())), (0.0,) * 4)
    assert shortfall(engine, found, 20, 200) is None
    engine.threads = 2
    line = shortfall(engine, found, 20, 300)
    assert line is not None and "beyond 256 tokens on 2 threads" in line and "--threads 1" in line
    engine.threads = 1
    assert "--threads" not in (shortfall(engine, found, 20, 300) or "")
    assert "beyond 512" in (
        shortfall(engine, replace(found, reaches=(Reach(512, (2,)),)), 9, 600) or ""
    )
