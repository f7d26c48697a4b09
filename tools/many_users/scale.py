"""A thousand users, each with a small model, before one large model: simulated on recorded answers.

    python -m tools.many_users.scale docs/results/scale-records.jsonl --seed 1

Nothing is loaded and nothing is timed. The records (`scale_records.py`) say where the small model
agrees with the large one and how sure it is. The server runs what waits in one batch after the
other, whose time a curve gives; users think, ask, draft, and wait for the line.

What is assumed:

- The server keeps the prefix of every conversation. It reads a prompt once, and of an answer only
  what it has not read: with drafts these are the drafts, with trust what the small model wrote.
- A batch takes what has waited longest, at most `BATCH` tokens; a longer prompt is cut in pieces.
- The small model goes on along the large one's answer, also behind a token of its own that differs.
- The small model reads its prompt while the server reads its own.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from statistics import median

import numpy as np

from adec.cli.failures import exit_code_of, leave
from adec.errors import UsageError
from tools.script import arguments_of, table_of

BATCH = 2048
"""Most tokens of one batch."""
DRAFT_MS = 13.0
"""The small model writes a token: Qwen2.5-Coder-0.5B, Q4, on two cores."""
SURE = 0.3
"""Nats of entropy up to which a draft goes on, where nothing else is said."""
NEVER = float("inf")

CURVE_HERE = ((1, 38.0), (2, 75.0), (3, 114.0), (4, 140.0), (6, 196.0), (8, 242.0), (11, 308.0),
              (12, 313.0), (16, 267.0), (20, 389.0), (32, 471.0))  # fmt: skip
"""(tokens, ms): Qwen2.5-Coder-1.5B, Q4_K_M, one thread, as measured; beyond, as the last token."""


@dataclass(frozen=True)
class Trace:
    """One recorded answer."""

    prompt: int
    agrees: tuple[bool, ...]
    entropy: tuple[float, ...]


@dataclass(frozen=True)
class Turn:
    """What one request asks of the server, and what the user's machine did before it."""

    drafted: int
    """Forwards of the small model."""
    read: int
    """Tokens that the server reads in one forward, the one whose successor is wanted included."""
    written: int
    """Tokens that the server then writes, one of them by that forward."""


@dataclass(frozen=True)
class Way:
    """A way to answer: its name and its turns on a trace, the small model's own tail last."""

    name: str
    turns: Callable[[Trace], list[Turn]]
    unlike: Callable[[Trace], int] = lambda trace: 0
    """Tokens of the answer that are not the large model's."""


def plain() -> Way:
    """The server writes all."""
    return Way("plain", lambda trace: [Turn(0, trace.prompt, len(trace.agrees))])


def speculation(longest: int, sure: float = SURE) -> Way:
    """Drafts of at most `longest` tokens; the server judges each in one forward. Exact."""

    def turns(trace: Trace) -> list[Turn]:
        found, place, size = [], 0, len(trace.agrees)
        unread = trace.prompt
        while place < size:
            drafts = 0
            while drafts < min(longest, size - place - 1) and trace.entropy[place + drafts] <= sure:
                drafts += 1
            stands = 0
            while stands < drafts and trace.agrees[place + stands]:
                stands += 1
            looked = drafts + (drafts < min(longest, size - place - 1))
            found.append(Turn(looked, unread + drafts, 1))
            place += stands + 1
            unread = 1
        return found

    name = f"drafts of {longest}" + ("" if sure == SURE else f", {sure:g} nats")
    return Way(name, turns)


def trust(sure: float) -> Way:
    """EAD: the small model writes while it is sure, the server writes one token where it is not."""

    def turns(trace: Trace) -> list[Turn]:
        found, unread, written = [], trace.prompt, 0
        for nats in trace.entropy:
            if nats <= sure:
                written += 1
                unread += 1
                continue
            # the small model has looked at the unsure position, too
            found.append(Turn(written + 1, unread, 1))
            unread, written = 1, 0
        return [*found, Turn(written, 0, 0)]

    def unlike(trace: Trace) -> int:
        pairs = zip(trace.entropy, trace.agrees, strict=True)
        return sum(nats <= sure and not same for nats, same in pairs)

    return Way(f"EAD at {sure:g} nats", turns, unlike)


@dataclass(frozen=True)
class Server:
    """A machine with the large model."""

    name: str
    batch_ms: Callable[[int], float]
    """Time of a batch of n tokens."""
    context_ms: float = 0.0
    """What each conversation in a batch adds: its keys and values are read, whatever the batch."""


