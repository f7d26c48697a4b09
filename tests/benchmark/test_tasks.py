"""Tasks: where they come from, what a file may say, how replies are judged."""

from __future__ import annotations

import json
import math
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.benchmark.tasks import dependence
from adec.benchmark.tasks.task import Task
from adec.benchmark.tasks.task_files import LINE_CHARACTERS, read_tasks
from adec.benchmark.tasks.task_sources import find_source, names
from adec.errors import UsageError


def said(match, answer: str, reply: str, *, given: str = "", allow_exec: bool = False):
    task = Task(0, "p", "g", match=match, answer=answer, given=given)
    return task.judge(reply, allow_exec=allow_exec)


@pytest.mark.parametrize(
    ("match", "answer", "reply", "right"),
    [
        ("exact", "Rome", " Rome\n", True),
        ("exact", "Rome", "He lives there. Answer: Rome.", True),
        ("exact", "Rome", "Rome or Oslo", False),
        ("number", "1240", "So we have 3 and then 1,240.", True),
        ("number", "1240", "1240 of 2000", False),
        ("number", "0.5", "Answer: 0.50 (of 3)", False),
        ("number", "0.5", "it is 0.50", True),
        ("number", "-3", "-3", True),
        ("number", "3", "none", False),
        ("regex", r"\bcat\b", "a cat sat", True),
        ("regex", r"\bcat\b", "concat", False),
        ("list", "b a", "Answer: b, a.", True),
        ("list", "b a", "a b", False),
        ("reordered", "a b c", "c a b", True),
        ("reordered", "a b c", "a b c", False),
        ("reordered", "a b c", "c a a", False),
        ("one less", "a b c", "a c", True),
        ("one less", "a b c", "c a", False),
    ],
)
def test_judging(match, answer: str, reply: str, right: bool) -> None:
    assert said(match, answer, reply) is right


def test_edits_at_any_place() -> None:
    assert said("one more", "a b", "a x b", given="x") is True
    assert said("one more", "a b", "a b x", given="x") is True
    assert said("one more", "a b", "a b b", given="x") is False
    assert said("one replaced", "a b", "x b", given="x") is True
    assert said("one replaced", "a b", "x x", given="x") is False
    assert said("one replaced", "a b", "a b x", given="x") is False


def test_a_pattern_that_never_ends_is_stopped() -> None:
    assert said("regex", r"(a+)+$", "a" * 40 + "b") is False


def test_commands_run_only_when_allowed(tmp_path: Path) -> None:
    assert said("command", "grep -q cat", "a cat") is None
    assert said("command", "grep -q cat", "a cat", allow_exec=True) is True
    assert said("command", "grep -q cat", "a dog", allow_exec=True) is False
    mark = tmp_path / "mark"
    assert said("command", f"true; touch {mark}", "", allow_exec=True) is not None
    assert not mark.exists(), "a command is no shell line"


def test_code_runs_only_when_allowed() -> None:
    task = next(find_source(["functions"], 1, 0).begin())
    assert task.problem is not None and task.runs_code
    assert task.judge(task.problem.solution, allow_exec=False) is None
    assert task.judge(task.problem.solution, allow_exec=True) is True
    assert task.judge("import os", allow_exec=True) is False


def test_every_named_task_gives_what_it_says_and_accepts_its_own_answer() -> None:
    for name in names():
        source = find_source([name], 6, 3)
        tasks = list(source.begin())
        assert [task.index for task in tasks] == list(range(6)) and source.count == 6
        assert tasks == list(source.begin())
        assert tasks != list(find_source([name], 6, 4).begin())
        for task in tasks:
            if task.problem is not None:
                assert task.judge(task.problem.solution, allow_exec=True) is True


