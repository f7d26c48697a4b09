"""Trains the practice models: `python -m tools.train`.

The tokenizer, the data and the first weights come from the seed. A run writes checkpoints, a log
and, at its end, the model in both formats under `<out>/models`; `--resume` continues from the last
checkpoint.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from tools.train.canvas_trainer import train_canvas
from tools.train.depth_trainer import train_depth
from tools.train.mamba_trainer import train_mamba
from tools.train.team import together
from tools.train.trainer import STEPS, Run


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.train", description=__doc__)
    parser.add_argument(
        "--model",
        choices=("large", "small", "both", "canvas", "depth", "mamba"),
        default="both",
    )
    parser.add_argument("--out", type=Path, default=Path("practice-run"))
    parser.add_argument("--steps", type=int, help="instead of the recipe's number")
    parser.add_argument("--minutes", type=float, default=180.0, help="of canvas, depth and mamba")
    parser.add_argument(
        "--begin", type=Path, help="folder whose weights the canvas model begins with"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="processes (default: up to 4, GPU: 1)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each (default 1)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    by_the_clock: dict[str, Callable[..., tuple[Path, Path]]] = {
        "canvas": partial(train_canvas, begin=options.begin),
        "depth": train_depth,
        "mamba": train_mamba,
    }
    if options.model in by_the_clock:
        for path in by_the_clock[options.model](
            options.out, seed=options.seed, minutes=options.minutes, resume=options.resume,
            threads=options.threads, device=device,
        ):  # fmt: skip
            print(path)
        return
    workers = options.workers or (1 if device == "cuda" else min(4, os.cpu_count() or 1))
    names = ("small", "large") if options.model == "both" else (options.model,)
    for name in names:
        run = Run(
            name, options.out, options.seed, options.steps or STEPS[name], options.resume,
            device, options.threads,
        )  # fmt: skip
        together(workers, run)


if __name__ == "__main__":
    main()
