"""A calibration as a profile: what each of its tables holds, with a comment on every key that
needs one.

In the order of the file: the head, [pair], [choice], [budget], one table a family, [adadec.*],
[machine], [cost], [signals], [[front]], [history].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from adec.calibration.cost_tables import CostTable, largest_useful
from adec.calibration.replay.agreement import Logistic
from adec.calibration.replay.grids import FAMILIES
from adec.calibration.replay.pause_thresholds import Learned
from adec.calibration.result import Result, Server
from adec.calibration.trials.measured import Measured, front
from adec.calibration.trials.proof import Tested
from adec.calibration.trials.trial import MEANING
from adec.engines.base import ModelHeader
from adec.engines.remote import REMOTE_NAME
from adec.events.records import Role
from adec.machine import file_fingerprint
from adec.profiles.schema import SCHEMA
from adec.profiles.write import Line, table


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


def profile_text(result: Result, named: Named, models: Mapping[Role, ModelHeader]) -> str:
    """The profile as TOML."""
    timed = not named.portable
    parts = [
        "# Made by `adec calibrate`. `adec run --pair NAME` obeys it; "
        "everything here may be changed by hand.\n",
        table(
            None,
            [
                ("schema", SCHEMA, ""),
                ("name", named.name, ""),
                ("about", _about(result, named), ""),
                ("recommended", _recommended(result, named), "what `--strategy auto` runs"),
            ],
        ),
        table("pair", _pair(named, models)),
        *(_choice(result) if timed else _portable_choice(result)),
        table("budget", _budget(result)),
        *_settings(result),
        *pause_tables(result.thresholds),
        *([table("machine", _machine(result))] if timed else []),
        *(_costs(result) if timed and result.server is None else []),
        *([] if result.server is None else [table("prices", _prices(result.server))]),
        *_signals(result),
        *_front(result, timed=timed),
        table("history", _history(result, named)),
    ]
    return "\n".join(part for part in parts if part)


def _about(result: Result, named: Named) -> str:
    return (
        f"{result.agreement.answers} answers to fit on and {result.held_out} held out, "
        f"from {named.prompts}; metric {result.metric}."
    )


def _recommended(result: Result, named: Named) -> str:
    """Of a portable profile, what is proved, or else what cannot lose: nobody knows what is fastest
    on another machine."""
    if not named.portable:
        return result.recommended.point.strategy
    proved = result.proved
    return result.careful if proved is None else proved.point.point.strategy


def _pair(named: Named, models: Mapping[Role, ModelHeader]) -> Iterable[Line]:
    if "small" not in models:
        yield "model", named.large, ""
    else:
        yield "small", named.small, ""
        yield "large", named.large, ""
    fingerprint = models["large"].vocabulary.fingerprint
    yield "vocabulary", fingerprint, "another one is refused: token ids would mean other words"
    for role in ("large", "small"):
        header = models.get(role)
        if header is not None and header.info.format == REMOTE_NAME:
            yield f"{role}_bytes", header.info.bytes or None, "as its server says"
        elif header is not None and header.info.format != "table":
            file = file_fingerprint(header.info.path)
            yield f"{role}_fingerprint", file, "of size, beginning and end of the file"
            yield f"{role}_quantisation", header.info.quantisation, ""
            yield f"{role}_bytes", header.info.bytes, ""


def _choice(result: Result) -> Iterable[str]:
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


def _portable_choice(result: Result) -> Iterable[str]:
    proved = None if result.proved is None else result.proved.point.point.strategy
    about = "gives the large model's own tokens; stops by itself where it does not pay"
    speed = "proved to keep the budget; how fast it is, your machine says"
    yield table("choice", [("exact", result.careful, about), ("within_budget", proved, speed)])


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


def _settings(result: Result) -> Iterable[str]:
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


def pause_tables(thresholds: Mapping[Role, Learned]) -> Iterable[str]:
    """[adadec.large] and [adadec.small]: AdaDec's thresholds by the model that writes."""
    for role, found in thresholds.items():
        threshold = found.threshold
        fit = threshold if found.fitted else None
        nats = f"nats; adadec pauses from there on when the {role} model writes"
        curve = "P(right) = 1 / (1 + exp(-(weight * nats + bias))), on classes made equal"
        wrong = "of them, where the likeliest token was not the right one"
        yield table(
            f"adadec.{role}",
            [
                ("threshold", threshold.nats, nats),
                ("percentile", found.percentile, "percent of the known positions lie below it"),
                ("trigger_rate", threshold.trigger_rate, "share of them that pauses"),
                ("positions", threshold.positions, "of known solutions, read teacher-forced"),
                ("wrong", found.wrong, wrong),
                ("solutions", found.solutions, ""),
                ("weight", None if fit is None else fit.weight, curve),
                ("bias", None if fit is None else fit.bias, ""),
                ("right_at_threshold", None if fit is None else fit.cut, "by that fit"),
            ],
        )


