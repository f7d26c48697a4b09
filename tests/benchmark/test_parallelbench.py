"""ParallelBench's list operations: right examples, and limits that agree with what is drawn."""

from __future__ import annotations

from itertools import islice, permutations, product
from math import log
from random import Random

import pytest

from adec.benchmark.tasks import parallelbench
from adec.benchmark.tasks.dependence import right_answers
from adec.benchmark.tasks.parallelbench import KINDS, dependence_of, limit, solved
from adec.benchmark.tasks.puzzles import latin_squares, sudokus
from adec.benchmark.tasks.task_sources import find_source
from adec.judging.matches import is_match

ONE = ("copy", "reverse", "sort", "replace index", "remove index", "insert index")
MANY = ("replace random", "remove random", "insert random", "shuffle")


def test_every_task_has_an_example_that_is_right() -> None:
    made = list(islice(parallelbench.tasks(3, KINDS), 65))
    again = list(islice(parallelbench.tasks(3, KINDS), 65))
    assert [task.prompt for task in made] == [task.prompt for task in again]
    for task in made:
        example, _, question = task.prompt.partition("\n\n")
        shown, _, answer = example.partition("\nAnswer: ")
        assert answer.endswith(".") and question and shown != question
        assert task.group == "parallelbench"
        reply = f"Answer: {solved(task, Random(1))}."
        assert is_match(reply, task.match, task.answer, task.given)


def test_names_are_one_word_each_and_all_unlike() -> None:
    people = parallelbench.PEOPLE
    assert len(set(people)) == len(people) == 144
    assert all(name.isalpha() for name in people)


def test_the_word_names_them() -> None:
    source = find_source(["parallelbench"], 20, 0)
    assert source.count == 20 and {task.kind for task in source.begin()} == set(KINDS)


@pytest.mark.parametrize("kind", ONE)
def test_one_right_answer_can_be_written_at_once(kind: str) -> None:
    assert all(limit(kind, size, many) == 1 for size in (3, 5) for many in (1, 2, size))


@pytest.mark.parametrize("kind", MANY)
def test_one_word_at_a_time_is_always_right_and_more_are_less(kind: str) -> None:
    for size in (4, 5):
        shares = [limit(kind, size, many) for many in (1, 2, size + 1)]
        assert shares[0] == pytest.approx(1)
        assert shares[0] > shares[1] > shares[2] > 0


def brute(kind: str, size: int, at_once: int) -> float:
    """Every sequence of draws, with its chance."""
    answers = right_answers(kind, size)
    length = len(answers[0])

    def chance(words: tuple[int, ...]) -> float:
        share, left = 1.0, answers
        for begin in range(0, length, at_once):
            end = min(length, begin + at_once)
            for place in range(begin, end):
                share *= sum(answer[place] == words[place] for answer in left) / len(left)
            left = [answer for answer in left if answer[begin:end] == words[begin:end]]
            if not left:
                return 0.0
        return share

    return sum(chance(words) for words in product(range(-1, size), repeat=length))


@pytest.mark.parametrize("kind", MANY)
@pytest.mark.parametrize("at_once", [2, 3, 4])
def test_limits_are_what_draws_give(kind: str, at_once: int) -> None:
    assert limit(kind, 4, at_once) == pytest.approx(brute(kind, 4, at_once))


def test_closed_forms() -> None:
    # all at once: (1 - 1/n)^(n - 1), and n!/n^n without the original order
    assert limit("replace random", 6, 6) == pytest.approx((5 / 6) ** 5)
    assert limit("shuffle", 8, 8) == pytest.approx(40320 / 8**8)
    # the last step may be shorter, which the published formula leaves out
    assert limit("replace random", 5, 4) != limit("replace random", 5, 5)
    assert len(list(permutations(range(3)))) - 1 == len(right_answers("shuffle", 3))


def test_puzzles_are_counted_and_judged() -> None:
    assert (len(latin_squares()), len(sudokus())) == (576, 288)
    for kind in ("sudoku", "latin square"):
        assert limit(kind, 4, 1) == pytest.approx(1)
    assert limit("sudoku", 4, 16) == 1
    # a first row at once: four letters, each drawn from four
    assert limit("latin square", 4, 4) < 24 / 4**4
    # sixteen places of four equally likely letters, less what all squares are
    assert dependence_of("latin square", 4) == pytest.approx(16 * log(4) - log(576))
    square = "A B C D B A D C C D A B D C B A"
    assert is_match(f"Answer: {square}.", "latin square", "A B C D")
    assert not is_match(f"Answer: {square[::-1]} A", "latin square", "A B C D")
    assert not is_match("A B C D A B C D A B C D A B C D", "latin square", "A B C D")
    assert is_match("I see a Plum, figs, a fig.", "all words", "plum fig")
    assert not is_match("I see a plum and figs.", "all words", "plum fig")
