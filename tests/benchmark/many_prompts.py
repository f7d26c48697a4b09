"""Memory and time of a bench of many prompts on table engines.

python -m tests.benchmark.many_prompts 10000
python -m tests.benchmark.many_prompts 10000 --ray local
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

from adec.benchmark.run_bench import run_bench
from tests.benchmark.rows import forgetful_here, request_of, samples_of

NAMES = ("plain", "ead", "lookup")


def resident() -> int:
    """Resident memory of this process in kB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def main(count: int, address: str | None) -> None:
    """Prints resident memory of this process after each tenth of the prompts.

    With an address, two workers a machine of that Ray cluster answer.
    """
    began = perf_counter()

    def watch(done: int, planned: int) -> None:
        if done and done % max(1, count // 10) == 0:
            print(
                f"{done:7,} prompts  {resident() / 1024:6.1f} MB  {perf_counter() - began:6.1f} s",
                flush=True,
            )

    with tempfile.TemporaryDirectory() as folder:
        request = request_of(count, partial(forgetful_here, NAMES), names=NAMES)
        if address is not None:
            from adec.spreading.ray_cluster import RayCrew

            request = replace(request, crew=partial(RayCrew, address, 2))
        with samples_of(request, Path(folder)) as samples:
            report = run_bench(request, samples, lambda: False, watch=watch)
            size = samples.path.stat().st_size
    print(
        f"report: {resident() / 1024:.1f} MB, samples file {size / 1e6:.1f} MB, {report.kept:,} "
        "prompts in the medians"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[3] if sys.argv[2:3] == ["--ray"] else None)
