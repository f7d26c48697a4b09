"""What is replayed on records is what a run does, as far as the large model's path goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.calibration.agreement import acceptance_by_depth, acceptance_by_rank, best_chain
from adec.calibration.recording import answer_from, record, record_from, to_data
from adec.calibration.replay import replay_ead, replay_ead_exact
from adec.calibration.replay_chains import (
    cascade_defers,
    replay_bild,
    replay_chain,
    replay_fly,
)
from adec.calibration.trial import Point, Runner
from adec.decoding.pair.bild import BildSettings
from adec.decoding.pair.clock.cost_curve import CostCurve, Curves
from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.pair.fly import FlySettings
from adec.decoding.plain import Plain
from adec.decoding.strategy import Limits
from adec.events.tally import Tally
from tests.calibration.tables import engines, plan_of, prompts
from tests.laws import prompt_of

CURVES = Curves(CostCurve({1: 10.0, 2: 11.0, 8: 17.0}), CostCurve({1: 1.0, 8: 3.0}))
TOKENS = 24


def path_of(pair, prompt, tokens=TOKENS):
    """The large model's own answer, and the record of it."""
    limits = Limits(tokens, frozenset({5}))
    steps = Plain(pair["large"]).generate(prompt_of(prompt), limits)
    answer = [token.id for step in steps for token in step.tokens]
    return answer, record(pair, prompt, answer)


def costs(steps) -> float:
    """What a run's forwards would have taken by the curves, prompts apart."""
    curve = {"large": CURVES.large, "small": CURVES.small}
    return sum(
        curve[f.model].ms(f.tokens) for s in steps for f in s.forwards if f.purpose != "prompt"
    )


