"""The tables of a profile that hold what was measured before anything was chosen: [adadec.*],
[machine], [cost], [prices], [signals]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adec.calibration.costs.cost_tables import CostTable, largest_useful
from adec.calibration.replay.agreement import Agreement, Logistic
from adec.calibration.replay.pause_thresholds import Learned
from adec.events.records import Role
from adec.machine import Machine
from adec.profiles.schema import Prices
from adec.profiles.write import Line, table


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


def machine_table(machine: Machine) -> str:
    """[machine]: where times were measured."""
    return table("machine", _machine(machine))


def _machine(machine: Machine) -> Iterable[Line]:
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


def prices_table(prices: Prices) -> str:
    """[prices] of the large model's server."""
    return table(
        "prices",
        [
            ("read", prices.read, "of a million tokens, as they stood in this profile before"),
            ("written", prices.written, ""),
            ("currency", prices.currency or None, ""),
        ],
    )


def time_tables(tables: Mapping[Role, CostTable], context: int) -> Iterable[str]:
    """[cost], and a [[cost.ROLE]] for each context: how long forwards take.

    `context`: tokens before a typical forward.
    """
    large = tables["large"]
    most = max(size for column in large.cells.values() for size in column)
    useful = largest_useful(large.curve(context), most)
    outliers = max(t.outliers for t in tables.values())
    yield table(
        "cost",
        [
            ("context", context, "tokens before a typical forward of these prompts"),
            ("largest_useful_batch", useful, "past it, more tokens in a forward make none cheaper"),
            ("outliers", outliers, "share of forwards far from their median"),
        ],
    )
    for role, cells in tables.items():
        for before in sorted(cells.cells):
            yield _column(role, cells, before)


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


def signal_tables(known: Agreement) -> Iterable[str]:
    """[signals] and [signals.*]: how often the models agree, and what their entropies say of it."""
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
