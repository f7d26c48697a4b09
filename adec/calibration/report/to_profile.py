"""A calibration as a profile: which tables its file has, whose it is, and how it was made.

In the order of the file: the head, [pair], [choice], [budget], one table a family, [adadec.*],
[machine], [cost], [signals], [[front]], [history]. Every key that needs one has a comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from adec.calibration.report.chosen_tables import (
    budget_table,
    choice_tables,
    family_tables,
    front_tables,
    portable_choice,
)
from adec.calibration.report.measured_tables import (
    machine_table,
    pause_tables,
    prices_table,
    signal_tables,
    time_tables,
)
from adec.calibration.result import Result
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
    timed, server = not named.portable, result.server
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
        *(choice_tables(result) if timed else [portable_choice(result)]),
        budget_table(result),
        *family_tables(result),
        *pause_tables(result.thresholds),
        *([machine_table(result.machine)] if timed else []),
        *(time_tables(result.tables, result.agreement.context) if timed and server is None else []),
        *([] if server is None or server.prices is None else [prices_table(server.prices)]),
        *signal_tables(result.agreement),
        *front_tables(result, timed=timed),
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
        yield "requests", bill.requests, "of the server, in the last run of this calibration"
        yield "tokens_read", bill.read, ""
        yield "tokens_written", bill.written + bill.unseen, ""
