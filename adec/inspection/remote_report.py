"""A model behind an address: what its server can do, how far away it is, and what it serves."""

from __future__ import annotations

import dataclasses
from typing import Any

from adec.decoding.registry import METHODS
from adec.display.wording import many
from adec.engines.opening import read_distant_header, read_header
from adec.inspection.model_report import describe, serves, strategies_table
from adec.inspection.sheet import Facts, Lines, Report
from adec.models.names import locate


def inspect_remote(address: str, small: str | None = None) -> Report:
    """Ask the server at `address`; `small` is the model here whose vocabulary is to be spoken.

    Raises UsageError for a bad address, RemoteError when the server fails.
    """
    beside = None if small is None else read_header(locate(small))
    header = read_distant_header(address, beside)
    abilities = getattr(header, "abilities")  # noqa: B009 - the header of a server
    data: dict[str, Any] = {
        "type": "remote",
        "schema": 1,
        **describe(header),
        "abilities": dataclasses.asdict(abilities),
        "strategies": [serves(method, header) for method in METHODS.values()],
    }
    facts = [tuple(line.split(": ", 1)) for line in abilities.lines()]
    rows = [
        ("address", str(header.info.path)),
        ("model", header.info.name),
        ("context", f"{many(header.info.context_limit)} tokens"),
        *((name, value) for name, value in facts),
        ("asked", f"{abilities.probe_requests} requests"),
        *(("remark", remark) for remark in header.remarks),
    ]
    alone = "beside a model here it can do more: adec inspect SMALL ADDRESS"
    hints = [] if beside is not None else [Lines("", [alone])]
    return Report(
        data, [Facts(header.info.name, rows), strategies_table(data["strategies"]), *hints]
    )
