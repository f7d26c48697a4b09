"""The order of the rooms: data goes one way, so a room imports from rooms below it only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import adec

PACKAGE = Path(adec.__file__).parent

# From the top down. A new room gets a line here, above every room that it imports.
ROOMS = (
    "cli",
    "inspection",
    "calibration",
    "benchmark",
    "answering",
    "profiles",
    "models",
    "practice",
    "decoding",
    "parts",
    "engines",
    "judging",
    "spreading",
    "display",
    "events",
    "defaults",
    "interrupts",
    "places",
    "text_file",
    "toml_file",
    "machine",
    "sampling",
    "signals",
    "tree",
    "whole_file",
    "errors",
)
OUTSIDE = ("__init__", "__main__")


def rooms_on_disk() -> set[str]:
    names = {path.stem for path in PACKAGE.glob("*.py")} - set(OUTSIDE)
    return names | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """(room, line) of every import of this package in a file, at module level or not."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "adec":
            names = [f"adec.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            names = [node.module]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "adec" and rest and rest.split(".")[0] in ROOMS:
                yield rest.split(".")[0], node.lineno


def test_every_room_has_its_place_in_the_order() -> None:
    assert rooms_on_disk() == set(ROOMS)


def test_no_room_imports_from_a_room_above_it() -> None:
    upward = []
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).with_suffix("").parts[0]
        if room in OUTSIDE:
            continue
        upward += [
            f"{file.relative_to(PACKAGE)}:{line}: {room} imports {other}, a room above it"
            for other, line in imports(file)
            if ROOMS.index(other) < ROOMS.index(room)
        ]
    assert upward == []


def test_a_name_stands_for_one_thing_in_the_house() -> None:
    modules: dict[str, list[str]] = {}
    classes: dict[str, list[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        place = str(file.relative_to(PACKAGE))
        if file.stem not in OUTSIDE:
            modules.setdefault(file.stem, []).append(place)
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(place)
    twice = {name: places for name, places in (modules | classes).items() if len(places) > 1}
    assert twice == {}
