"""Find GGUF files that pass adec's check and then end the process inside llama.cpp.

    python -m tests.fuzz.fuzz_gguf --count 5000 --seed 1 --keep crashes/

Mutants of tiny models are read with `read_gguf_header`; those that it accepts are really opened,
fed and rewound, each in a process of its own. A clean refusal (an AdecError) is fine; a signal, an
abort, a time-out or another exception is a finding. Exits 1 when there is one.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from adec.engines.base import OpenOptions
from adec.engines.llama.gguf.gguf_header import read_gguf_header
from adec.errors import AdecError, ModelFileError
from adec.tree import TokenTree
from tests.engines.gguf.test_gguf_header import sentencepiece
from tests.engines.gguf.tiny_gguf import RawGguf, write_tiny_gguf, write_tiny_mamba
from tests.fuzz.gguf_mutation import mutate

LIMIT_S = 20
MEMORY_BYTES = 6 << 30


def exercise(path: Path) -> None:
    """Open, tokenize, feed, try a tree, rewind. Raises AdecError on a clean refusal."""
    from adec.engines.llama.llama_engine import LlamaEngine

    header = read_gguf_header(path)
    engine = LlamaEngine.open(
        header, OpenOptions(context=min(64, header.info.context_limit), threads=1, branches=2)
    )
    for text in ("the and\n\n  über \0 1234 <|im_end|> 漢字", "", "\x80\uffff"):
        for special in (False, True):
            ids = engine.tokenizer.encode(text, special=special)
            assert all(0 <= token < header.info.vocabulary for token in ids)
    last = header.info.vocabulary - 1
    for call in (lambda: engine.forward([0, last, 0], rows=2), lambda: engine.forward([last])):
        call()
    if "tree" in header.capabilities:
        tree = TokenTree([0, last, 0], [-1, -1, 0])
        engine.forward_tree(tree)
        engine.keep([0, 2])
        engine.rewind(1)
        assert engine.length == 1
    engine.close()


def run_child(path: Path) -> str:
    """Exercise a file in a forked process; "ok", "refused" or what went wrong."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(LIMIT_S)
            with path.with_suffix(".log").open("w") as errors:
                os.dup2(errors.fileno(), 2)
            exercise(path)
            status = 0
        except AdecError:
            status = 10
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return {0: "ok", 10: "refused"}.get(os.WEXITSTATUS(status), "exception")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that crashed")
    options = parser.parse_args()
    # the library is loaded before the forks, so that each of them is cheap
    from adec.engines.llama.llama_library import library

    library()
    rng = random.Random(options.seed)
    results: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        shape = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "context": 128}
        bases = [
            write_tiny_gguf(Path(folder, "a.gguf"), **shape),
            write_tiny_gguf(Path(folder, "b.gguf"), swa=8, **shape),
            write_tiny_gguf(Path(folder, "c.gguf"), architecture="qwen2", **shape),
            write_tiny_gguf(Path(folder, "d.gguf"), experts=4, **shape),
            write_tiny_gguf(Path(folder, "e.gguf"), architecture="minicpm", **shape),
            write_tiny_mamba(Path(folder, "f.gguf"), layers=1),
        ]
        bases.append(sentencepiece(RawGguf.read(bases[0])).write(Path(folder, "g.gguf")))
        path = Path(folder, "mutant.gguf")
        for index in range(options.count):
            path.write_bytes(mutate(RawGguf.read(rng.choice(bases)), rng))
            begin = time.perf_counter()
            try:
                read_gguf_header(path)
            except ModelFileError:
                results["header refused"] += 1
                continue
            finally:
                slowest = max(slowest, time.perf_counter() - begin)
            result = run_child(path)
            results[result] += 1
            if result not in ("ok", "refused"):
                last = (
                    path.with_suffix(".log").read_text(errors="replace").strip().splitlines()[-1:]
                )
                print(f"mutant {index}: {result} {last}", flush=True)
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    path.rename(options.keep / f"{options.seed}-{index}-{result}.gguf")
    print(dict(results), f"slowest header {1000 * slowest:.1f} ms")
    return 1 if set(results) - {"header refused", "ok", "refused"} else 0


if __name__ == "__main__":
    sys.exit(main())
