"""Prompt files: what is read, what is refused and how."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adec.calibration.prompts import built_in, ends_right, read_prompts
from adec.errors import UsageError


def lines(*items: object) -> str:
    return "\n".join(json.dumps(item) if not isinstance(item, str) else item for item in items)


GOOD = [{"prompt": f"What is {i} + 1?", "answer": i + 1} for i in range(12)]


def test_both_forms_are_read_and_split(tmp_path: Path) -> None:
    plain, jsonl = tmp_path / "p.txt", tmp_path / "p.jsonl"
    plain.write_text("\n\n".join(f"prompt {i}" for i in range(12)) + "\n")
    jsonl.write_text(lines(*GOOD))
    for path, answers in ((plain, False), (jsonl, True)):
        found = read_prompts(path, 3, answers=answers)
        assert len(found.fit) == 4 and len(found.held_out) == 8
        assert len({p.text for p in found.all}) == 12
        again, other = (
            read_prompts(path, 3, answers=answers),
            read_prompts(path, 4, answers=answers),
        )
        assert [p.text for p in again.all] == [p.text for p in found.all]
        assert [p.text for p in other.all] != [p.text for p in found.all]
    judged = {p.text: p.right for p in read_prompts(jsonl, 0, answers=True).all}["What is 4 + 1?"]
    assert judged is not None and judged("It is 5.") and not judged("It is 15.")


def test_repeated_prompts_count_once_so_that_none_is_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("\n".join(f"prompt {i % 9}" for i in range(30)))
    found = read_prompts(path, 0, answers=False)
    assert not {p.text for p in found.fit} & {p.text for p in found.held_out}
    assert found.remarks == ("21 repeated prompts of p.txt count once",)


@pytest.mark.parametrize(
    ("name", "text", "answers", "said"),
    [
        ("p.txt", "", False, "is empty"),
        ("p.txt", " \n\n", False, "is empty"),
        ("p.txt", "just one", False, "has 1 prompt; a calibration needs 8"),
        ("p.txt", "a\n" * 30, False, "has 1 prompt"),
        ("p.txt", "a\nb\nc", False, "has 3 different prompts"),
        ("p.txt", "a\nb", True, "is plain text"),
        ("p.jsonl", lines(*GOOD, {"question": "x"}), False, 'line 13 has no "prompt"'),
        ("p.jsonl", lines(*GOOD, "[1]"), False, 'line 13 has no "prompt"'),
        ("p.jsonl", lines(*GOOD, {"prompt": 3}), False, '"prompt" is not a text'),
        ("p.jsonl", lines(*GOOD, "{"), False, "line 13 is not JSON"),
        ("p.jsonl", lines(*GOOD, {"prompt": "x"}), True, 'has no "answer"'),
        ("p.jsonl", lines(*GOOD, {"prompt": "x", "answer": []}), True, "neither a text nor"),
        ("p.jsonl", "{" * 100_000, False, "is not JSON"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, name: str, text: str, answers: bool, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_prompts(path, 0, answers=answers)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompts(tmp_path / "none.txt", 0, answers=False)


def test_the_built_in_ones_know_their_answers() -> None:
    found = built_in(5, 30)
    assert len(found.fit) == 10 and len(found.held_out) == 20
    assert all(prompt.right is not None for prompt in found.all)
    assert [p.text for p in built_in(6, 30).all] != [p.text for p in found.all]


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("Answer: 42.", "42", True),
        ("Answer: 41\nAnswer: 42", "42", True),
        ("Answer: 142", "42", False),
        ("so it is Blue.", "blue", True),
        ("142", "42", False),
        ("", "42", False),
        ("Answer:", "42", False),
    ],
)
def test_right_answers(reply: str, answer: str, right: bool) -> None:
    assert ends_right(reply, answer) is right