def gpu(weights_ms: float = 20.0, token_ms: float = 0.13, context_ms: float = 0.05) -> Server:
    """A roofline: reading the weights hides the arithmetic of the first 150 tokens or so.

    The defaults are a model of 32B parameters in 16 bits on one card with 3.3 TB/s and some 500
    useful TFLOP/s; conversations of 600 tokens with 256 kB of keys and values each.
    """
    return Server("GPU", lambda n: 2.0 + max(weights_ms, token_ms * n), context_ms)


def here() -> Server:
    """Two cores, where a token of a batch costs nearly what it costs alone."""
    sizes = [size for size, _ in CURVE_HERE]
    times = [ms for _, ms in CURVE_HERE]
    slope = times[-1] / sizes[-1]

    def batch_ms(n: int) -> float:
        if n > sizes[-1]:
            return n * slope
        return float(np.interp(n, sizes, times))

    return Server("two cores", batch_ms)


@dataclass
class Totals:
    """What a simulated run came to."""

    answers: int = 0
    requests: int = 0
    fed: int = 0
    """Tokens that the server ran, those that it had written itself included."""
    forwards: int = 0
    """Rows of logits: each gives a token."""
    batches: int = 0
    unlike: int = 0
    tokens: int = 0
    busy_ms: float = 0.0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)


@dataclass
class _Asking:
    """A user's answer under way."""

    began: float
    turns: Iterator[Turn]
    left: int = 0
    """Tokens that the server has still to read before it writes the next."""
    to_write: int = 0


def simulate(
    server: Server,
    way: Way,
    traces: Sequence[Trace],
    *,
    users: int,
    trip_ms: float,
    think_s: float,
    seconds: float,
    seed: int,
) -> Totals:
    """`users` ask, wait, and think (exponentially, `think_s` on average) for `seconds`.

    Counts answers that were finished after a tenth of the time. `trip_ms`: a round trip.
    """
    rng = Random(seed)
    turns = {id(trace): way.turns(trace) for trace in traces}
    ends, warm = 1000 * seconds, 100 * seconds
    totals = Totals(seconds=(ends - warm) / 1000)
    events: list[tuple[float, int, str, _Asking | None]] = []
    number = 0

    def later(when: float, kind: str, asking: _Asking | None = None) -> None:
        nonlocal number
        number += 1
        heappush(events, (when, number, kind, asking))

    def next_turn(asking: _Asking, now: float) -> None:
        """The user's machine drafts, and sends; or the answer is done."""
        turn = next(asking.turns, None)
        if turn is None or turn.read == 0:
            done = now + (0 if turn is None else DRAFT_MS * turn.drafted)
            if warm <= done <= ends:
                totals.answers += 1
                totals.latencies.append(done - asking.began)
            later(done + rng.expovariate(1 / (1000 * think_s)), "ask")
            return
        asking.left, asking.to_write = turn.read, turn.written
        later(now + DRAFT_MS * turn.drafted + trip_ms / 2, "arrive", asking)

    for _ in range(users):
        later(rng.expovariate(1 / (1000 * think_s)), "ask")
    line: deque[_Asking] = deque()
    now = 0.0
    while now < ends and (events or line):
        if not line:
            now = max(now, events[0][0])
        while events and events[0][0] <= now:
            when, _, kind, asking = heappop(events)
            if kind == "ask":
                trace = rng.choice(traces)
                if when >= warm:
                    totals.unlike += way.unlike(trace)
                    totals.tokens += len(trace.agrees)
                next_turn(_Asking(when, iter(turns[id(trace)])), when)
            elif kind == "arrive" and asking is not None:
                totals.requests += when >= warm
                line.append(asking)
            elif asking is not None:
                next_turn(asking, when)
        if not line:
            continue
        batch, room = [], BATCH
        while line and room:
            asking = line.popleft()
            part = min(asking.left, room)
            batch.append((asking, part))
            room -= part
        spent = server.batch_ms(BATCH - room) + server.context_ms * len(batch)
        now += spent
        counted = now >= warm
        totals.busy_ms += spent * counted
        totals.batches += counted
        for asking, part in batch:
            totals.fed += part * counted
            asking.left -= part
            if asking.left == 0:
                asking.to_write -= 1
                totals.forwards += counted
                if asking.to_write == 0:
                    later(now + trip_ms / 2, "answered", asking)
                    continue
                asking.left = 1
            line.append(asking)
    return totals


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
