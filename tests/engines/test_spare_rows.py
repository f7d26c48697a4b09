"""Rows are used again only when nobody can see it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adec.engines.llama.session import SpareRows
from adec.signals import ArrayScores


@given(
    st.lists(
        st.tuples(st.sampled_from(["array", "view", "scores", "drop"]), st.integers(0, 9)),
        max_size=60,
    )
)
def test_what_somebody_holds_never_changes(uses) -> None:
    rows, held = SpareRows(3), []
    for number, (use, which) in enumerate(uses):
        row, address = rows.take()
        assert address == row.ctypes.data
        row[:] = number
        if use == "array":
            held.append((row, number))
        elif use == "view":
            held.append((row[0, 1:], number))
        elif use == "scores":
            held.append((ArrayScores(row).row(0), number))
        elif held:
            del held[which % len(held)]
        del row
        for values, expected in held:
            assert np.all(values == expected)


def test_one_array_serves_who_holds_one_at_a_time() -> None:
    rows = SpareRows(3)
    seen = set()
    scores = None
    for _ in range(50):
        row, address = rows.take()
        assert address == row.ctypes.data
        seen.add(id(row))
        scores = ArrayScores(row)
        del row
    assert scores is not None and len(seen) <= 2
