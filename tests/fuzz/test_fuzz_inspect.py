"""A short run of the fuzzer; `python -m tests.fuzz.fuzz_inspect -n 100000` is a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzz_inspect import judged, run

KINDS = ("trace", "profile", "gguf", "folder", "settings", "samples", "result", "tasks")
MUTANTS = 200


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.mark.parametrize("kind", KINDS)
def test_mutants_are_shown_or_refused_in_one_line(shop: Path, kind: str) -> None:
    findings = run(shop, 5, range(MUTANTS), only=kind)
    assert findings.found == []
    assert sum(findings.counts.values()) == MUTANTS and findings.counts[f"{kind} refused"] > 10


def test_the_judge_finds_what_is_wrong() -> None:
    """Else the tests above could not fail."""
    import sys

    from adec.errors import UsageError

    def refuse() -> int:
        raise UsageError("two\nlines are one")

    def leak() -> int:
        sys.stdout.write("\x1b[2J")
        return 0

    def half() -> int:
        sys.stdout.write("\ud800")
        return 0

    def crash() -> int:
        raise RecursionError

    def silent() -> int:
        return 1

    def good() -> int:
        sys.stdout.write("{}\n")
        return 0

    assert judged(["x"], refuse) == ("refused", None)
    assert judged(["x", "--json"], good) == ("shown", None)
    for call, said in (
        (leak, "act on"),
        (half, "UnicodeEncodeError"),
        (crash, "RecursionError"),
        (silent, "0 lines"),
    ):
        assert said in (judged(["x"], call)[1] or "")
