"""Does the automatic choice keep up? Row `auto` against the best row, by group of prompts.

    adec bench --pair mine --task copy --task texts.txt --strategies auto,speculate,ead,lookup \\
      --json bench.json
    python -m tools.choices.best_single bench.json --least 0.97

Speeds are tokens per second of wall time, prompts included, over all prompts of a group. The best
row is picked on the very prompts that it is judged by, which favours it. Exits with 4 where `auto`
is slower on any group than --least times the best row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from adec.benchmark.samples import PromptResult
from adec.cli.failures import exit_code_of, leave
from adec.errors import CheckFailed, UsageError
from adec.events.hostile_json import JsonReader
from tools.script import arguments_of, table_of

AUTO = "auto"
FILE_BYTES = 1 << 30


def speeds(results: Iterable[PromptResult]) -> dict[str, dict[str, float]]:
    """Group to row to tokens per second; answers that failed are left out."""
    tokens: dict[tuple[str, str], int] = defaultdict(int)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for result in results:
        for answer in result.answers:
            if answer.error is None and answer.tokens > 0:
                tokens[result.group, answer.row] += answer.tokens
                seconds[result.group, answer.row] += answer.seconds
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for (group, row), spent in seconds.items():
        if spent > 0:
            found[group][row] = tokens[group, row] / spent
    return found


def compare(results: Iterable[PromptResult]) -> list[tuple[str, float, str, float]]:
    """(group, auto's speed, the best other row, its speed) for each group.

    Raises UsageError where there is no row `auto`.
    """
    lines = []
    for group, rows in speeds(results).items():
        others = {row: speed for row, speed in rows.items() if row != AUTO}
        if AUTO not in rows or not others:
            raise UsageError(
                "the bench has no row auto beside others",
                hint="adec bench --strategies auto,speculate,ead …",
            )
        best = max(others, key=lambda row: others[row])
        lines.append((group, rows[AUTO], best, others[best]))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row a group; the exit code."""
    parser = arguments_of(__doc__)
    parser.add_argument("bench", type=Path, help="what `adec bench --json` wrote")
    parser.add_argument("--least", type=float, default=0.97, help="share of the best (0.97)")
    chosen = parser.parse_args(arguments)
    return exit_code_of(lambda: show(_samples(chosen.bench), chosen.least))


def show(results: Iterable[PromptResult], least: float) -> None:
    """Print the table. Raises CheckFailed where `auto` is below `least` of the best row."""
    lines = compare(results)
    heads = ("prompts", "auto, tokens/s", "best single", "tokens/s", "auto is")
    rows = [
        [group, f"{auto:.1f}", best, f"{speed:.1f}", f"{auto / speed:.3f}"]
        for group, auto, best, speed in lines
    ]
    print(table_of(heads, rows))
    slow = [group for group, auto, _, speed in lines if auto < least * speed]
    if slow:
        raise CheckFailed(f"auto is slower than {least:g} of the best on {slow[0]}")


class BenchJson(msgspec.Struct):
    """As much of a bench's JSON as is read here."""

    samples: list[PromptResult]


def _samples(path: Path) -> list[PromptResult]:
    """The prompts of a bench's JSON. Raises UsageError."""
    try:
        with path.open("rb") as file:
            found: BenchJson = JsonReader[BenchJson](BenchJson).read(file.read(FILE_BYTES))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not what `adec bench --json` writes: {error}") from None
    return found.samples


if __name__ == "__main__":
    leave(main())
