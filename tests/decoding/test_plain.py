"""Plain decoding is the definition that the others are held against."""

from __future__ import annotations

from adec.decoding.plain import Plain
from adec.decoding.strategy import Limits
from adec.engines.table import TableEngine
from adec.events.records import Guarantee
from adec.sampling import Sampler
from tests.laws import law, prompt_of


def tokens_of(steps) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


def by_definition(
    distribution, prompt: list[int], count: int, end: int, sampler: Sampler
) -> list[int]:
    """One fresh engine a token: nothing cached, nothing shared."""
    sequence = list(prompt)
    while len(sequence) < len(prompt) + count:
        scores = TableEngine(distribution, size=6).forward(sequence)
        sequence.append(sampler.pick(scores, 0, len(sequence)))
        if sequence[-1] == end:
            break
    return sequence[len(prompt) :]


def test_it_is_argmax_after_argmax_and_draw_after_draw() -> None:
    for seed in range(10):
        for sampler in (
            Sampler(),
            Sampler(0.8, seed=seed),
            Sampler(1.2, top_k=3, top_p=0.9, seed=seed),
        ):
            distribution = law(6, seed)
            engine = TableEngine(distribution, size=6)
            steps = Plain(engine).generate(prompt_of([0, 1]), Limits(20, frozenset({5}), sampler))
            assert tokens_of(steps) == by_definition(distribution, [0, 1], 20, 5, sampler)


def test_a_long_prompt_is_read_in_chunks_and_counted_apart() -> None:
    engine = TableEngine(law(6, 1), size=6)
    steps = list(Plain(engine).generate(prompt_of([0] * 10), Limits(3, chunk=4)))
    assert [step.kind for step in steps[:3]] == ["prompt"] * 3
    assert [len(fed) for fed in engine.fed[:3]] == [4, 4, 2]
    assert sum(step.fed("large", prompt=True) for step in steps) == 10
    assert sum(step.fed("large") for step in steps) == 2  # the third token is never fed back


def test_the_context_ends_it() -> None:
    engine = TableEngine(law(6, 2), size=6, context=8)
    assert len(tokens_of(Plain(engine).generate(prompt_of([0] * 5), Limits(100)))) == 3


def test_signals_can_be_left_out() -> None:
    engine = TableEngine(law(6, 2), size=6)
    with_signals = [t for s in Plain(engine).generate(prompt_of([0]), Limits(4)) for t in s.tokens]
    without = [
        t
        for s in Plain(engine).generate(prompt_of([0]), Limits(4, signals=False))
        for t in s.tokens
    ]
    assert [t.id for t in with_signals] == [t.id for t in without]
    assert all(t.entropy is not None for t in with_signals)
    assert all(t.entropy is None for t in without)


def test_only_the_large_model_alone_is_exact() -> None:
    engine = TableEngine(law(6, 2), size=6)
    assert Plain(engine).guarantee is Guarantee.EXACT
    assert Plain(engine, "small").guarantee is Guarantee.APPROXIMATE
