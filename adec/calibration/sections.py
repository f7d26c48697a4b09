"""A calibration as a profile: what each table holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from adec.calibration import lookahead
from adec.calibration.measured_sections import cost_tables, front_tables, signal_tables
from adec.calibration.proof import Tested
from adec.calibration.result import Measured, Result
from adec.calibration.selection import FAMILIES
from adec.calibration.trial import MEANING
from adec.calibration.writing import Line, table
from adec.engines.base import ModelHeader
from adec.machine import file_fingerprint
from adec.profiles.read import SCHEMA

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
        *lookahead.tables(result.thresholds),
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
