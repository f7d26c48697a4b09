"""The figures of a run, from its steps."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adec.events.records import Forward, Purpose, Step, Token
from adec.events.tally import MOST_NAMES, Tally


def step(kind="draft", *, source="small", forwards=(), count=1, **more) -> Step:
    return Step(kind, tuple(Token(i, source) for i in range(count)), tuple(forwards), **more)


def tally_of(*steps: Step, **more) -> Tally:
    tally = Tally("ead", "approximate", **more)
    for i, one in enumerate(steps):
        tally.add(one, float(i))
    return tally


def large(tokens: int, ms: float) -> Forward:
    return Forward("large", "write" if tokens == 1 else "catch_up", tokens, ms)


def test_tokens_and_reading_are_counted_by_model_and_purpose() -> None:
    tally = tally_of(
        Step("prompt", (), (Forward("small", "prompt", 30, 5.0),)),
        step(forwards=[Forward("small", "draft", 1, 1.0)]),
        step("wake", source="large", forwards=[large(7, 10.0)], own_ms=0.5, drafted=3, accepted=2),
        step("write", source="large", forwards=[large(1, 4.0)]),
    )
    summary = tally.summary(9.0)
    assert (summary["tokens"], summary["large_tokens"], summary["small_tokens"]) == (3, 2, 1)
    assert (summary["small_fed"], summary["large_fed"], summary["small_prompt_fed"]) == (1, 8, 30)
    assert (summary["wakes"], summary["drafted"], summary["accepted"]) == (1, 3, 2)
    assert summary["prompt_ms"] == 5 and summary["catch_up_ms"] == 10
    assert tally.decode_ms == 15.5 and summary["first_token_seconds"] == 1.0
    assert summary["tokens_per_second"] == pytest.approx(2000 / 15.5)


SOURCES = st.sampled_from(["large", "small", "lookup", "layer:12", "expert:2"]) | st.text(
    max_size=9
)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(SOURCES, st.integers(0, 3)), max_size=30),
    st.lists(st.tuples(SOURCES, st.sampled_from(get_args(Purpose)), st.integers(0, 9))),
)
def test_every_source_and_model_is_counted_as_what_it_is(
    written: list[tuple[str, int]], forwards: list[tuple[str, Purpose, int]]
) -> None:
    steps = [step(source=source, count=count) for source, count in written]
    steps += [step(count=0, forwards=[Forward(m, p, n, 1.0)]) for m, p, n in forwards]
    tally = tally_of(*steps)
    summary = tally.summary(1.0)
    by_source = summary["tokens_by_source"]
    assert sum(by_source.values()) == summary["tokens"] == sum(count for _, count in written)
    assert set(by_source) == {source for source, count in written if count}
    for role in ("small", "large"):
        assert summary[f"{role}_tokens"] == by_source.get(role, 0)
        assert tally.share(role) == by_source.get(role, 0) / max(1, summary["tokens"])
        assert summary[f"{role}_fed"] == summary["fed_by_model"].get(role, 0)
        assert summary[f"{role}_prompt_fed"] == summary["prompt_fed_by_model"].get(role, 0)
        assert summary[f"{role}_forwards"] == summary["forwards_by_model"].get(role, 0)
    decoding = [(m, n) for m, p, n in forwards if p not in ("prompt", "rewind")]
    for model in {m for m, _, _ in forwards}:
        fed = sum(n for m, n in decoding if m == model)
        read = sum(n for m, p, n in forwards if m == model and p == "prompt")
        assert summary["fed_by_model"].get(model, 0) == fed
        assert summary["prompt_fed_by_model"].get(model, 0) == read
        assert summary["forwards_by_model"].get(model, 0) == [m for m, _ in decoding].count(model)
    assert summary["rewind_ms"] == [p for _, p, _ in forwards].count("rewind")
    assert set(summary["forwards_by_model"]) == {m for m, _ in decoding}


def test_names_from_anybody_take_no_more_room_than_a_few() -> None:
    tally = tally_of(*[step(source=f"{i}") for i in range(999)], step(source="x" * 9_999))
    by_source = tally.summary(1.0)["tokens_by_source"]
    assert len(by_source) == MOST_NAMES + 1
    assert sum(by_source.values()) == 1000 == by_source["other"] + MOST_NAMES


def test_the_plain_speed_is_measured_or_taken_from_the_profile_or_fitted_or_unknown() -> None:
    assert (
        tally_of(*[step(forwards=[large(1, ms)]) for ms in (4.0, 90.0, 5.0)]).summary(1)[
            "plain_ms_per_token"
        ]
        == 5.0
    )
    from_profile = tally_of(step(forwards=[large(1, 4.0)]), plain_ms=7.0).summary(1)
    assert (from_profile["plain_ms_per_token"], from_profile["plain_ms_from"]) == (7.0, "profile")
    curve = tally_of(replace(step(forwards=[large(3, 9.0)]), plain_ms=6.0), plain_ms=7.0).summary(1)
    assert (curve["plain_ms_per_token"], curve["plain_ms_from"]) == (6.0, "curve")
    fitted = tally_of(*[step(forwards=[large(n, 3.0 + 2.0 * n)]) for n in (2, 3, 4, 5, 6, 7)])
    assert fitted.plain_ms_per_token == pytest.approx(5.0)
    assert fitted.summary(1)["plain_ms_from"] == "fitted"
    assert tally_of(*[step(forwards=[large(4, 9.0)])] * 9).plain_ms_per_token is None
    assert tally_of(step()).saved_seconds is None


@pytest.mark.parametrize("origin", ["curve", "profile"])
@pytest.mark.parametrize("factor", [0.1, 0.4, 0.6, 1.0, 1.8, 5.0, 50.0])
def test_no_gain_is_claimed_from_a_yardstick_of_another_load(origin: str, factor: float) -> None:
    """Forwards of four tokens here take 9 ms: between one and four times a token's time."""
    plain_ms = (9.0 if factor > 1 else 9.0 / 4) * factor
    steps = [step(forwards=[large(4, 9.0)]) for _ in range(5)]
    if origin == "curve":
        steps = [replace(each, plain_ms=plain_ms) for each in steps]
    tally = tally_of(*steps, plain_ms=plain_ms if origin == "profile" else None)
    summary = tally.summary(1)
    if 0.5 <= factor <= 2:
        assert (summary["plain_ms_per_token"], summary["plain_ms_from"]) == (plain_ms, origin)
        assert summary["speedup"] is not None
    else:
        assert summary["plain_ms_from"] == "contradicted"
        assert summary["plain_ms_per_token"] is summary["speedup"] is None
        assert summary["saved_seconds"] is None and tally.speedup is None


