"""The loop on a canvas: against its definition on tables, and at its ends."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from adec.decoding.diffusion import eb_sampler, fast_dllm, reference_steps
from adec.decoding.diffusion.canvas_loop import CanvasStrategy
from adec.decoding.registry import METHODS
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.engines.table_canvas import TableCanvas
from adec.errors import UsageError
from adec.events.records import CanvasRecord, Guarantee, Step
from adec.sampling import Sampler
from tests.laws import prompt_of

SIZE = 8
END, MASK = SIZE - 2, SIZE - 1
Law = Callable[[tuple[int, ...], int], Sequence[float]]


def law(seed: int, end: float = 0.2) -> Law:
    """A law that depends on the whole canvas; an end token is likely by `end` of the others."""

    def distribution(canvas: tuple[int, ...], place: int) -> Sequence[float]:
        rng = random.Random(f"{seed} {canvas} {place}")
        weights = [math.exp(3 * rng.random()) for _ in range(SIZE)]
        weights[END] *= end
        weights[MASK] = 0.0
        return [weight / sum(weights) for weight in weights]

    return distribution


def steps_of(strategy: CanvasStrategy, prompt: list[int], limits: Limits) -> list[Step]:
    return list(strategy.generate(prompt_of(prompt), limits))


def answer_of(steps: Sequence[Step]) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


def steps(engine: TableCanvas, **settings: object) -> CanvasStrategy:
    made = reference_steps.StepsSettings(**settings)  # type: ignore[arg-type]
    return reference_steps.build(Engines(large=engine), made, Aids())


def threshold(engine: TableCanvas, **settings: object) -> CanvasStrategy:
    made = fast_dllm.ThresholdSettings(**settings)  # type: ignore[arg-type]
    return fast_dllm.build(Engines(large=engine), made, Aids())


def by_definition(
    distribution: Law, prompt: list[int], length: int, block: int, count: int, sampler: Sampler
) -> list[int]:
    """One position a forward, the likeliest proposal of the leftmost block; nothing cached."""
    canvas = [*prompt, *[MASK] * length]
    start = len(prompt)
    while True:
        written = canvas[start:]
        head = written[: written.index(MASK)] if MASK in written else written
        if END in head[:count]:
            return head[: head.index(END) + 1]
        if len(head) >= count:
            return head[:count]
        if MASK not in written:
            canvas += [MASK] * block
            continue
        first = start + len(head) // block * block
        end = min(first + block, len(canvas))
        places = [at for at in range(first, end) if canvas[at] == MASK]
        best: tuple[float, int, int] | None = None
        for at in places:
            scores = TableCanvas(distribution, size=SIZE).canvas_scores(canvas, positions=[at])
            token = sampler.pick(scores, 0, at)
            sure = scores.probability(0, token)
            if best is None or sure > best[0]:
                best = sure, at, token
        assert best is not None
        canvas[best[1]] = best[2]
        if best[2] == END:
            del canvas[best[1] + 1 :]


@pytest.mark.parametrize("seed", range(12))
def test_one_position_a_forward_is_what_its_definition_says(seed: int) -> None:
    for sampler in (Sampler(), Sampler(0.9, seed=seed)):
        for length, block, count in ((8, 4, 20), (4, 4, 11), (12, 12, 9)):
            distribution = law(seed)
            strategy = steps(TableCanvas(distribution, size=SIZE), canvas=length, block=block)
            made = steps_of(strategy, [0, 1], Limits(count, frozenset({END}), sampler))
            wanted = by_definition(distribution, [0, 1], length, block, count, sampler)
            assert answer_of(made) == wanted
            filled = [t.position for s in made for t in s.detail.filled]  # type: ignore[union-attr]
            assert len(filled) == len(made)


def test_what_is_unsure_waits_and_a_sure_canvas_takes_one_forward() -> None:
    never = threshold(TableCanvas(law(3), size=SIZE), canvas=8, block=4, probability=1.0)
    single = steps(TableCanvas(law(3), size=SIZE), canvas=8, block=4)
    limits = Limits(16, frozenset({END}))
    assert answer_of(steps_of(never, [0], limits)) == answer_of(steps_of(single, [0], limits))
    every = threshold(TableCanvas(law(3, end=0.0), size=SIZE), canvas=8, block=4, probability=0.0)
    made = steps_of(every, [0], Limits(16, frozenset({END})))
    assert [len(step.tokens) for step in made] == [4, 4, 4, 4]


@pytest.mark.parametrize("quota", [1, 2, 3, 5])
def test_a_quota_fills_so_many_a_forward(quota: int) -> None:
    strategy = steps(TableCanvas(law(1, end=0.0), size=SIZE), canvas=8, block=4, tokens=quota)
    made = steps_of(strategy, [0], Limits(8))
    sizes = [len(step.detail.filled) for step in made]  # type: ignore[union-attr]
    assert sizes == [min(quota, 4 - at) for at in range(0, 4, quota)] * 2
    assert strategy.guarantee is (Guarantee.EXACT if quota == 1 else Guarantee.APPROXIMATE)


@pytest.mark.parametrize("order", ["confidence", "margin", "entropy", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_tokens_come_in_order_and_are_those_of_the_canvas(order: str, seed: int) -> None:
    engine = TableCanvas(law(seed), size=SIZE)
    strategy = steps(engine, canvas=8, block=8, tokens=2, order=order)
    at, canvas = 0, dict[int, int]()
    masked = 8
    for step in strategy.generate(prompt_of([0, 1]), Limits(8, frozenset({END}))):
        assert isinstance(step.detail, CanvasRecord)
        for token in step.detail.filled:
            assert token.position is not None and token.position not in canvas
            canvas[token.position] = token.id
        for token in step.tokens:
            assert token.id == canvas[at]
            at += 1
        assert at == 8 or END in canvas.values() or at not in canvas
        assert step.detail.masked < masked
        masked = step.detail.masked
        assert step.fed("large") == len(engine.fed[-1])
    assert at > 0 and (at == 8 or canvas[at - 1] == END)


def test_an_end_token_cuts_off_what_lies_behind_it() -> None:
    def sure(canvas: tuple[int, ...], place: int) -> Sequence[float]:
        # the end comes first, at 5; then 4, 3, …
        row = [0.0] * SIZE
        row[END if place == 5 else 1] = 0.6 + (0.3 if place == 5 else 0.01 * place)
        row[2] = 1 - sum(row)
        return row

    engine = TableCanvas(sure, size=SIZE)
    made = steps_of(steps(engine, canvas=16, block=16), [0], Limits(50, frozenset({END})))
    assert answer_of(made) == [1, 1, 1, 1, END]
    assert [len(fed) for fed in engine.fed] == [17, 6, 6, 6, 6]
    assert [step.detail.length for step in made] == [5] * 5  # type: ignore[union-attr]
    assert [len(step.tokens) for step in made] == [0, 0, 0, 0, 5]


def test_limits_are_kept() -> None:
    endless = law(2, end=0.0)
    for count in (1, 5, 8, 9, 17):
        made = steps_of(steps(TableCanvas(endless, size=SIZE), canvas=8, block=4), [0] * 3,
                        Limits(count, frozenset({END})))  # fmt: skip
        assert len(answer_of(made)) == count
    tight = TableCanvas(endless, size=SIZE, context=9)
    made = steps_of(steps(tight, canvas=8, block=4), [0] * 3, Limits(50, frozenset({END})))
    assert len(answer_of(made)) == 6
    assert max(len(fed) for fed in tight.fed) == 9
    assert steps_of(steps(tight, canvas=4, block=4), [0], Limits(0)) == []


@pytest.mark.parametrize("method", ["steps", "freedave"])
def test_a_canvas_that_the_context_cuts_short_is_remarked_on(method: str) -> None:
    told: list[str] = []
    limits = Limits(1, frozenset({END}), remark=told.append)
    for context, more in ((9, "; a larger --ctx holds more"), (11, None)):
        engine = TableCanvas(law(2, end=0.0), size=SIZE, context=context)
        engine.info = replace(engine.info, context_limit=32)
        settings = METHODS[method].settings(canvas=8, block=4)
        strategy = METHODS[method].build(Engines(large=engine), settings, Aids())
        told.clear()
        assert list(strategy.generate(prompt_of([0] * 3), limits))
        if more is None:
            assert not told
        else:
            (line,) = told
            assert line.startswith("the canvas has 6 positions instead of 8")
            assert line.endswith(more)


def test_a_shorter_limit_changes_no_token() -> None:
    def answer(count: int) -> list[int]:
        strategy = steps(TableCanvas(law(5), size=SIZE), canvas=8, block=4)
        return answer_of(steps_of(strategy, [0], Limits(count)))

    for count in range(8):
        assert answer(count) == answer(8)[:count]


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_caches_compute_the_whole_canvas_once_a_block(cache: str) -> None:
    engine = TableCanvas(law(4, end=0.0), size=SIZE)
    made = steps_of(steps(engine, canvas=8, block=4, cache=cache), [0, 1], Limits(8))
    assert len(made) == 8
    begins = [list(range(10)), list(range(10))]
    rest = [range(2, 10), range(6, 10)] if cache == "prefix" else [range(2, 6), range(6, 10)]
    assert engine.fed == [
        begins[0], *[list(rest[0])] * 3, begins[1], *[list(rest[1])] * 3,
    ]  # fmt: skip
    assert [step.fed("large") for step in made] == [len(fed) for fed in engine.fed]


def test_where_nothing_else_changes_a_cache_changes_no_token() -> None:
    def local(canvas: tuple[int, ...], place: int) -> Sequence[float]:
        return law(7, end=0.0)(canvas[place - 1 : place], place)

    for cache in ("prefix", "dual"):
        plain = steps_of(steps(TableCanvas(local, size=SIZE), canvas=8, block=4), [0], Limits(12))
        cached = steps_of(
            steps(TableCanvas(local, size=SIZE), canvas=8, block=4, cache=cache), [0], Limits(12)
        )
        assert answer_of(plain) == answer_of(cached)


def test_sampling_one_position_a_forward_follows_the_joint_law() -> None:
    joint = {(0, 0): 0.4, (0, 1): 0.1, (1, 0): 0.2, (1, 1): 0.3}

    def conditional(canvas: tuple[int, ...], place: int) -> Sequence[float]:
        other = canvas[3 - place]  # the prompt is one token
        row = [0.0] * SIZE
        for pair, share in joint.items():
            if other in (MASK, pair[2 - place]):
                row[pair[place - 1]] += share
        return [value / sum(row) for value in row]

    seen: Counter[tuple[int, ...]] = Counter()
    count = 1500
    for seed in range(count):
        strategy = steps(TableCanvas(conditional, size=SIZE), canvas=2, block=2, order="random")
        made = steps_of(strategy, [0], Limits(2, sampler=Sampler(1.0, seed=seed)))
        seen[tuple(answer_of(made))] += 1
    chi = sum((seen[pair] - count * share) ** 2 / (count * share) for pair, share in joint.items())
    assert chi < 16.3  # 1 in 1,000 with three degrees of freedom


def test_one_seed_gives_one_answer() -> None:
    def run(seed: int) -> list[int]:
        strategy = threshold(TableCanvas(law(6), size=SIZE), canvas=8, block=4, probability=0.5)
        sampler = Sampler(1.0, seed=seed)
        return answer_of(steps_of(strategy, [0], Limits(12, frozenset({END}), sampler)))

    assert run(1) == run(1)
    assert len({tuple(run(seed)) for seed in range(8)}) > 1


def test_a_closed_generator_leaves_the_engine_usable() -> None:
    engine = TableCanvas(law(8), size=SIZE)
    strategy = steps(engine, canvas=8, block=4)
    whole = answer_of(steps_of(strategy, [0], Limits(8)))
    begun = iter(strategy.generate(prompt_of([0]), Limits(8)))
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert answer_of(steps_of(strategy, [0], Limits(8))) == whole


def test_a_block_must_divide_the_canvas() -> None:
    for kind in (
        reference_steps.StepsSettings, fast_dllm.ThresholdSettings, eb_sampler.EntropySettings,
    ):  # fmt: skip
        with pytest.raises(UsageError, match="does not divide"):
            kind(canvas=100, block=32)


def test_signals_are_left_out_where_nobody_reads_them() -> None:
    for signals in (True, False):
        strategy = steps(TableCanvas(law(8), size=SIZE), canvas=8, block=4)
        made = steps_of(strategy, [0], Limits(4, signals=signals))
        every = [token for step in made for token in step.tokens]
        assert all((token.entropy is not None) == signals for token in every)
        assert all((token.probability is not None) == signals for token in every)


def test_the_table_is_an_engine_by_type() -> None:
    assert isinstance(TableCanvas(law(0), size=SIZE), Engine)
