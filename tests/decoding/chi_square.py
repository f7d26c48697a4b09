"""Whether a strategy samples the law of a model: the first two tokens jointly, by chi-square."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from adec.decoding.strategy import Limits
from adec.engines.base import Engine
from adec.sampling import Sampler
from tests.laws import prompt_of

SEEDS = 2500


def assert_samples_the_law(
    strategy: Any, model: Callable[[], Engine], prompt: list[int], sampler: Sampler
) -> None:
    """Fails if the tokens of `strategy` over 2500 seeds are not drawn as `model` draws.

    The seeds are fixed, so a test does not flicker; a sound sampler fails it for one choice of
    seeds in a million (upper 1e-6 point of chi-square by Wilson and Hilferty, z = 4.753).
    """
    counts: Counter[tuple[int, ...]] = Counter()
    judged = 0
    for seed in range(SEEDS):
        limits = Limits(3, sampler=replace(sampler, seed=seed), signals=False)
        steps = list(strategy.generate(prompt_of(prompt), limits))
        judged += sum(step.drafted for step in steps)
        counts[tuple(token.id for step in steps for token in step.tokens)[:2]] += 1
    assert judged > SEEDS / 2  # the second token is mostly one that was drafted
    statistic, cells = 0.0, 0
    first = sampler.distribution(model().forward(prompt).row(0))
    for a, chance in enumerate(first):
        row = model().forward([*prompt, a]).row(0)
        for b, share in enumerate(sampler.distribution(row)):
            expected = SEEDS * chance * share
            if expected == 0:
                assert counts[a, b] == 0
            else:
                statistic += (counts[a, b] - expected) ** 2 / expected
                cells += 1
    freedom = cells - 1
    bound = freedom * (1 - 2 / (9 * freedom) + 4.753 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert statistic < bound, (statistic, bound)
