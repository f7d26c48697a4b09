"""EAD on held-out problems: accuracy and large-model share by threshold, window and dwell.

    python -m tools.choices.sweep -n 500

All rows answer each problem before the next one, so that all see the same machine. The first two
rows are the models alone. The last column counts answers that differ from the large model's; for an
exact row it must be 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.session import Question, Session, open_session
from adec.cli.failures import exit_code_of, leave
from adec.engines.base import OpenOptions
from adec.engines.pair import Engines
from adec.practice.tasks import problems
from tools.script import add_problems, arguments_of, counted, table_of

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


HEADS = (
    "strategy and settings", "right", "kept", "written by large", "read by large", "wakes",
    "ms per token", "differs from plain",
)  # fmt: skip


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
    parser = arguments_of(__doc__)
    add_problems(parser, 500)
    parser.add_argument("--small", default="practice:small")
    parser.add_argument("--large", default="practice:large")
    chosen = parser.parse_args(arguments)
    rows = _open(chosen.small, chosen.large)
    asked = [
        problem
        for family in chosen.family or ("word problems",)
        for problem in islice(problems("test", chosen.seed, [family]), chosen.n)
    ]
    for problem in counted(asked):
        texts: list[str] = []
        for row in rows:
            question = Question(problem.prompt, max_tokens=256, signals=False)
            text, summary = row.session.reply(question)
            row.take(summary)
            row.right += problem.check(text)
            row.unlike += bool(texts) and text != texts[0]
            texts.append(text)
    print(table(rows, len(asked)))


def table(rows: Sequence[Row], count: int) -> str:
    """The rows as Markdown. `kept` is the accuracy as a share of the large model's."""
    best = rows[0].right
    return table_of(HEADS, (_cells(row, best, count) for row in rows))


def _cells(row: Row, best: int, count: int) -> list[str]:
    return [
        row.label,
        f"{100 * row.right / count:.1f} %",
        f"{100 * row.right / best if best else 0.0:.1f} %",
        f"{row.share('large_tokens'):.1f} %",
        f"{row.share('large_fed'):.1f} %",
        f"{row.sums['wakes'] / count:.1f}",
        f"{1000 * row.sums['seconds'] / row.sums['tokens']:.2f}",
        f"{row.unlike} of {count}",
    ]


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
    leave(exit_code_of(main))
