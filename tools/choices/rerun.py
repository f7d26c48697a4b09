"""Two calibrations of one pair with different seeds: do they choose alike, within their spread?

    adec calibrate --seed 0 -o first.toml
    adec calibrate --seed 1 -o second.toml
    python -m tools.choices.rerun first.toml second.toml

A calibration's choice is the setting that its budget was proved for. Compared are the quality it
kept on held-out prompts, and the share of tokens by the large model on the prompts it was fitted
on. Two figures agree when they differ by at most twice the standard error of their difference.
Exits with 4 where they do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adec.cli.failures import exit_code_of, leave
from adec.errors import CheckFailed, UsageError
from adec.profiles.read import read_profile
from tools.script import arguments_of, table_of

ERRORS = 2.0
"""Standard errors that two figures may be apart."""


@dataclass(frozen=True)
class Pick:
    """The setting that a budget was proved for, and how it did."""

    label: str
    proved: bool
    kept: float
    kept_spread: float
    share: float
    share_spread: float


def pick_of(path: Path) -> Pick:
    """The choice of a profile that `adec calibrate` wrote. Raises ProfileError, UsageError."""
    profile = read_profile(path)
    budget = profile.budget
    if budget is None:
        raise UsageError(f"{path} has no budget", hint="calibrate with --keep below 1")
    label = budget.point
    point = next((p for p in profile.front if p.get("point") == label), None)
    if point is None:
        raise UsageError(f"{path} does not say how the point of its budget ran")
    kept, count = budget.kept, max(1, budget.held_out)
    # losses of 0 and 1 scatter most: an upper limit for the other metrics; none seen is not none
    rate = (1 - kept) * count
    spread = math.sqrt(max(1.0, rate)) / count
    return Pick(
        label,
        budget.proved,
        kept,
        spread,
        float(point["large_share"]),
        float(point["large_share_spread"]),
    )


def differences(first: Pick, second: Pick) -> list[str]:
    """What is further apart than chance explains, in words."""
    found = []
    for name, one, other in (
        ("quality kept", (first.kept, first.kept_spread), (second.kept, second.kept_spread)),
        ("large share", (first.share, first.share_spread), (second.share, second.share_spread)),
    ):
        allowed = ERRORS * math.hypot(one[1], other[1])
        if abs(one[0] - other[0]) > allowed:
            found.append(
                f"{name}: {one[0]:.4f} and {other[0]:.4f} differ by more than {allowed:.4f}"
            )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both choices; the exit code."""
    parser = arguments_of(__doc__)
    parser.add_argument("first", type=Path, help="a profile that `adec calibrate` wrote")
    parser.add_argument("second", type=Path, help="another one of the same pair")
    chosen = parser.parse_args(arguments)
    return exit_code_of(lambda: compare(chosen.first, chosen.second))


def compare(*paths: Path) -> None:
    """Print a row a profile. Raises CheckFailed where two profiles differ beyond chance."""
    picks = [pick_of(path) for path in paths]
    heads = ("profile", "point", "proved", "kept", "±", "written by large", "±")
    rows = [_cells(path.name, pick) for path, pick in zip(paths, picks, strict=True)]
    print(table_of(heads, rows, left=3))
    found = differences(*picks)
    if found:
        raise CheckFailed(found[0])


def _cells(name: str, pick: Pick) -> list[str]:
    return [
        name,
        pick.label,
        "yes" if pick.proved else "no",
        f"{100 * pick.kept:.1f} %",
        f"{100 * pick.kept_spread:.1f}",
        f"{100 * pick.share:.1f} %",
        f"{100 * pick.share_spread:.1f}",
    ]


if __name__ == "__main__":
    leave(main())
