"""What was measured, as tables of a profile: forward times, signals, and every point that was run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adec.calibration.costs import CostTable, largest_useful
from adec.calibration.fit import front
from adec.calibration.result import Result
from adec.calibration.writing import Line, table


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
