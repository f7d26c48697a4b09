"""Writes a task for `adec bench`: give a function back with one change.

    python -m tools.editing_task --out editing.jsonl
    adec bench --model MODEL --task editing.jsonl --strategies plain,lookup,suffix

The functions are those of the running Python's standard library, so that none is copied here. Five
changes take turns. A reply is right if the change is in it, which a regular expression sees.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import fnmatch
import glob
import heapq
import inspect
import json
import re
import shutil
import statistics
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FUNCTIONS: tuple[Callable[..., Any], ...] = (
    difflib.get_close_matches,
    textwrap.dedent,
    heapq.nsmallest,
    statistics.quantiles,
    fnmatch.translate,
    shutil.copyfile,
    textwrap.indent,
    shutil.copymode,
    statistics.linear_regression,
    glob.glob,
    shutil.which,
    statistics.fmean,
    difflib.unified_diff,
    heapq.nlargest,
    shutil.move,
    statistics.median_grouped,
    shutil.copytree,
    difflib.context_diff,
    statistics.correlation,
    inspect.getmodulename,
)


def _renamed(name: str, first: str) -> tuple[str, str]:
    return f"rename the function {name} to my_{name}", rf"def my_{name}\("


def _renamed_argument(name: str, first: str) -> tuple[str, str]:
    return f"rename its parameter {first} to given", r"def \w+\([^)]*\bgiven\b"


def _checked(name: str, first: str) -> tuple[str, str]:
    wanted = f"let it raise TypeError before anything else if {first} is None"
    return wanted, rf"if {first} is None"


def _printed(name: str, first: str) -> tuple[str, str]:
    return f"let it print {first} before anything else", rf"print\({first}\)"


def _commented(name: str, first: str) -> tuple[str, str]:
    return "put the comment # checked above its def", rf"# checked\s+def {name}"


CHANGES = (_renamed, _renamed_argument, _checked, _printed, _commented)


def cases() -> Iterator[dict[str, str]]:
    """The task's lines, the shortest function first."""
    sources = [textwrap.dedent(inspect.getsource(function)).strip() for function in FUNCTIONS]
    for number, source in enumerate(sorted(sources, key=len)):
        (definition,) = ast.parse(source).body
        if not isinstance(definition, ast.FunctionDef):
            continue
        arguments = [*definition.args.posonlyargs, *definition.args.args]
        if not arguments:
            continue
        first = arguments[0].arg
        change, seen = CHANGES[number % len(CHANGES)](definition.name, first)
        prompt = (
            f"Here is a Python function.\n\n```python\n{source}\n```\n\nChange one thing: {change}."
            " Reply with the whole function in one code block, everything else as it is, and"
            " nothing more."
        )
        re.compile(seen)
        yield {"prompt": prompt, "answer": seen, "match": "regex"}


def main() -> None:
    """Write the task."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    path = parser.parse_args().out
    lines = [json.dumps(case) + "\n" for case in cases()]
    path.write_text("".join(lines), encoding="utf-8")
    print(f"{path}: {len(lines)} cases")


if __name__ == "__main__":
    main()
