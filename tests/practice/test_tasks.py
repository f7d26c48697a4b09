"""The generator: reproducible, split, and judged by checkers that can say no."""

from __future__ import annotations

import time
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.judging.matches import answer_of, code_of
from adec.judging.sandbox import passes
from adec.practice.tasks import FAMILIES, TRAINING, Problem, problems


def some(family: str, count: int, split: str = "train", seed: int = 0) -> list[Problem]:
    return list(islice(problems(split, seed, [family]), count))  # type: ignore[arg-type]


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_seed_gives_one_stream(seed: int) -> None:
    first = list(islice(problems("test", seed), 8))
    assert first == list(islice(problems("test", seed), 8))
    assert first != list(islice(problems("test", seed + 1), 8))


@pytest.mark.parametrize("family", FAMILIES)
def test_splits_share_neither_key_nor_prompt(family: str) -> None:
    train, test = some(family, 4000), some(family, 400, "test")
    assert {problem.split for problem in train} == {"train"}
    assert {problem.split for problem in test} == {"test"}
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    assert not {(p.kind, p.key) for p in train} & {(p.kind, p.key) for p in test}


def test_what_training_reads_is_apart_from_the_test_split() -> None:
    read = {p.prompt for p in islice(problems("train", 0, ["lookup"], makers=TRAINING), 4000)}
    assert read.isdisjoint(p.prompt for p in some("lookup", 400, "test"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_test_split_does_not_repeat(family: str) -> None:
    test = some(family, 600, "test")
    assert len({(problem.kind, problem.key) for problem in test}) == len(test)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "functions"])
def test_own_solution_passes_and_others_fail(family: str) -> None:
    drawn = some(family, 300)
    for problem, other in pairwise(drawn):
        assert problem.check(problem.solution)
        assert not problem.check("")
        assert not problem.check(problem.solution.replace("Answer:", "Result:"))
        assert not problem.check(f"Answer: {problem.answer}x.")
        if other.answer != problem.answer:
            assert not problem.check(other.solution)


def test_functions_are_judged_by_running_them() -> None:
    for problem in some("functions", 12):
        assert problem.check(problem.solution)
        assert problem.check(f"Here it is:\n```python\n{problem.solution}\n```\nDone.")
        head = problem.solution.splitlines()[0]
        assert not problem.check(f"{head}\n    return 'nothing of the kind'")
        assert not problem.check(problem.solution.replace("return ", "retrun "))


def test_shuffles_accept_any_order_but_no_other_words() -> None:
    problem = next(p for p in some("lists", 200) if p.kind == "shuffle")
    words = problem.answer.split()
    assert problem.check(f"Answer: {' '.join(reversed(words))}.")
    assert problem.check(f"Answer: {', '.join(reversed(words))}.")
    assert not problem.check(f"Answer: {' '.join([*words[1:], words[1]])}.")
    assert not problem.check(f"Answer: {' '.join(words[1:])}.")


def test_calculations_in_word_problems_are_true() -> None:
    for problem in some("word problems", 500):
        for sentence in problem.solution.split(". "):
            if "=" in sentence:
                left, right = sentence.split(": ")[-1].rstrip(".").split(" = ")
                a, sign, b = left.split()
                values = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}
                expected = values[sign] if sign in values else int(a) // int(b)
                assert expected == int(right)
                assert sign != "/" or int(a) % int(b) == 0


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "def f(x):\n    return f(x)\nf(1)",
        "x = [0] * 10**10",
        "raise SystemExit(0)",
        "import os; os._exit(0)",
        "import os; print('all tests passed', flush=True); os._exit(0)",
        "with open('file', 'w') as f: f.write('x' * 10)",
        "def f(:",
        "\x00",
    ],
)
def test_hostile_or_broken_code_fails_soon(source: str) -> None:
    start = time.monotonic()
    assert not passes(source, ["True"], seconds=1.0)
    assert time.monotonic() - start < 4.0


def test_code_passes_only_with_tests_that_are_true() -> None:
    assert passes("def f(x):\n    return x", ["f(1) == 1"])
    assert not passes("def f(x):\n    return x", ["f(1) == 1", "f(1) == 2"])
    assert not passes("def f(x):\n    return x", ["f(1)"])
    assert not passes("def f(x):\n    return x", [])


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_answers_are_read_from_any_text(text: str) -> None:
    answer = answer_of(text)
    assert answer is None or "\n" not in answer
    assert isinstance(code_of(text), str)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown task family poems"):
        next(problems("train", 0, ["poems"]))
