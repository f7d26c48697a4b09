"""A calibration as a profile: what each table holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adec.calibration import pause_thresholds
from adec.calibration.forward_times import CostTable, largest_useful
from adec.calibration.grids import FAMILIES
from adec.calibration.proof import Tested
from adec.calibration.result import Result
from adec.calibration.trial import MEANING, Measured, front
from adec.engines.base import ModelHeader
from adec.machine import file_fingerprint
from adec.profiles.schema import SCHEMA
from adec.profiles.write import Line, table

SAFE = "speculate"
"""The exact strategy that is recommended where times are not known."""


@dataclass(frozen=True)
class Named:
    """What the profile is called and whose it is."""

    name: str
    large: str
    small: str | None
    prompts: str
    seed: int
    portable: bool = False
    """To be given away with the models: without times and what else holds on this machine only."""


def profile_text(
    result: Result, named: Named, large: ModelHeader, small: ModelHeader | None
) -> str:
    """The profile as TOML."""
    parts = [
        "# Made by `adec calibrate`. `adec run --pair NAME` obeys it; everything here may be changed by hand.\n",
        table(
            None,
            [
                ("schema", SCHEMA, ""),
                ("name", named.name, ""),
                ("about", _about(result, named), ""),
                ("recommended", _recommended(result, named), "what `--strategy auto` runs"),
            ],
        ),
        table("pair", _pair(named, large, small)),
        *(_portable_choice(result) if named.portable else _choice(result)),
        table("budget", _budget(result)),
        *_settings(result),
        *pause_thresholds.tables(result.thresholds),
        *([] if named.portable else [table("machine", _machine(result)), *cost_tables(result)]),
        *signal_tables(result),
        *front_tables(result, portable=named.portable),
        table("history", _history(result, named)),
    ]
    return "\n".join(part for part in parts if part)


def _about(result: Result, named: Named) -> str:
    return (
        f"{result.signals.answers} answers to fit on and {result.held_out} held out, "
        f"from {named.prompts}; metric {result.metric}."
    )


def _pair(named: Named, large: ModelHeader, small: ModelHeader | None) -> list[Line]:
    lines: list[Line] = []
    if small is None:
        lines.append(("model", named.large, ""))
    else:
        lines += [("small", named.small, ""), ("large", named.large, "")]
    lines.append(
        (
            "vocabulary",
            large.vocabulary.fingerprint,
            "another one is refused: token ids would mean other words",
        )
    )
    for role, header in (("large", large), ("small", small)):
        if header is not None and header.info.format != "table":
            lines += [
                (
                    f"{role}_fingerprint",
                    file_fingerprint(header.info.path),
                    "of size, beginning and end of the file",
                ),
                (f"{role}_quantisation", header.info.quantisation, ""),
                (f"{role}_bytes", header.info.bytes, ""),
            ]
    return lines


def _choice(result: Result) -> Iterable[str]:
    exact, within = result.exact, result.within_budget
    lines: list[Line] = [
        ("exact", exact.point.strategy, "fastest strategy that gives the large model's own tokens"),
        ("exact_tokens_per_second", exact.tokens_per_second, f"± {exact.spread:.2g}"),
    ]
    if within is not None:
        lines += [
            ("within_budget", within.point.strategy, "faster still, and proved to keep the budget"),
            ("within_budget_tokens_per_second", within.tokens_per_second, f"± {within.spread:.2g}"),
        ]
    plain = result.plain
    lines.append(("plain_tokens_per_second", plain.tokens_per_second, f"± {plain.spread:.2g}"))
    if "small" in result.tables:
        lines += [
            (
                "draft_ms",
                result.tables["small"].curve(result.signals.context).ms(1),
                "a forward of the small model",
            ),
            (
                "draft_ms_break_even",
                max(0.0, result.signals.break_even_ms),
                "what it may cost for a chain of drafts to pay",
            ),
        ]
    yield table("choice", lines)
    yield table("choice.exact_settings", [(key, value, "") for key, value in exact.point.settings])


def _recommended(result: Result, named: Named) -> str:
    """On another machine nobody knows what is fastest: there it is what is proved, else what stops by itself where it does not pay."""
    if not named.portable:
        return result.recommended.point.strategy
    proved = result.proved
    return SAFE if proved is None else proved.point.point.strategy


def _portable_choice(result: Result) -> Iterable[str]:
    proved = result.proved
    yield table(
        "choice",
        [
            (
                "exact",
                SAFE,
                "gives the large model's own tokens; stops by itself where it does not pay",
            ),
            (
                "within_budget",
                None if proved is None else proved.point.point.strategy,
                "proved to keep the budget; how fast it is, your machine says",
            ),
        ],
    )


def _budget(result: Result) -> list[Line]:
    test = result.budget
    if test is None:
        return []
    more = test.more_prompts
    lines: list[Line] = [
        ("metric", result.metric, MEANING[result.metric]),
        ("keep", result.keep, "what shall be kept of it at least"),
        ("confidence", result.confidence, "that what is called proved does hold"),
        ("strategy", test.point.point.strategy, "with the settings below"),
        ("point", test.point.point.label, "the same, as [[front]] names it"),
        (
            "proved",
            test.proved,
            "on prompts that nothing was fitted on"
            if test.proved
            else "NOT PROVED with these prompts",
        ),
        ("held_out", len(test.losses), "prompts that the proof rests on"),
        ("kept", 1 - test.mean, "mean on them"),
        ("proved_keep", 1 - test.bound, "the most that they prove"),
        (
            "test_confidence",
            test.confidence,
            "of this test, after the correction for all families tried",
        ),
    ]
    if not test.proved:
        comment = "held-out prompts more, if they are like these"
        lines.append(("more_prompts", more, comment))
        if more is None:
            lines.append(
                ("hopeless", True, "its mean is past the budget: more prompts would not help")
            )
    return lines


def _settings(result: Result) -> Iterable[str]:
    """A table for each family that was run: the point of the budget, or the best one tested, or else the fastest one that kept the budget where it was fitted."""
    for family in FAMILIES:
        tests = result.tests.get(family, [])
        point = _best(tests, result.budget) or _fitted(result, family)
        if point is None:
            continue
        own = result.budget is not None and result.budget.point is point
        shares = result.percentiles if own else {}
        state = "" if tests else "fitted, but not tested on held-out prompts"
        lines: list[Line] = []
        for key, value in point.point.settings:
            nats = _with_percentile("nats", shares.get(key)) if key in ("up", "down") else ""
            lines.append((key, value, "; ".join(part for part in (nats, state) if part)))
            state = ""
        yield table(family, lines)


def _best(tests: list[Tested[Measured]], budget: Tested[Measured] | None) -> Measured | None:
    if budget is not None and any(test is budget for test in tests):
        return budget.point
    proved = [test for test in tests if test.proved]
    if proved:
        return max(proved, key=lambda test: test.point.tokens_per_second).point
    return tests[0].point if tests else None


def _fitted(result: Result, family: str) -> Measured | None:
    known = [m for m in result.measured if m.point.strategy == family and not m.exact]
    kept = [m for m in known if m.quality >= result.keep]
    return min(kept, key=lambda m: m.ms_per_token, default=None)


def _with_percentile(comment: str, share: float | None) -> str:
    if share is None:
        return comment
    return f"{comment}; {share:.1f} % of the positions lie at or below it"


def _machine(result: Result) -> list[Line]:
    machine = result.machine
    return [
        ("system", machine.system, ""),
        ("processor", machine.processor, ""),
        ("cores", machine.cores, ""),
        ("threads", machine.threads, "for one token; as measured or as given"),
        ("batch_threads", machine.batch_threads, "for several"),
        ("adec", machine.adec, ""),
        ("backend", machine.backend, "another version makes the times stale"),
        ("load", machine.load, "of the machine just before measuring"),
    ]


def _history(result: Result, named: Named) -> list[Line]:
    now = datetime.now(UTC).replace(microsecond=0)
    return [
        ("made", now.isoformat(), ""),
        ("adec", result.machine.adec, ""),
        ("seconds", round(result.seconds, 1), ""),
        ("seed", named.seed, "of the built-in prompts and of the split"),
        ("prompts", named.prompts, ""),
        (
            "tried",
            [f"{family}: {count}" for family, count in result.tried.items()] or None,
            "settings of each family that were replayed or simulated; the promising ones were run",
        ),
        ("remarks", (list(result.remarks) or None) if not named.portable else None, ""),
    ]


def cost_tables(result: Result) -> Iterable[str]:
    context = result.signals.context
    useful = {
        role: largest_useful(cells.curve(context), max(max(c) for c in cells.cells.values()))
        for role, cells in result.tables.items()
    }
    yield table(
        "cost",
        [
            ("context", context, "tokens before a typical forward of these prompts"),
            (
                "largest_useful_batch",
                useful["large"],
                "past it, more tokens in a forward make none cheaper",
            ),
            (
                "outliers",
                max(t.outliers for t in result.tables.values()),
                "share of forwards far from their median",
            ),
        ],
    )
    for role, cells in result.tables.items():
        yield from _columns(role, cells)


def _columns(role: str, cells: CostTable) -> Iterable[str]:
    for context in sorted(cells.cells):
        column = cells.cells[context]
        sizes = sorted(column)
        yield table(
            f"cost.{role}",
            [
                ("context", context, "tokens before the forward"),
                ("sizes", sizes, "tokens of the forward"),
                ("ms", [round(column[n].ms, 4) for n in sizes], "median"),
                (
                    "spread_ms",
                    [round(column[n].spread, 4) for n in sizes],
                    "one standard error of it",
                ),
                ("count", [column[n].count for n in sizes], "forwards"),
            ],
            listed=True,
        )


def signal_tables(result: Result) -> Iterable[str]:
    signals = result.signals
    pair = bool(signals.by_rank)
    yield table(
        "signals",
        [
            ("answers", signals.answers, ""),
            ("tokens", signals.tokens, ""),
            (
                "agreement",
                signals.agreement if pair else None,
                "share of positions where the small model would have written the same",
            ),
            (
                "acceptance_by_depth",
                signals.by_depth or None,
                "of the d-th draft, those before it accepted",
            ),
            (
                "acceptance_by_rank",
                signals.by_rank or None,
                "of the r-th token in the small model's list",
            ),
            (
                "best_chain",
                signals.best_chain if pair else None,
                "drafts of greatest goodput; 0: drafting does not pay",
            ),
        ],
    )
    yield table("signals.small_entropy", _percentile_lines(signals.small_entropy))
    yield table("signals.large_entropy", _percentile_lines(signals.large_entropy))
    rates = signals.thresholds
    logistic = signals.logistic
    yield table(
        "signals.threshold_by_trigger_rate",
        [(f"{rate:g}", nats, _agreement_comment(nats, logistic)) for rate, nats in rates.items()],
    )
    if logistic is not None:
        yield table(
            "signals.logistic",
            [
                (
                    "weight",
                    logistic.weight,
                    "P(same token) = 1 / (1 + exp(-(weight * nats + bias)))",
                ),
                ("bias", logistic.bias, ""),
            ],
        )


def _percentile_lines(percentiles: Mapping[int, float]) -> list[Line]:
    return [
        (f"p{share}", nats, "nats; percent of positions at or below" if share == 50 else "")
        for share, nats in percentiles.items()
    ]


def _agreement_comment(nats: float, logistic: Any) -> str:
    return (
        "" if logistic is None else f"nats; P(same token) there is {logistic.agreement(nats):.2f}"
    )


def front_tables(result: Result, *, portable: bool) -> Iterable[str]:
    """A table for each point that was run; `portable`: without its speed."""
    edge = front(result.measured)
    for m in result.measured:
        speeds: list[Line] = [
            ("tokens_per_second", m.tokens_per_second, f"± {m.spread:.2g}"),
            ("forecast_tokens_per_second", _speed(m.forecast_ms), _off(m.off)),
            (
                "held_out_tokens_per_second",
                m.fresh_tokens_per_second,
                f"± {m.fresh_spread:.2g}, on {len(m.fresh)} fresh prompts",
            ),
        ]
        yield table(
            "front",
            [
                ("point", m.point.label, ""),
                ("kept", m.quality, f"± {m.quality_spread:.2g}"),
                *([] if portable else speeds),
                ("large_share", m.large_share, "of the tokens, written by the large model"),
                ("large_share_spread", m.large_share_spread, "one standard error; likewise:"),
                ("kept_spread", m.quality_spread, ""),
                *([] if portable else [("tokens_per_second_spread", m.spread, "")]),
                ("large_fed", m.large_fed, "tokens it read for each one written"),
                ("prompts", len(m.runs), ""),
                ("on_front", m in edge, ""),
            ],
            listed=True,
        )


def _speed(ms: float | None) -> float | None:
    return 1000 / ms if ms else None


def _off(off: float | None) -> str:
    return "" if off is None else f"from records and forward times; {100 * off:+.0f} %"
