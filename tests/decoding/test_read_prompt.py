"""A prompt is read in parts that cost no more than they must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.answer import BLOCK, read_prompt
from adec.decoding.strategy import Limits
from adec.engines.table import TableEngine
from tests.laws import law


@given(
    st.integers(1, 1200),
    st.lists(st.sampled_from([BLOCK, 2 * BLOCK]), max_size=2, unique=True),
)
def test_reading_a_part_for_its_time_begins_no_further_block(count: int, timed: list[int]) -> None:
    timed = timed if 2 * sum(timed) <= count else []
    engine = TableEngine(law(6, 1, order=1), size=6, context=1200)
    ids = [n % 6 for n in range(count)]
    reading = read_prompt(engine, "large", ids, Limits(1), timed)
    sizes = [forward.tokens for step in reading for forward in step.forwards]
    assert sum(sizes) == count == engine.length
    assert all(sizes.count(size) >= timed.count(size) for size in timed)
    assert sum(-(-size // BLOCK) for size in sizes) == -(-count // BLOCK)
    assert max(sizes) <= Limits(1).chunk
