"""Feed `adec inspect` mutants of all that it reads, and report those that it does not survive.

    python -m tests.fuzz.fuzz_inspect -n 100000 --seed 1 --keep found/
    python -m tests.fuzz.fuzz_inspect -n 100000 --seed 1 --from 52000

Mutated traces, profiles, GGUF headers, model folders, settings, files of a bench and of its tasks
are looked at within this process. Each look must end in a view that cannot act on a terminal, or in
one line of error; in bounded time (of the processor) and memory. A mutant depends on the seed and
its number alone, so a long run goes on with --from, and --only looks at a single one again. Exits 1
when something was found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from adec.cli import invoke
from adec.cli.app import app
from adec.cli.failures import report
from adec.errors import AdecError
from tests.fuzz.inspect_inputs import Look, Workshop
from tests.inspection.traces import visible

SECONDS = 5.0
"""Of the processor for one look: the longest honest one takes a tenth of it."""
HANG_SECONDS = 20.0
MEMORY_BYTES = 512 << 20
"""What a look may add to the memory of this process."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Hang(BaseException):
    """A look did not come back."""


@dataclass
class Findings:
    """What came of the mutants so far."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_was: str = ""
    found: list[str] = field(default_factory=list)


def one(kind: str, wanted: Look, tree: Any) -> tuple[str, str | None]:
    """Look at a mutant: "shown" or "refused", and what is wrong with that."""
    words = ["inspect", *wanted.words]
    call: Callable[[], object] = lambda: tree(words, standalone_mode=False)  # noqa: E731
    if kind == "settings":
        call = lambda: invoke(words)  # noqa: E731
    outcome, trouble = judged(words, call)
    if trouble is None and kind in ("samples", "tasks"):
        trouble = _also(kind, wanted.file)
    return outcome, trouble


def judged(words: list[str], call: Callable[[], object]) -> tuple[str, str | None]:
    """Run a look with its streams caught: how it ended, and what is wrong with that."""
    out, err = _stream(), _stream()
    outcome, failed = "shown", None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _alarm():
        try:
            code = call()
            outcome = "shown" if not code else "refused"
        except AdecError as error:
            outcome = "refused"
            report(str(error))
        except typer.BadParameter as error:
            outcome = "refused"
            report(error.format_message())
        except Hang:
            failed = "it hangs"
        except Exception:
            failed = traceback.format_exc()
    try:
        shown, said = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))
    except UnicodeDecodeError:
        return outcome, "what it prints is not UTF-8"
    return outcome, failed or _wrong(words, outcome, shown, said)


def _wrong(words: list[str], outcome: str, shown: str, said: str) -> str | None:
    lines = said.splitlines()
    if outcome == "refused" and not (len(lines) == 1 and lines[0].startswith("adec: ")):
        return f"{len(lines)} lines of error: {said[:200]!r}"
    if outcome == "refused" and len(lines[0]) > 2000:
        return f"a bad line of error: {lines[0][:300]!r}"
    if outcome == "shown" and said:
        return f"it shows, and complains: {said[:200]!r}"
    plain = _COLOUR.sub("", shown) if "always" in words else shown
    if not visible(plain):
        return "what it prints can act on a terminal"
    if "--json" in words and (shown or outcome == "shown"):
        try:
            json.loads(shown, parse_constant=_no)
        except ValueError as error:
            return f"what it prints is not JSON: {error}"
    if "--html" in words and outcome == "shown":
        page = Path(words[words.index("--html") + 1]).read_text(encoding="utf-8")
        if page.count("<script") != 2 or not visible(page):
            return "something in the trace acts on its page"
    return None


def _also(kind: str, path: Path) -> str | None:
    """The other readers of such a file: a bench that resumes, a bench that begins."""
    from adec.benchmark.bench_report import make_rows
    from adec.benchmark.samples import RowHeader, SamplesFile
    from adec.benchmark.tasks.task_files import read_tasks
    from adec.benchmark.totals import Totals

    try:
        with _alarm():
            if kind == "tasks":
                for _ in read_tasks(path):
                    pass
                return None
            totals = Totals(
                [RowHeader(n, "strategy") for n in ("plain", "ead", "lookup", "small")], 0
            )
            with SamplesFile(path, {"key": "k6", "prompts": 6}) as samples:
                for result in samples.results():
                    totals.add(result)
            make_rows(totals, 0)
    except AdecError as error:
        return None if "\n" not in str(error) and len(str(error)) < 2000 else "a long error"
    except Hang:
        return "it hangs"
    except Exception:
        return traceback.format_exc()
    return None


def run(
    folder: Path,
    seed: int,
    numbers: range,
    *,
    only: str | None = None,
    keep: Path | None = None,
    progress: Callable[[int, Findings], None] = lambda number, findings: None,
) -> Findings:
    """Look at these mutants, of all kinds in turn or of one."""
    findings = Findings()
    before = os.environ.get("ADEC_HOME"), Path.cwd()
    os.environ["ADEC_HOME"] = str(folder / "home")
    shop = Workshop(folder)
    kinds = list(shop.kinds) if only is None else [only]
    tree = typer.main.get_command(app)
    try:
        os.chdir(folder)
        for number in numbers:
            kind = kinds[number % len(kinds)]
            wanted = shop.kinds[kind](random.Random(f"{seed}/{number}"))
            if keep is not None:
                shutil.copy(wanted.file, folder / "kept")
            memory, begin = _peak(), time.process_time()
            outcome, trouble = one(kind, wanted, tree)
            took = time.process_time() - begin
            if trouble is None and took > SECONDS:
                trouble = f"{took:.1f} s"
            if trouble is None and _peak() - memory > MEMORY_BYTES:
                trouble = f"{(_peak() - memory) >> 20} MiB more"
            if took > findings.slowest:
                findings.slowest, findings.slowest_was = took, f"{number} ({kind})"
            findings.counts[f"{kind} {'FOUND' if trouble else outcome}"] += 1
            if trouble is not None:
                findings.found.append(
                    f"mutant {number} ({kind}, {' '.join(wanted.words)}): {trouble}"
                )
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(folder / "kept", keep / f"{seed}-{number}-{wanted.file.name}")
            progress(number, findings)
    finally:
        os.chdir(before[1])
        if before[0] is None:
            del os.environ["ADEC_HOME"]
        else:
            os.environ["ADEC_HOME"] = before[0]
    return findings


class _Bytes(io.BytesIO):
    def fileno(self) -> int:
        raise OSError("no descriptor")


def _stream() -> Any:
    # strict UTF-8, as a real stdout is: half a character that gets through is an error here too
    return io.TextIOWrapper(_Bytes(), encoding="utf-8", write_through=True)


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Raise Hang after so many seconds of the processor, so that a paused machine is no finding."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    old = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def _peak() -> int:
    """Bytes of this process at its largest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _no(word: str) -> Any:
    raise ValueError(word)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", "--count", type=int, default=1000, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--from", dest="start", type=int, default=0, help="number of the first mutant"
    )
    parser.add_argument("--only", type=int, help="this mutant alone")
    parser.add_argument("--keep", type=Path, help="folder for the files that were found")
    options = parser.parse_args()
    space = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, space))
    numbers = range(options.start, options.count)
    if options.only is not None:
        numbers = range(options.only, options.only + 1)
    begin = time.monotonic()
    told = 0

    def progress(number: int, findings: Findings) -> None:
        nonlocal told
        for line in findings.found[told:]:
            print(line, flush=True)
        told = len(findings.found)
        done = number + 1 - numbers.start
        if done % 1000 == 0:
            left = (time.monotonic() - begin) / done * (len(numbers) - done)
            print(
                f"{number + 1} of {numbers.stop}, {told} found, {left / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )

    keep = None if options.keep is None else options.keep.resolve()
    with tempfile.TemporaryDirectory() as folder:
        findings = run(Path(folder), options.seed, numbers, keep=keep, progress=progress)
    for what, count in sorted(findings.counts.items()):
        print(f"{count:8} {what}")
    print(
        f"slowest {findings.slowest:.2f} s: mutant {findings.slowest_was}; peak memory "
        f"{_peak() >> 20} MiB"
    )
    return 1 if findings.found else 0


if __name__ == "__main__":
    sys.exit(main())
