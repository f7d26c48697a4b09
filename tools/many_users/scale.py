"""A thousand users, each with a small model, before one large model: simulated on recorded answers.

    python -m tools.many_users.scale docs/results/scale-records.jsonl --seed 1

Nothing is loaded and nothing is timed. The records (`scale_records.py`) say where the small model
agrees with the large one and how sure it is; `ways.py` says what an answer then asks of the server,
and `server_line.py` how long everybody waits for it. Both say what they assume.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from adec.cli.failures import exit_code_of, leave
from adec.errors import UsageError
from tools.many_users.server_line import Server, Totals, gpu, here, simulate
from tools.many_users.ways import NEVER, Trace, Way, plain, speculation, trust
from tools.script import arguments_of, table_of


def read_traces(path: Path) -> list[Trace]:
    """The records of `tools.many_users.scale_records`. Raises UsageError."""
    traces = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            data = json.loads(line)
            agrees = tuple(mark == "1" for mark in data["agrees"])
            entropy = tuple(float(nats) for nats in data["small_entropy"])
            if not agrees or len(agrees) != len(entropy) or int(data["prompt_tokens"]) < 1:
                raise ValueError("columns of different lengths")
            traces.append(Trace(int(data["prompt_tokens"]), agrees, entropy))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} holds no records: {error}") from None
    if not traces:
        raise UsageError(f"{path} holds no records")
    return traces


HEADS = ("way", "requests", "fed", "rows", "unlike", "batch", "server ms", "answers/s",
         "median s", "95 % s")  # fmt: skip


def cells(way: Way, totals: Totals) -> list[str]:
    """A row of a table: requests, tokens fed, rows of logits and server time are for an answer."""
    if not totals.answers:
        return [way.name, *["-"] * (len(HEADS) - 1)]
    each = 1 / totals.answers
    late = sorted(totals.latencies)
    return [
        way.name,
        f"{totals.requests * each:.1f}",
        f"{totals.fed * each:.0f}",
        f"{totals.forwards * each:.1f}",
        f"{100 * totals.unlike / max(1, totals.tokens):.1f} %",
        f"{totals.fed / totals.batches:.0f}",
        f"{totals.busy_ms * each:.0f}",
        f"{totals.answers / totals.seconds:.2f}",
        f"{median(late) / 1000:.2f}",
        f"{late[int(0.95 * len(late))] / 1000:.2f}",
    ]


LIMITS = (0.1, 0.3, 1.0, NEVER)
WAYS = (plain(), speculation(4), speculation(8), speculation(16), speculation(8, NEVER),
        trust(0.1), trust(0.3), trust(0.8))  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print all tables."""
    parser = arguments_of(__doc__)
    parser.add_argument("records", type=Path, help="of tools.many_users.scale_records")
    parser.add_argument("--seed", type=int, default=1, help="of users and prompts (1)")
    parser.add_argument("--users", type=int, default=1000, help="before the GPU (1000)")
    parser.add_argument("--seconds", type=float, default=600, help="that are simulated (600)")
    chosen = parser.parse_args(arguments)
    traces = read_traces(chosen.records)

    def run(server: Server, way: Way, users: int, trip_ms: float, think_s: float) -> Totals:
        return simulate(
            server, way, traces, users=users, trip_ms=trip_ms, think_s=think_s,
            seconds=chosen.seconds, seed=chosen.seed,
        )  # fmt: skip

    for think_s in (300.0, 60.0, 15.0):
        print(f"\n{chosen.users} users who think {think_s:g} s, GPU, round trip 40 ms\n")
        print(
            table_of(
                HEADS, [cells(way, run(gpu(), way, chosen.users, 40, think_s)) for way in WAYS]
            )
        )
    print(f"\n{chosen.users} users who think 300 s, GPU: median seconds of an answer\n")
    trips = (5, 20, 40, 80, 200)
    rows = [
        [way.name, *(cells(way, run(gpu(), way, chosen.users, trip, 300))[-2] for trip in trips)]
        for way in WAYS
    ]
    print(table_of(["way", *(f"{trip} ms" for trip in trips)], rows))
    print("\nThe same at 40 ms: median seconds / requests / tokens fed of an answer\n")
    rows = []
    for longest in (2, 4, 8, 16):
        row = [f"drafts of {longest}"]
        for nats in LIMITS:
            way = speculation(longest, nats)
            found = cells(way, run(gpu(), way, chosen.users, 40, 300))
            row.append(f"{found[-2]} / {found[1]} / {found[2]}")
        rows.append(row)
    print(table_of(["", *(f"{nats:g} nats" for nats in LIMITS)], rows))
    print("\n2 users who think 120 s, two cores, round trip 40 ms, fifty times as long\n")
    rows = []
    for way in WAYS:
        totals = simulate(
            here(), way, traces, users=2, trip_ms=40, think_s=120, seconds=50 * chosen.seconds,
            seed=chosen.seed,
        )  # fmt: skip
        rows.append(cells(way, totals))
    print(table_of(HEADS, rows))


if __name__ == "__main__":
    leave(exit_code_of(main))
