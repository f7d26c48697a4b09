"""Settings of the rules of diffusion models that a calibration looks at.

Each rule has a grid, the knobs in it that trade quality for time, and its paper's constants, which
are always among what is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from adec.calibration.trials.trial import Point

Knobs = tuple[str, ...]
Published = tuple[tuple[str, object], ...]


def _grid(name: str, **values: Sequence[object]) -> list[Point]:
    """Every combination of the settings."""
    return [
        Point(name, tuple(zip(values, chosen, strict=True))) for chosen in product(*values.values())
    ]


THRESHOLDS = (0.995, 0.99, 0.98, 0.97, 0.95, 0.92, 0.9, 0.87, 0.83, 0.78, 0.7, 0.6, 0.5)
FACTORS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
PROPHET_GAPS = (7.5, 5.0, 2.5)
"""The paper's, in the first third, the second and the last."""

CANVAS_GRIDS: Mapping[str, tuple[Sequence[Point], Knobs, Published]] = {
    "threshold": (
        [
            *_grid("threshold", probability=THRESHOLDS),
            *_grid("threshold", factor=FACTORS),
            *_grid("threshold", probability=(0.99, 0.98, 0.95, 0.9), block=(8, 16)),
        ],
        ("probability", "factor"),
        (("probability", 0.9),),
    ),
    "entropy": (_grid("entropy", bound=BOUNDS), ("bound",), (("bound", 0.1),)),
    "localleap": (
        [
            *_grid(
                "localleap", probability=(0.95, 0.9, 0.8), near=(0.85, 0.75, 0.6), radius=(2, 4, 8)
            ),
            *_grid("localleap", probability=(0.97, 0.95), near=(0.9,), radius=(1, 2, 4)),
        ],
        ("probability", "near"),
        (("probability", 0.9), ("near", 0.75), ("radius", 4)),
    ),
    "frontier": (
        _grid(
            "frontier",
            reach=(6, 8, 12, 16),
            run=(0.95, 0.9, 0.85, 0.8),
            probability=(0.995, 0.99, 0.98, 0.95),
        ),
        ("run", "probability"),
        (("reach", 12), ("run", 0.9), ("probability", 0.99)),
    ),
    "learn2pd": (
        _grid("learn2pd", probability=(0.995, 0.99, 0.98, 0.96, 0.93, 0.9, 0.8, 0.6)),
        ("probability",),
        (("probability", 0.96),),
    ),
    "prophet": (
        [
            Point(
                "prophet",
                (
                    *zip(("early", "middle", "late"), (s * g for g in PROPHET_GAPS), strict=True),
                    ("watched", watched),
                ),
            )
            for s, watched in product((3.0, 2.0, 1.5, 1.2, 1.0, 0.8, 0.6), (0, 5))
        ],
        ("early", "middle", "late"),
        tuple(zip(("early", "middle", "late"), PROPHET_GAPS, strict=True)),
    ),
    "ccd": (
        [
            *_grid("ccd", entropy=(0.01, 0.03, 0.1, 0.2, 0.4, 0.8), width=(4, 8, 16)),
            *_grid("ccd", form=("released",), width=(4, 8, 16)),
        ],
        ("entropy",),
        (("form", "released"), ("width", 4)),
    ),
}
"""Method to its points, knobs and the paper's constants. CCD's paper has none for its averaged
form, so its released one is run."""

CANVAS_EXACT: Mapping[str, Sequence[Point]] = {
    "freedave": (Point("freedave"), Point("freedave", (("drafts", 8),)))
}
"""Variants of exact methods, the default first."""

CACHES = ("dual", "prefix", "prompt", "delayed")
"""Caches that are tried with the best points where a model can reuse keys and values."""
