"""Prints sample problems: `python -m adec.practice.tasks -n 5 --seed 1`."""

from __future__ import annotations

import argparse
from itertools import islice
from typing import cast

from adec.practice.tasks import FAMILIES, Split, problems


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m adec.practice.tasks", description=__doc__)
    parser.add_argument("-n", type=int, default=5, help="number of problems (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the stream (default 0)")
    parser.add_argument("--split", choices=("train", "test"), default="train")
    parser.add_argument("--family", choices=tuple(FAMILIES), action="append")
    options = parser.parse_args()
    stream = problems(cast(Split, options.split), options.seed, options.family)
    for problem in islice(stream, options.n):
        print(f"[{problem.family}: {problem.kind}]\n{problem.prompt}\n> {problem.solution}\n")


if __name__ == "__main__":
    main()
