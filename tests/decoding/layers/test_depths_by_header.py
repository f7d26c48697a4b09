"""What a model's depth cannot give is refused by its header, before weights are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from adec.decoding import settings
from adec.decoding.registry import check_method, find_method
from adec.engines.opening import read_header
from adec.errors import UsageError
from tests.engines.torch.tiny_folder import write_tiny_folder


@pytest.mark.parametrize(
    ("layers", "strategy", "values", "said"),
    [
        (4, "layerskip", {"exit": "4"}, "layerskip.exit=4: m has 4 layers"),
        (1, "layerskip", {}, "has 1 layers"),
        (1, "del", {}, "has one layer"),
        (2, "swift", {}, "no layer between"),
        (2, "skip", {}, "no layer between"),
        (4, "sorted", {"depth": "5"}, "sorted.depth=5: m has 4 layers"),
        (4, "sorted", {"first": "5"}, "sorted.first=5: m has 4 layers"),
        (4, "exits", {"control": "fixed", "depth": "5"}, "exits.depth=5"),
        (4, "exits", {"first": "9"}, "exits.first=9"),
        (4, "sec", {"control": "random", "depth": "5"}, "sec.depth=5"),
    ],
)
def test_a_depth_that_is_not_there(
    tmp_path: Path, layers: int, strategy: str, values: dict[str, str], said: str
) -> None:
    header = read_header(write_tiny_folder(tmp_path / "m", layers=layers))
    method = find_method(strategy)
    made = settings.build(method.settings, strategy, ("--set", values))
    with pytest.raises(UsageError, match=said):
        check_method(method, {"large": header}, made)


@pytest.mark.parametrize("strategy", ["layerskip", "del", "swift", "skip", "sorted"])
def test_what_is_there_is_not_refused(tmp_path: Path, strategy: str) -> None:
    header = read_header(write_tiny_folder(tmp_path / "m", layers=3))
    method = find_method(strategy)
    check_method(method, {"large": header}, settings.build(method.settings, strategy))
