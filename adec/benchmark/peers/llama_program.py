"""One run of a program of llama.cpp: its output, bounded, and the most memory that it took."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

from adec.benchmark.decoders import Interrupted, peak_bytes
from adec.engines.base import OpenOptions
from adec.errors import EngineError

ATTEMPTS = 4
"""Runs of a program until it prints its times. llama.cpp writes its log from another thread, and
loses the end of it in about 4 of 100 runs."""
SECONDS = 900.0
"""Longest run of one prompt, loading included."""
_LOOK_SECONDS = 0.02
OUTPUT_BYTES = 16 * 1024 * 1024


def run_program(
    name: str, command: Sequence[str], folder: Path, interrupted: Interrupted
) -> tuple[str, str, int | None] | None:
    """(standard output, log, peak memory in bytes); None when interrupted.

    `folder`: for its files. Raises EngineError, which calls it by `name`.
    """
    with (folder / "out").open("w+b") as out, (folder / "log").open("w+b") as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"{command[0]} cannot be started: {error.strerror}") from error
        peak: int | None = None
        deadline = monotonic() + SECONDS
        try:
            while process.poll() is None:
                sleep(_LOOK_SECONDS)
                # what it takes in its very last moments goes unseen
                peak = max(peak_bytes(process.pid) or 0, peak or 0) or None
                if interrupted():
                    return None
                if monotonic() > deadline:
                    raise EngineError(f"a peer took more than {SECONDS:.0f} seconds for one prompt")
        finally:
            process.kill()
            process.wait()
        texts = []
        for file in (out, log):
            file.seek(0)
            texts.append(file.read(OUTPUT_BYTES).decode("utf-8", "replace"))
    if process.returncode != 0:
        raise EngineError(f"{name} ended with {process.returncode}: {last_words(texts[1])}")
    return texts[0], texts[1], peak


def shared_options(options: OpenOptions) -> list[str]:
    """Threads, layers on an accelerator and mapping, as its command line has them."""
    words = ["-ngl", str(99 if options.gpu_layers < 0 else options.gpu_layers)]
    if options.threads is not None:
        words += ["-t", str(options.threads)]
    if options.batch_threads or options.threads:
        words += ["-tb", str(options.batch_threads or options.threads)]
    return words if options.mmap else [*words, "--no-mmap"]


def last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " ".join(lines[-2:])[:200] if lines else "it said nothing"
