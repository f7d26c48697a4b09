"""The pages under docs/ say what the code is: every room, every strategy, every link."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from adec.answering.choice import Choice
from adec.benchmark.bench_rows import plan_bench
from adec.benchmark.runner import BenchSettings
from adec.cli.completion import commands as command_tree
from adec.decoding.registry import METHODS
from adec.engines.base import OpenOptions
from tests.test_rooms import PACKAGE, ROOMS
from tools.strategies_page import PAGE, page

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "profiles" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
FENCED = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)


def test_the_page_of_strategies_is_current() -> None:
    hint = "run: python -m tools.strategies_page"
    assert PAGE.read_text(encoding="utf-8") == page(), hint


def test_every_strategy_has_a_section_with_every_setting() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, method in METHODS.items():
        section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for field in dataclasses.fields(method.settings):
            assert f"| `{name}.{field.name}` |" in section


def test_every_room_is_described_in_order() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    described = re.findall(r"^\| `([a-z_]+)(?:/|\.py)` \|", text, flags=re.MULTILINE)
    assert tuple(described) == ROOMS


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_a_page_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    files = [f"/{path.relative_to(ROOT)}" for path in ROOT.rglob("*.py")]
    for named in re.findall(r"[\w/]*\w\.py\b", text):
        assert any(file.endswith(f"/{named}") for file in files), named
    for folder in re.findall(r"`([\w/]+/)`", text):
        rooms = (ROOT, PACKAGE, PACKAGE / "decoding")
        assert any((room / folder).is_dir() for room in rooms), folder


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_link_leads_nowhere(file: Path) -> None:
    text = FENCED.sub("", file.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), target
        assert not anchor or anchor in _anchors(there), target


def commands() -> list[str]:
    """The commands in fenced blocks of the pages for developers, each on one line."""
    blocks = "".join("".join(FENCED.findall(file.read_text(encoding="utf-8"))) for file in PAGES)
    lines = re.sub(r" *\\\n *", " ", blocks).splitlines()
    return [line.strip() for line in lines if re.match(r" *(adec|python -m) ", line)]


@pytest.mark.parametrize("line", dict.fromkeys(commands()))
def test_a_command_that_a_page_shows_is_one_that_there_is(line: str) -> None:
    words = shlex.split(line.split(" | ")[0].split(" > ")[0], comments=True)
    if words[0] == "python":
        assert importlib.util.find_spec(words[2]) is not None
        return
    known = {command.name: command for command in command_tree()}
    flags = {name for option in known[words[1]].options for name in option.names}
    given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= flags
    if words[1] == "bench" and "--strategies" in words:
        rows = words[words.index("--strategies") + 1]
        model = words[words.index("-m") + 1] if "-m" in words else ""
        # a model that lies here for sure; others may not
        choice = Choice(model=model) if model.startswith("practice:") else Choice()
        plan_bench(choice, rows, OpenOptions(), BenchSettings(max_tokens=1))


def _anchors(file: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
