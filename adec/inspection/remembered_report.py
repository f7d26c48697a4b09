"""`adec inspect remembered`: the answers that `adec run --remember` has kept, by vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adec.answering.remembered import Remembered, forget, remembered_files
from adec.display.wording import size
from adec.errors import UsageError
from adec.inspection.sheet import Block, Facts, Lines, Report, Table
from adec.places import kept_folder


def inspect_remembered() -> Report:
    """How many answers there are, and where. Their text is not shown: there is no model here."""
    files = [_file(path) for path in remembered_files()]
    data: dict[str, Any] = {
        "type": "remembered",
        "schema": 1,
        "folder": str(kept_folder("remembered")),
        "files": files,
    }
    if not files:
        return Report(data, [Lines("", ["nothing is remembered: adec run --remember begins it"])])
    rows = [
        (
            file["vocabulary"],
            f"{file['answers']:,}",
            f"{file['tokens']:,}",
            size(file["bytes"]),
            file["trouble"] or "",
        )
        for file in files
    ]
    header = ("vocabulary", "answers", "tokens", "size", "trouble")
    blocks: list[Block] = [
        Table("Remembered answers", header, rows, frozenset({1, 2, 3})),
        Facts("", [("folder", data["folder"]), ("to delete them", "inspect remembered --forget")]),
    ]
    return Report(data, blocks)


def forget_remembered() -> Report:
    """Delete the files. Raises UsageError if that fails."""
    try:
        gone = forget()
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be deleted: {error.strerror}") from error
    data = {"type": "forgotten", "schema": 1, "files": [str(path) for path in gone]}
    names = ", ".join(path.name for path in gone) or "nothing was there"
    return Report(data, [Lines("", [f"deleted: {names}"])])


def _file(path: Path) -> dict[str, Any]:
    found = Remembered(path).read()
    trouble = found.error or (f"lines ignored: {found.spoilt:,}" if found.spoilt else None)
    try:
        length = path.stat().st_size
    except OSError:
        length = 0
    return {
        "vocabulary": path.stem,
        "path": str(path),
        "answers": len(found.answers),
        "tokens": found.tokens,
        "bytes": length,
        "trouble": trouble,
    }