@given(
    st.integers(0, 30),
    st.floats(0, 1.8),
    st.floats(0, 1),
    st.integers(1, 5),
    st.integers(0, 6),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_ead_replayed_is_ead_run(seed, up, share, window, dwell, reset) -> None:
    pair = engines(seed % 5)
    prompt = [seed % 5, (seed // 5) % 5, 1, 2]
    answer, kept = path_of(pair, prompt)
    chosen = EadSettings(up=up, down=up * share, window=window, dwell=dwell, reset=reset)
    replay = replay_ead([kept], chosen, CURVES)
    run = list(
        Ead(pair["small"], pair["large"], chosen).generate(
            prompt_of(prompt), Limits(TOKENS, frozenset({5}))
        )
    )
    written = [token for step in run for token in step.tokens]
    same = next(
        (i for i, (a, b) in enumerate(zip(written, answer, strict=False)) if a.id != b),
        min(len(written), len(answer)),
    )
    assert replay.replayed == same and replay.tokens == len(answer)
    assert replay.left == (same < len(answer))
    assert replay.large_tokens == sum(token.source == "large" for token in written[:same])
    if not replay.left:
        tally = Tally("ead", "approximate")
        for step in run:
            tally.add(step, 0.0)
        assert replay.wakes == tally.wakes
        assert replay.ms == pytest.approx(costs(run))
    assert replay.least <= replay.most


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("drafts", [1, 3, 5])
@pytest.mark.parametrize("alpha", [None, 0.1, 0.6])
def test_chains_replayed_are_chains_run(seed: int, drafts: int, alpha: float | None) -> None:
    """Cascade with its exact yardstick is a plain chain; with a knob it is the approximate method."""
    pair = engines(seed)
    asked = prompts(seed, 1, fit=1).fit[0]
    runner = Runner(plan_of(pair), pair, max_tokens=TOKENS)
    prompt = runner.encode(asked)
    answer, kept = path_of(pair, prompt)
    extra = (("accept", "exact"),) if alpha is None else (("alpha", alpha),)
    run = runner.run(Point("cascade", (("drafts", drafts), *extra)), asked)
    defers = None if alpha is None else [cascade_defers(kept, "optimal", alpha)]
    replay = replay_chain([kept], drafts, CURVES, defers=defers)
    common = next(
        (i for i, (a, b) in enumerate(zip(run.tokens, answer, strict=False)) if a != b),
        min(len(run.tokens), len(answer)),
    )
    assert replay.replayed == common
    assert replay.left == (common < len(answer))
    if alpha is None:
        assert not replay.left and replay.wakes == run.large_forwards


@pytest.mark.parametrize("fallback", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("rollback", [0.3, 1.5, 60.0])
def test_bild_replayed_is_bild_run_up_to_where_it_leaves_the_path(fallback, rollback) -> None:
    """Drafts after a wrong one are not on record, so where they are judged the replay may end earlier, never later."""
    chosen = BildSettings(fallback=fallback, rollback=rollback, longest=4)
    point = (("fallback", fallback), ("rollback", rollback), ("longest", 4))
    for seed in range(8):
        pair = engines(seed)
        asked = prompts(seed, 1, fit=1).fit[0]
        runner = Runner(plan_of(pair), pair, max_tokens=TOKENS)
        answer, kept = path_of(pair, runner.encode(asked))
        run = runner.run(Point("bild", point), asked)
        replay = replay_bild([kept], chosen, CURVES)
        common = _common(run.tokens, answer)
        assert replay.replayed == common and replay.left == (common < len(answer))
        if not replay.left and kept.agrees.all():
            assert replay.wakes == run.large_forwards


@pytest.mark.parametrize("gate", [0.0, 0.4, 99.0])
def test_fly_leaves_the_path_no_earlier_than_its_replay_says(gate: float) -> None:
    chosen = FlySettings(window=2, gate=gate, drafts=6)
    point = Point("fly", (("window", 2), ("gate", gate), ("drafts", 6)))
    for seed in range(8):
        pair = engines(seed)
        asked = prompts(seed, 1, fit=1).fit[0]
        runner = Runner(plan_of(pair), pair, max_tokens=TOKENS)
        answer, kept = path_of(pair, runner.encode(asked))
        replay = replay_fly([kept], chosen, CURVES)
        assert replay.replayed <= _common(runner.run(point, asked).tokens, answer)
        if gate == 99.0:
            assert not replay.left and replay.replayed == len(answer)


@pytest.mark.parametrize(("window", "dwell"), [(1, 0), (3, 2)])
def test_exact_ead_replayed_needs_as_many_wakes_as_run(window: int, dwell: int) -> None:
    """Where every draft is right, nothing off the path matters, and the replay is the run."""
    settled = 0
    for seed in range(12):
        pair = engines(seed, likeness=0.97)
        asked = prompts(seed, 1, fit=1).fit[0]
        runner = Runner(plan_of(pair), pair, max_tokens=TOKENS)
        _, kept = path_of(pair, runner.encode(asked))
        chosen = EadSettings(up=0.6, window=window, dwell=dwell, accept="exact", longest=5)
        replay = replay_ead_exact([kept], chosen, CURVES)
        assert not replay.left and replay.replayed == len(kept)
        if kept.agrees.all() and len(kept) > 2:
            settled += 1
            run = list(
                Ead(pair["small"], pair["large"], chosen).generate(
                    prompt_of(runner.encode(asked)), Limits(TOKENS, frozenset({5}))
                )
            )
            assert replay.ms == pytest.approx(costs(run))
    assert settled > 1


def _common(first, second) -> int:
    """Length of the common prefix."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )


def test_tables_count_what_they_say() -> None:
    pair = engines(1)
    kept = next(kept for i in range(5) if len(kept := path_of(pair, [i, 1])[1]) > 4)
    agrees = kept.agrees
    by_rank = acceptance_by_rank([kept])
    assert by_rank[0] == pytest.approx(agrees.mean()) and sum(by_rank) <= 1
    assert acceptance_by_depth([kept])[0] == pytest.approx(agrees[1:].mean())
    surely = Curves(CostCurve({1: 10.0, 64: 10.0}), CostCurve({1: 0.001}))
    assert best_chain([1.0], surely, 0.0)[0] == 16
    never = Curves(CostCurve({1: 10.0, 64: 640.0}), CostCurve({1: 10.0}))
    assert best_chain([0.5], never, 0.0)[0] == 0


def test_records_are_data_and_broken_data_is_noticed() -> None:
    pair = engines(2)
    _, kept = path_of(pair, [0, 1, 2])
    data = to_data(kept)
    again = record_from(data)
    assert again.tokens == kept.tokens
    assert np.allclose(again.small_entropy, kept.small_entropy, atol=1e-5)
    assert np.allclose(again.large_list, kept.large_list, atol=1e-5)
    assert (again.small_ids == kept.small_ids).all()
    for broken in (
        {**data, "rank": [1.0]},
        {**data, "tokens": []},
        {"tokens": [1]},
        {**data, "distance": "x"},
        {**data, "distance": data["small_list"]},
        {**data, "small_ids": data["distance"]},
        {**data, "small_ids": [[]] * len(kept)},
        {**data, "large_ids": [[-1.0] * len(row) for row in data["large_ids"]]},
    ):
        with pytest.raises((ValueError, TypeError, KeyError)):
            record_from(broken)
    with pytest.raises((ValueError, TypeError, KeyError)):
        answer_from({"tokens": [1], "text": "a", "ms": 1.0, "right": "yes"})


def test_record_says_what_the_rows_say() -> None:
    pair = engines(3)
    prompt = [0, 1, 2]
    answer, kept = path_of(pair, prompt)
    pair["large"].rewind(0)
    pair["small"].rewind(0)
    large = pair["large"].forward([*prompt, *answer[:-1]], rows=len(answer))
    small = pair["small"].forward([*prompt, *answer[:-1]], rows=len(answer))
    for i, token in enumerate(answer):
        assert kept.large_entropy[i] == pytest.approx(large.entropy(i))
        assert kept.small_top[i] == pytest.approx(small.probability(i, small.argmax(i)))
        order = [t for t, _ in small.top(i, 6)]
        assert kept.rank[i] == order.index(token)
        assert kept.surprise[i] == pytest.approx(
            -np.log(large.probability(i, small.argmax(i))), rel=1e-5
        )
