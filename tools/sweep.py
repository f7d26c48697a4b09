"""EAD's settings against share and accuracy on held-out problems of the practice pair, as a Markdown table.

    python -m tools.sweep -n 500

Every setting answers every problem, interleaved, so that all rows see the same machine. `plain` rows are the two models
alone. An exact row whose tokens differ anywhere from the large model's is named in the last column.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.session import Question, Session, open_session
from adec.engines.base import OpenOptions
from adec.engines.pair import Engines
from adec.practice.tasks import problems

PAPER = ("ead.window=5", "ead.dwell=10")
TOKEN = ("ead.window=1", "ead.dwell=0")

GRID: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("plain", ()),
    ("plain", ("plain.model=small",)),
    *(("ead", (f"ead.up={up}", *PAPER)) for up in (0.05, 0.1, 0.3, 0.693)),
    *(("ead", (f"ead.up={up}", "ead.window=5", "ead.dwell=0")) for up in (0.05, 0.1, 0.3)),
    *(("ead", (f"ead.up={up}", "ead.window=1", "ead.dwell=3")) for up in (0.3, 0.5)),
    *(("ead", (f"ead.up={up}", *TOKEN)) for up in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)),
    ("ead", ("ead.up=0.3", *TOKEN, "ead.accept=exact")),
)


@dataclass
class Row:
    """One setting and what it came to."""

    label: str
    session: Session
    right: int = 0
    unlike: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def take(self, summary: dict[str, Any]) -> None:
        """Add up what the table needs of a run's summary."""
        for key in ("tokens", "large_tokens", "large_fed", "wakes", "seconds"):
            self.sums[key] = self.sums.get(key, 0.0) + summary[key]

    def share(self, key: str) -> float:
        """`key` per committed token, in percent."""
        return 100 * self.sums[key] / self.sums["tokens"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sweep and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=500, help="problems")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--family", default="word problems")
    parser.add_argument("--small", default="practice:small")
    parser.add_argument("--large", default="practice:large")
    chosen = parser.parse_args(arguments)
    rows = _open(chosen.small, chosen.large)
    count = 0
    for count, problem in enumerate(
        islice(problems("test", chosen.seed, [chosen.family]), chosen.n), 1
    ):
        texts = {}
        for row in rows:
            text, summary = row.session.reply(
                Question(problem.prompt, max_tokens=256, signals=False)
            )
            row.take(summary)
            row.right += problem.check(text)
            texts[row.label] = text
        for row in rows:
            row.unlike += texts[row.label] != texts[rows[0].label]
        if count % 20 == 0:
            print(f"\r{count} of {chosen.n}", end="", file=sys.stderr, flush=True)
    print("\r", end="", file=sys.stderr)
    print(table(rows, count))


def table(rows: Sequence[Row], count: int) -> str:
    """The rows as Markdown; `kept` is accuracy as a share of the large model's."""
    lines = [
        "| strategy and settings | right | kept | written by large | read by large | wakes | ms/token | unlike plain |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        kept = 100 * row.right / rows[0].right if rows[0].right else 0.0
        lines.append(
            f"| {row.label} | {100 * row.right / count:.1f} % | {kept:.1f} % | {row.share('large_tokens'):.1f} % "
            f"| {row.share('large_fed'):.1f} % | {row.sums['wakes'] / count:.1f} "
            f"| {1000 * row.sums['seconds'] / row.sums['tokens']:.2f} | {row.unlike} of {count} |"
        )
    return "\n".join(lines)


def _open(small: str, large: str) -> list[Row]:
    """All rows on one loaded pair."""
    rows: list[Row] = []
    engines: Engines | None = None
    for strategy, assignments in GRID:
        made = plan(Choice(small=small, large=large, strategy=strategy, assignments=assignments))
        if engines is None:
            engines = open_session(made, OpenOptions(context=1024)).engines
        short = " ".join(word.partition(".")[2] for word in assignments)
        rows.append(Row(f"{strategy} {short}".strip(), Session(made, engines, 0.0)))
    return rows


if __name__ == "__main__":
    main()