def _machine(result: Result) -> Iterable[Line]:
    machine = result.machine
    yield "system", machine.system, ""
    yield "processor", machine.processor, ""
    yield "cores", machine.cores, ""
    yield "threads", machine.threads, "for one token; as measured or as given"
    yield "batch_threads", machine.batch_threads, "for several"
    yield "adec", machine.adec, ""
    yield "backend", machine.backend, "another version makes the times stale"
    yield "load", machine.load, "of the machine just before measuring"
    yield "dtype", machine.dtype, "the number format that the large model computed in"
    yield "rpc", machine.rpc, "ran the large model's layers; a run takes them, --rpc off does not"


def _prices(server: Server) -> Iterable[Line]:
    if server.prices is None:
        return
    yield "read", server.prices.read, "of a million tokens, as they stood in this profile before"
    yield "written", server.prices.written, ""
    yield "currency", server.prices.currency or None, ""


def _costs(result: Result) -> Iterable[str]:
    context = result.agreement.context
    large = result.tables["large"]
    most = max(size for column in large.cells.values() for size in column)
    useful = largest_useful(large.curve(context), most)
    outliers = max(t.outliers for t in result.tables.values())
    yield table(
        "cost",
        [
            ("context", context, "tokens before a typical forward of these prompts"),
            ("largest_useful_batch", useful, "past it, more tokens in a forward make none cheaper"),
            ("outliers", outliers, "share of forwards far from their median"),
        ],
    )
    for role, cells in result.tables.items():
        for context in sorted(cells.cells):
            yield _column(role, cells, context)


def _column(role: Role, cells: CostTable, context: int) -> str:
    column = sorted(cells.cells[context].items())
    spreads = [round(cell.spread, 4) for _, cell in column]
    return table(
        f"cost.{role}",
        [
            ("context", context, "tokens before the forward"),
            ("sizes", [size for size, _ in column], "tokens of the forward"),
            ("ms", [round(cell.ms, 4) for _, cell in column], "median"),
            ("spread_ms", spreads, "one standard error of it"),
            ("count", [cell.count for _, cell in column], "forwards"),
        ],
        listed=True,
    )


def _signals(result: Result) -> Iterable[str]:
    known = result.agreement
    pair = bool(known.by_rank)
    share = "share of positions where the small model would have written the same"
    chain = "drafts of greatest goodput; 0: drafting does not pay"
    by_rank = "of the r-th token in the small model's list"
    yield table(
        "signals",
        [
            ("answers", known.answers, ""),
            ("tokens", known.tokens, ""),
            ("agreement", known.share if pair else None, share),
            (
                "acceptance_by_depth",
                known.by_depth or None,
                "of the d-th draft, those before accepted",
            ),
            ("acceptance_by_rank", known.by_rank or None, by_rank),
            ("best_chain", known.best_chain if pair else None, chain),
        ],
    )
    for role, percentiles in (("small", known.small_entropy), ("large", known.large_entropy)):
        yield table(
            f"signals.{role}_entropy",
            [
                (f"p{share}", nats, "nats; percent of positions at or below" if share == 50 else "")
                for share, nats in percentiles.items()
            ],
        )
    yield table(
        "signals.threshold_by_trigger_rate",
        [
            (f"{rate:g}", nats, _chance(nats, known.logistic))
            for rate, nats in known.thresholds.items()
        ],
    )
    if known.logistic is not None:
        curve = "P(same token) = 1 / (1 + exp(-(weight * nats + bias)))"
        yield table(
            "signals.logistic",
            [("weight", known.logistic.weight, curve), ("bias", known.logistic.bias, "")],
        )


def _chance(nats: float, logistic: Logistic | None) -> str:
    if logistic is None:
        return ""
    return f"nats; P(same token) there is {logistic.agreement(nats):.2f}"


def _front(result: Result, *, timed: bool) -> Iterable[str]:
    """A table for each point that was run."""
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
    yield (
        "cost",
        result.server.cost(m),
        result.server.prices.currency if result.server.prices else "",
    )


def _history(result: Result, named: Named) -> Iterable[Line]:
    tried = [f"{family}: {count}" for family, count in result.tried.items()] or None
    remarks = None if named.portable else result.remarks or None
    yield "made", datetime.now(UTC).replace(microsecond=0).isoformat(), ""
    yield "adec", result.machine.adec, ""
    yield "seconds", round(result.seconds, 1), ""
    yield "seed", named.seed, "of the built-in prompts and of the split"
    yield "prompts", named.prompts, ""
    yield "tried", tried, "settings of each family that were simulated; the promising ones were run"
    yield "remarks", remarks, ""
    if result.server is not None:
        bill = result.server.bill
        yield "request_ms", result.server.request_ms, "until the server's first token"
        yield "token_ms", result.server.token_ms, "until each further one"
        yield (
            "requests",
            bill.requests,
            "of the server, in the last run of this calibration",
        )
        yield "tokens_read", bill.read, ""
        yield "tokens_written", bill.written + bill.unseen, ""