def test_a_contradicted_curve_gives_way_to_what_holds() -> None:
    steps = [replace(step(forwards=[large(4, 9.0)]), plain_ms=500.0) for _ in range(5)]
    assert tally_of(*steps, plain_ms=6.0).summary(1)["plain_ms_from"] == "profile"
    measured = [step(forwards=[large(1, 4.0)]) for _ in range(3)]
    assert tally_of(*steps, *measured).summary(1)["plain_ms_from"] == "measured"


def test_the_speedup_is_plain_time_over_this_time() -> None:
    steps = [step("write", source="large", forwards=[large(1, 10.0)]) for _ in range(3)]
    steps += [step(forwards=[Forward("small", "draft", 1, 1.0)]) for _ in range(7)]
    summary = tally_of(*steps).summary(1)
    assert summary["speedup"] == pytest.approx(90 / 37)
    assert summary["tokens_per_large_forward"] == pytest.approx(3.0)
    assert tally_of(step()).summary(1)["speedup"] is None


def test_saved_time_is_against_the_large_model_alone() -> None:
    steps = [step("write", source="large", forwards=[large(1, 10.0)]) for _ in range(3)]
    steps += [step(forwards=[Forward("small", "draft", 1, 1.0)]) for _ in range(7)]
    assert tally_of(*steps).saved_seconds == pytest.approx((9 * 10 - 37) / 1000)
