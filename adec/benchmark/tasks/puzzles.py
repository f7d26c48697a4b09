"""ParallelBench's puzzles and its sentences: grids with one answer, grids with many, free text.

After arXiv 2510.04767. A sudoku has one solution, so its places depend on nothing once the clues
are read; in a Latin square every place depends on those before it, and any of 576 is right. Writing
a sentence with given words is judged by the words alone: the benchmark also asks a grammar checker,
which adec does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations
from random import Random

from adec.benchmark.tasks.task import Task
from adec.practice.tasks.words import ITEMS

ORDER = 4
"""Rows and columns of a grid."""
BLANKS = 4
"""Places of a sudoku that are to be filled in: the benchmark gives twelve clues of sixteen."""

PUZZLES = ("sudoku", "latin square", "words to sentence")

Grid = tuple[int, ...]
"""Row by row, numbers from 0."""


def puzzle_task(index: int, kind: str, rng: Random, group: str) -> Task:
    """One task of a kind of `PUZZLES`."""
    if kind == "sudoku":
        return _sudoku(index, rng, group)
    if kind == "latin square":
        symbols = " ".join(rng.sample("ABCDEFGH", ORDER))
        prompt = (
            f"Write a square of four rows and four columns with the letters {symbols}, so that each"
            " row and each column has every letter once. Give the sixteen letters row by row."
        )
        return Task(index, prompt, group, kind, "latin square", symbols)
    words = rng.sample(ITEMS, 4)
    prompt = f"Write one sentence with the words {', '.join(words[:-1])} and {words[-1]}."
    return Task(index, prompt, group, kind, "all words", " ".join(words))


def solved_puzzle(task: Task, rng: Random) -> str:
    """A right answer; one of them, drawn, where there are several."""
    if task.match == "latin square":
        symbols = task.answer.split()
        return " ".join(symbols[place] for place in rng.choice(latin_squares()))
    if task.match == "all words":
        *first, last = task.answer.split()
        return f"I see {', '.join(first)} and {last}"
    return task.answer


@cache
def latin_squares() -> tuple[Grid, ...]:
    """All 576 of order four."""
    rows = list(permutations(range(ORDER)))
    found: list[Grid] = []

    def extend(grid: Grid, columns: Sequence[frozenset[int]]) -> None:
        if len(grid) == ORDER * ORDER:
            found.append(grid)
            return
        for row in rows:
            if all(symbol not in column for symbol, column in zip(row, columns, strict=True)):
                longer = [column | {s} for s, column in zip(row, columns, strict=True)]
                extend((*grid, *row), longer)

    extend((), [frozenset()] * ORDER)
    return tuple(found)


@cache
def sudokus() -> tuple[Grid, ...]:
    """The Latin squares whose four corners, two by two, have every number, too."""
    corners = [
        [(2 * r + i) * ORDER + 2 * c + j for i in (0, 1) for j in (0, 1)]
        for r in (0, 1)
        for c in (0, 1)
    ]
    return tuple(
        grid
        for grid in latin_squares()
        if all(len({grid[place] for place in corner}) == ORDER for corner in corners)
    )


def _sudoku(index: int, rng: Random, group: str) -> Task:
    """A grid with four blanks and one solution."""
    while True:
        grid = rng.choice(sudokus())
        blanks = {*rng.sample(range(len(grid)), BLANKS)}
        clues = [place for place in range(len(grid)) if place not in blanks]
        if sum(all(g[place] == grid[place] for place in clues) for g in sudokus()) == 1:
            break
    shown = ["_" if place in blanks else str(n + 1) for place, n in enumerate(grid)]
    rows = [" ".join(shown[at : at + ORDER]) for at in range(0, len(grid), ORDER)]
    prompt = (
        "Fill in this sudoku, in which each row, each column and each quarter has the numbers 1 to"
        f" 4: {' / '.join(rows)}. Give the sixteen numbers row by row."
    )
    answer = " ".join(str(n + 1) for n in grid)
    return Task(index, prompt, group, "sudoku", "list", answer, dependence_nats=0.0)
