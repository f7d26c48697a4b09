"""The report for programs: JSON with every sample, CSV with the table."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TextIO

from msgspec import structs

from adec.benchmark.bench_report import BenchReport, RowReport
from adec.benchmark.samples import PromptResult
from adec.benchmark.statistics import Gain, Interval, Share
from adec.events.hostile_json import to_plain

SCHEMA = 1


def write_json(report: BenchReport, samples: Iterable[PromptResult], stream: TextIO) -> None:
    """Write one object; the samples stream through, so that thousands of prompts need no memory."""
    head = {
        "schema": SCHEMA,
        "about": report.about,
        "done": report.done,
        "planned": report.planned,
        "prompts_in_medians": report.kept,
        "remarks": list(report.remarks),
        "workers": [asdict(worker) for worker in report.workers],
        "rows": [row_data(row) for row in report.rows],
    }
    text = json.dumps(head, indent=1, ensure_ascii=True, allow_nan=False)
    stream.write(text[:-2] + ',\n "samples": [')
    comma = ""
    for result in samples:
        line = to_plain(result)
        del line["type"]
        stream.write(f"{comma}\n  {json.dumps(line, ensure_ascii=True)}")
        comma = ","
    stream.write("\n ]\n}\n")


def row_data(row: RowReport) -> dict[str, Any]:
    """A row as plain data; see `RowReport` for the definitions."""
    return {
        "name": row.name,
        "kind": row.header.kind,
        "guarantee": row.header.guarantee or None,
        "answers": row.answers,
        "errors": row.errors,
        "error": row.error or None,
        "tokens_per_second": _parts(row.speed),
        "ratio_to_plain": _parts(row.ratio),
        "first_token_ms": _parts(row.first_ms),
        "tokens_per_large_forward": row.per_forward,
        "forwards_per_answer": row.forwards,
        "large_share_written": row.wrote,
        "large_share_read": row.read,
        "forward_work": row.work,
        "overhead_share": row.overhead,
        "accuracy": _parts(row.accuracy),
        "same_as_plain": _parts(row.same),
        "leading_tokens_share": row.leading,
        "gain_over_plain": _parts(row.gain),
        "fed_to_plain": row.fed,
        "time_to_plain": row.time,
        "won": row.won,
        "lost": row.lost,
        "peak_bytes": row.peak_bytes,
        "unlike_plain": row.unlike if row.header.guarantee == "exact" else None,
        "within_noise": row.ties if row.header.guarantee == "exact" else None,
        "differences": [{"prompt": i, **structs.asdict(d)} for i, d in row.differences],
        "groups": {
            name: {**asdict(counted), "ratio_to_plain": _parts(row.ratios.get(name))}
            for name, counted in row.groups.items()
        },
        "by_worker": {
            name: {
                "tokens_per_second": _parts(times.speed),
                "ratio_to_plain": _parts(times.ratio),
                "first_token_ms": _parts(times.first_ms),
            }
            for name, times in row.by_worker.items()
        },
        "verdict": row.verdict,
    }


def write_csv(report: BenchReport, stream: TextIO) -> None:
    """Write one line a row, with the bounds of intervals in columns of their own."""
    writer = csv.writer(stream, lineterminator="\n")
    lines = [_flat(row_data(row)) for row in report.rows]
    columns = list(lines[0]) if lines else []
    writer.writerow(columns)
    for line in lines:
        writer.writerow([_harmless(line[column]) for column in columns])


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    parts = {
        "tokens_per_second": ("median", "low", "high"),
        "ratio_to_plain": ("median", "low", "high"),
        "first_token_ms": ("median", "low", "high"),
        "accuracy": ("share", "low", "high"),
        "same_as_plain": ("share",),
        "gain_over_plain": ("difference", "low", "high"),
    }
    for key, value in data.items():
        if key in ("differences", "groups", "by_worker"):
            continue
        if key in parts:
            for part in parts[key]:
                name = key if part in ("median", "share", "difference") else f"{key}_{part}"
                flat[name] = None if value is None else value[part]
        else:
            flat[key] = value
    return flat


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula is quoted."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value


def _parts(value: Interval | Share | Gain | None) -> dict[str, Any] | None:
    """The value first, its bounds, and what it is of."""
    if value is None:
        return None
    if isinstance(value, Interval):
        bounds = {"low": value.low, "high": value.high}
        return {"median": value.middle, **bounds, "prompts": value.count}
    bounds = dict(zip(("low", "high"), value.interval, strict=True))
    if isinstance(value, Gain):
        return {"difference": value.value, **bounds, "prompts": value.count}
    return {"share": value.value, **bounds, "of": value.count, "count": value.part}
