"""A model behind a server over a slow link: rows of strategies, answer by answer, against plain.

    python -m tools.network.remote_speed --small practice:small --large http://10.77.0.2:8080/v1 \\
        --rows stream,one-by-one,speculate,adaedl --prompts 50

`stream` is plain as adec has it, one request an answer; `one-by-one` is plain with a request for
every token, as a client without streaming has it. Every text is held against the server's own
greedy answer, which is asked for apart from adec's client.
"""

from __future__ import annotations

import argparse
import json
import statistics
import urllib.request
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import Any

from adec.answering.choice import Choice
from adec.answering.plan import Plan, plan
from adec.answering.prompt import encode_prompt
from adec.answering.session import Question, Session, open_session
from adec.benchmark.tasks.task_sources import find_source
from adec.cli.failures import exit_code_of, leave
from adec.engines.base import OpenOptions
from adec.engines.remote.remote_header import RemoteHeader
from adec.engines.remote.server_engine import ServerEngine
from adec.errors import UsageError

STREAM, ONE_BY_ONE = "stream", "one-by-one"


@dataclass
class Row:
    """One way of asking, and what came of it."""

    name: str
    session: Session
    seconds: list[float] = field(default_factory=list)
    counts: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    large: int = 0
    equal: int = 0
    right: int = 0


def main() -> int:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(
        prog="tools.network.remote_speed", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--small", default="practice:small")
    parser.add_argument("--large", required=True)
    parser.add_argument(
        "--rows", default="stream,one-by-one,speculate", help="strategies; NAME:KEY=VALUE:…"
    )
    parser.add_argument("--task", default="word-problems")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-n", "--max-tokens", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [_row(words, given.small, given.large) for words in given.rows.split(",")]
    source = find_source([given.task], given.prompts, given.seed)
    tasks = list(islice(source.begin(), given.prompts))
    if not tasks:
        raise UsageError("there are no prompts")
    for number, task in enumerate(tasks):
        expected = own_answer(rows[0].session, task.prompt, given.max_tokens)
        question = Question(task.prompt, max_tokens=given.max_tokens, signals=False)
        # the rows take turns in being first
        for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
            began = perf_counter()
            text, summary = row.session.reply(question)
            row.seconds.append(perf_counter() - began)
            row.counts.append(summary.get("bought", {}))
            row.tokens += summary["tokens"]
            row.large += summary["large_tokens"]
            row.equal += text == expected
            row.right += bool(task.judge(text, allow_exec=False))
    found = [_figures(row, rows[0], len(tasks)) for row in rows]
    for row in rows:
        row.session.close()
    if given.json:
        print(json.dumps(found))
        return 0
    names = list(found[0])
    print(" | ".join(names))
    for figures in found:
        print(" | ".join(str(figures[name]) for name in names))
    return 0


def own_answer(session: Session, prompt: str, max_tokens: int) -> str:
    """The server's own greedy answer, by a client that has nothing of adec's."""
    large = session.engines["large"]
    header = session.plan.models["large"]
    assert isinstance(large, ServerEngine) and isinstance(header, RemoteHeader)
    ids, _ = encode_prompt(large, prompt)
    text = b"".join(large.vocabulary.pieces[token] for token in ids).decode()
    body = {
        "model": header.abilities.model,
        "prompt": ids if header.abilities.ids else text,
        "max_tokens": max_tokens,
        "temperature": 0,
        "repeat_penalty": 1.0,
    }
    request = urllib.request.Request(
        f"{header.address.base}/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["choices"][0]["text"])


def _row(words: str, small: str, large: str) -> Row:
    name, *settings = words.split(":")
    strategy = "plain" if name in (STREAM, ONE_BY_ONE) else name
    assignments = tuple(f"{strategy}.{setting}" for setting in settings)
    ready: Plan = plan(Choice(small=small, large=large, strategy=strategy, assignments=assignments))
    session = open_session(ready, OpenOptions())
    engine = session.engines["large"]
    assert isinstance(engine, ServerEngine)
    if name == ONE_BY_ONE:
        engine.most_ahead = 1
    return Row(words, session)


def _figures(row: Row, first: Row, prompts: int) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(first.seconds, row.seconds, strict=True)]
    sums = {
        name: sum(count.get(name, 0) for count in row.counts) / prompts
        for name in ("requests", "tokens_read", "tokens_written")
    }
    return {
        "row": row.name,
        "ms an answer": round(1000 * statistics.mean(row.seconds), 1),
        "median": round(1000 * statistics.median(row.seconds), 1),
        f"times {first.name}": round(sum(first.seconds) / sum(row.seconds), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
        "tokens": round(row.tokens / prompts, 1),
        "large wrote": f"{100 * row.large / max(1, row.tokens):.0f} %",
        **{name: round(value, 1) for name, value in sums.items()},
        "equal": f"{row.equal}/{prompts}",
        "right": f"{100 * row.right / prompts:.0f} %",
    }


if __name__ == "__main__":
    leave(exit_code_of(main))
