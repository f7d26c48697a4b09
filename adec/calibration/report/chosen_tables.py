"""The tables of a profile that say what was chosen, from the points that were run: [choice],
[budget], one table a family, and all of the points as [[front]]."""

from __future__ import annotations

from collections.abc import Iterable

from adec.calibration.replay.grids import FAMILIES
from adec.calibration.result import Result
from adec.calibration.trials.measured import Measured, front
from adec.calibration.trials.proof import Tested
from adec.calibration.trials.trial import MEANING
from adec.profiles.write import Line, table


def choice_tables(result: Result) -> Iterable[str]:
    """[choice] and [choice.exact_settings]: the strategies that are fastest here."""
    exact, within, plain = result.exact, result.within_budget, result.plain
    lines: list[Line] = [
        ("exact", exact.point.strategy, "fastest strategy that gives the large model's own tokens"),
        ("exact_tokens_per_second", exact.tokens_per_second, f"± {exact.spread:.2g}"),
    ]
    if within is not None:
        lines += [
            ("within_budget", within.point.strategy, "faster still, and proved to keep the budget"),
            ("within_budget_tokens_per_second", within.tokens_per_second, f"± {within.spread:.2g}"),
        ]
    lines.append(("plain_tokens_per_second", plain.tokens_per_second, f"± {plain.spread:.2g}"))
    if "small" in result.tables:
        draft_ms = result.tables["small"].curve(result.agreement.context).ms(1)
        limit = max(0.0, result.agreement.break_even_ms)
        lines += [
            ("draft_ms", draft_ms, "a forward of the small model"),
            ("draft_ms_break_even", limit, "what it may cost for a chain of drafts to pay"),
        ]
    yield table("choice", lines)
    yield table("choice.exact_settings", [(key, value, "") for key, value in exact.point.settings])


def portable_choice(result: Result) -> str:
    """[choice] without speeds: what holds on every machine."""
    proved = None if result.proved is None else result.proved.point.point.strategy
    about = "gives the large model's own tokens; stops by itself where it does not pay"
    speed = "proved to keep the budget; how fast it is, your machine says"
    return table("choice", [("exact", result.careful, about), ("within_budget", proved, speed)])


def budget_table(result: Result) -> str:
    """[budget]: what the proof says of one point, proved or not."""
    return table("budget", _budget(result))


def _budget(result: Result) -> Iterable[Line]:
    test = result.budget
    if test is None:
        return
    state = (
        "on prompts that nothing was fitted on" if test.proved else "NOT PROVED with these prompts"
    )
    yield "metric", result.metric, MEANING[result.metric]
    yield "keep", result.keep, "what shall be kept of it at least"
    yield "confidence", result.confidence, "that what is called proved does hold"
    yield "strategy", test.point.point.strategy, "with the settings below"
    yield "point", test.point.point.label, "the same, as [[front]] names it"
    yield "proved", test.proved, state
    yield "held_out", len(test.losses), "prompts that the proof rests on"
    yield "kept", 1 - test.mean, "mean on them"
    yield "proved_keep", 1 - test.bound, "the most that they prove"
    corrected = "of this test, after the correction for all families tried"
    yield "test_confidence", test.confidence, corrected
    if not test.proved:
        more = test.more_prompts
        yield "more_prompts", more, "held-out prompts more, if they are like these"
        if more is None:
            yield "hopeless", True, "its mean is past the budget: more prompts would not help"


def family_tables(result: Result) -> Iterable[str]:
    """A table for each family that was run.

    It holds the point of the budget, or else the best one tested, or else the fastest one that kept
    the budget where it was fitted.
    """
    for name, family in FAMILIES.items():
        tests = result.tests.get(name, [])
        point = _best(tests, result.budget) or _fitted(result, name)
        if point is None:
            continue
        own = result.budget is not None and result.budget.point is point
        shares = result.percentiles if own else {}
        state = "" if tests else "fitted, but not tested on held-out prompts"
        lines: list[Line] = []
        for key, value in point.point.settings:
            remarks = ["nats"] if key in family.thresholds else []
            if key in shares:
                remarks.append(f"{shares[key]:.1f} % of the positions lie at or below it")
            lines.append((key, value, "; ".join([*remarks, *([state] if state else [])])))
            state = ""
        yield table(name, lines)


def _best(tests: list[Tested[Measured]], budget: Tested[Measured] | None) -> Measured | None:
    if budget is not None and any(test is budget for test in tests):
        return budget.point
    proved = [test.point for test in tests if test.proved]
    if proved:
        return max(proved, key=lambda point: point.tokens_per_second)
    return tests[0].point if tests else None


def _fitted(result: Result, family: str) -> Measured | None:
    known = [m for m in result.measured if m.point.strategy == family and not m.exact]
    kept = [m for m in known if m.quality >= result.keep]
    return min(kept, key=lambda m: m.ms_per_token, default=None)


def front_tables(result: Result, *, timed: bool) -> Iterable[str]:
    """[[front]] for each point that was run; with its speeds where `timed`."""
    edge = front(result.measured)
    for m in result.measured:
        forecast = 1000 / m.forecast_ms if m.forecast_ms else None
        off = "" if m.off is None else f"from records and forward times; {100 * m.off:+.0f} %"
        fresh = f"± {m.fresh_spread:.2g}, on {len(m.fresh)} fresh prompts"
        speeds: list[Line] = [
            ("tokens_per_second", m.tokens_per_second, f"± {m.spread:.2g}"),
            ("forecast_tokens_per_second", forecast, off),
            ("held_out_tokens_per_second", m.fresh_tokens_per_second, fresh),
        ]
        yield table(
            "front",
            [
                ("point", m.point.label, ""),
                ("kept", m.quality, f"± {m.quality_spread:.2g}"),
                *(speeds if timed else ()),
                ("large_share", m.large_share, "of the tokens, written by the large model"),
                ("large_share_spread", m.large_share_spread, "one standard error; likewise:"),
                ("kept_spread", m.quality_spread, ""),
                *([("tokens_per_second_spread", m.spread, "")] if timed else ()),
                ("large_fed", m.large_fed, "tokens it read for each one written"),
                ("prompts", len(m.runs), ""),
                *_bought(result, m),
                ("on_front", m in edge, ""),
            ],
            listed=True,
        )


def _bought(result: Result, m: Measured) -> Iterable[Line]:
    if result.server is None or m.bought is None:
        return
    requests, read, written = m.bought
    yield "requests", round(requests, 2), "of the server for an answer; likewise:"
    yield "tokens_read", round(read, 1), ""
    yield "tokens_written", round(written, 1), ""
    prices = result.server.prices
    yield "cost", result.server.cost(m), "" if prices is None else prices.currency