def test_several_tasks_come_one_after_the_other(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("one\n\ntwo\nthree\n")
    source = find_source([str(file), "copy"], 2, 0)
    assert [(t.index, t.group) for t in source.begin()] == [
        (0, "mine"), (1, "mine"), (2, "dependence"), (3, "dependence")
    ]  # fmt: skip
    with pytest.raises(UsageError, match="Did you mean reverse"):
        find_source(["revers"], None, 0)


@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_dependence_is_what_the_closed_forms_say(size: int) -> None:
    for kind in ("copy", "reverse", "sort", "replace index", "remove index", "insert index"):
        assert dependence.total_correlation(kind, size) == 0
    n = size
    binary = -(1 / n) * math.log(1 / n) - (1 - 1 / n) * math.log(1 - 1 / n)
    assert math.isclose(
        dependence.total_correlation("replace random", n), n * binary - math.log(n), abs_tol=1e-9
    )
    assert dependence.total_correlation("remove random", n) > 0
    assert dependence.total_correlation("insert random", n) > 0
    whole = n * math.log(n) - math.lgamma(n + 1)
    assert abs(dependence.total_correlation("shuffle", n) - whole) < 2 / n


def test_right_answers_of_dependence_tasks_by_construction() -> None:
    for task in islice(dependence.tasks(1, list(dependence.PROMPTS)), 40):
        words = task.answer.split()
        edited = {
            "reordered": words[1:] + words[:1],
            "one more": [task.given, *words],
            "one less": words[1:],
            "one replaced": [task.given, *words[1:]],
        }.get(task.match, words)
        assert task.judge(f"Answer: {' '.join(edited)}.", allow_exec=False) is True
        assert task.judge("Answer: none of these.", allow_exec=False) is False
        assert (task.dependence_nats == 0) == (task.match == "list")


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n")
    return path


def test_a_jsonl_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl",
        {"prompt": "a"},
        "",
        {"prompt": "b", "answer": 3.5, "id": 9},
        {"prompt": "c", "answer": "x"},
        {"prompt": "d", "answer": "x+", "match": "regex", "category": "c" * 100},
    )
    tasks = list(read_tasks(path))
    assert [(t.index, t.match, t.answer) for t in tasks] == [
        (0, None, ""), (1, "number", "3.5"), (2, "exact", "x"), (3, "regex", "x+")
    ]  # fmt: skip
    assert [t.kind for t in tasks] == ["", "", "", "c" * 80]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "malformed|truncated"), ("[1]", "Expected `object`"), ('{"answer": "x"}', "`prompt`"),
        ('{"prompt": " "}', "no prompt"), ('{"prompt": 3}', r"at `\$\.prompt`"),
        ('{"prompt": "a", "match": "exact"}', "no answer"),
        ('{"prompt": "a", "answer": []}', r"at `\$\.answer`"),
        ('{"prompt": "a", "answer": true}', r"at `\$\.answer`"),
        ('{"prompt": "a", "answer": 1e999}', "out of range"),
        ('{"prompt": "a", "answer": "x", "match": "fuzzy"}', r"'fuzzy' - at `\$\.match`"),
        ('{"prompt": "a", "answer": "x", "match": "list"}', r"'list' - at `\$\.match`"),
        ('{"prompt": "a", "answer": "(", "match": "regex"}', "no regular expression"),
        ('{"prompt": "a", "answer": "x", "match": "number"}', "no number"),
        ('{"prompt": "a", "answer": "\'", "match": "command"}', "cannot be split"),
        ('{"prompt": "a", "answer": " ", "match": "command"}', "is empty"),
        ("[" * 100_000, "nested|Expected `object`"), ('{"prompt": ' + "9" * 5000 + "}", "prompt"),
        ('{"prompt": "a", "more": ' + "[" * 100_000 + "}", "nested|malformed"),
        ("x" * (LINE_CHARACTERS + 1), "longer than"), ("a\0b", "zero byte"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = write(tmp_path / "t.jsonl", {"prompt": "fine"}, line)
    with pytest.raises(UsageError, match=why) as caught:
        list(read_tasks(path))
    assert "line 2" in str(caught.value) and len(str(caught.value)) < 400


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
def test_any_bytes_are_tasks_or_one_error(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "t.jsonl"
    path.write_bytes(data)
    try:
        for task in read_tasks(path):
            assert task.prompt.strip()
    except UsageError as error:
        assert str(path) in str(error)
