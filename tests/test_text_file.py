"""One treatment of encodings for every file and pipe of a user."""

from __future__ import annotations

import codecs
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from adec.benchmark.tasks.task_files import read_tasks
from adec.calibration.prompts import read_prompts
from adec.cli.prompt_input import read_prompt
from adec.errors import UsageError
from adec.judging.verifiers import CodeVerifier
from adec.text_file import decode_text

LINES = [f"Frage {n}: süß und „schön“ 漢?" for n in range(9)]
TEXT = "\n".join(LINES) + "\n"
ENCODED = {
    "utf-8": TEXT.encode(),
    "utf-8 with a mark": codecs.BOM_UTF8 + TEXT.encode(),
    "utf-16 le": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16 be": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-32": TEXT.encode("utf-32"),
    "utf-16 le, bare": TEXT.encode("utf-16-le"),
    "utf-16 be, bare": TEXT.encode("utf-16-be"),
    "crlf": TEXT.replace("\n", "\r\n").encode(),
    "crlf in utf-16": codecs.BOM_UTF16_LE + TEXT.replace("\n", "\r\n").encode("utf-16-le"),
}


@pytest.mark.parametrize("name", ENCODED)
def test_every_reader_reads_the_same_text(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ENCODED[name]
    file = tmp_path / "lines.txt"
    file.write_bytes(data)
    assert decode_text(data, 10**6, "it") == TEXT
    assert read_prompt(None, str(file)) == TEXT.rstrip("\n")
    assert read_prompt(None, str(file), raw=True) == TEXT
    assert read_prompt("then\n", str(file), raw=True) == TEXT.rstrip("\n") + "\n\nthen\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read_prompt("-", None) == TEXT.rstrip("\n")
    assert [task.prompt for task in read_tasks(file)] == LINES
    assert sorted(p.text for p in read_prompts(file, 0, answers=False).all) == LINES
    assert CodeVerifier.read(file).tests == tuple(LINES)


def test_broken_bytes_become_marks_and_zero_bytes_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a \xff b")
    assert read_prompt(None, str(file)) == "a \ufffd b"
    assert [task.prompt for task in read_tasks(file)] == ["a \ufffd b"]
    file.write_bytes(b"a\0b c")
    readers: list[Any] = [
        lambda: read_prompt(None, str(file)),
        lambda: list(read_tasks(file)),
        lambda: read_prompts(file, 0, answers=False),
        lambda: CodeVerifier.read(file),
    ]
    for read in readers:
        with pytest.raises(UsageError, match="zero byte"):
            read()


def test_a_line_ends_at_newlines_only(tmp_path: Path) -> None:
    """JSON may hold U+2028 inside a string: it ends no line."""
    file = tmp_path / "prompts.jsonl"
    texts = [f"{n}\u2028x\x85y" for n in range(8)]
    file.write_text("".join(f'{{"prompt": "{text}"}}\n' for text in texts), encoding="utf-8")
    assert sorted(p.text for p in read_prompts(file, 0, answers=False).all) == texts
    assert [task.prompt for task in read_tasks(file)] == texts
