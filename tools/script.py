"""What the scripts share: arguments, a bar of progress, tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence

from adec.display.progress import Progress
from adec.practice.tasks import FAMILIES, Problem


def arguments_of(script: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring."""
    return argparse.ArgumentParser(
        description=script, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_problems(parser: argparse.ArgumentParser, count: int) -> None:
    """Add -n, --seed and --family: which held-out problems are answered."""
    parser.add_argument("-n", type=int, default=count, help=f"problems a family ({count})")
    parser.add_argument("--seed", type=int, default=2026, help="of the problems (2026)")
    parser.add_argument(
        "--family", choices=tuple(FAMILIES), action="append", help="may be repeated"
    )


def add_model(parser: argparse.ArgumentParser, threads: int | None = None) -> None:
    """Add --model and --threads."""
    parser.add_argument("--model", default="practice:small", help="(practice:small)")
    parser.add_argument("--threads", type=int, default=threads)


def add_look_ahead(
    parser: argparse.ArgumentParser, candidates: Sequence[int], ahead: Sequence[int]
) -> None:
    """Add --candidates and --ahead: the grid of AdaDec's B and L."""
    parser.add_argument("--candidates", type=int, nargs="+", default=list(candidates), metavar="B")
    parser.add_argument("--ahead", type=int, nargs="+", default=list(ahead), metavar="L")


def counted(asked: Sequence[Problem]) -> Iterator[Problem]:
    """The problems one by one, with a bar of progress on a terminal."""
    with Progress(sys.stderr, unit="problems", erase=True) as bar:
        bar.stage("answers", len(asked))
        for count, problem in enumerate(asked):
            bar.update(count)
            yield problem


def table_of(heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first `left` columns stand left, the others right."""
    marks = ["---"] * left + ["--:"] * (len(heads) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows))
