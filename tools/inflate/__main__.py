"""The command `python -m tools.inflate`."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from gguf import GGMLQuantizationType as Kind

from tools.inflate.inflated_file import FILE_TYPES, Size
from tools.inflate.inflated_model import RANDOM, inflate_folder, random_model

EXAMPLES = """
examples, to a pair of 1.07 billion and 33 million parameters:
  python -m tools.inflate models/large large.gguf
  python -m tools.inflate models/small small.gguf --quantisation Q8_0 \\
      --width 576 --layers 8 --feed-forward 1536
with a head as costly as that of a model with 32,000 tokens (1.10 billion, 33 million):
  python -m tools.inflate models/large large.gguf --vocabulary 32000 --layers 20
  python -m tools.inflate models/small small.gguf --vocabulary 32000 --quantisation Q8_0 \\
      --width 384 --layers 5 --feed-forward 1024
the diffusion model with 300 million, as GGUF and as a folder:
  python -m tools.inflate models/canvas canvas.gguf --quantisation F16 \\
      --width 1024 --layers 24 --feed-forward 2816
  python -m tools.inflate models/canvas canvas --width 1024 --layers 24 --feed-forward 2816
a model of 102 million parameters that has learned nothing:
  python -m tools.inflate --random speed.gguf
"""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.inflate",
        description="Makes a trained model larger without changing what it computes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", help="a Hugging Face folder")
    parser.add_argument("out", type=Path, help="the GGUF file to write, or a folder in float16")
    parser.add_argument("--random", action="store_true", help="no folder: random weights")
    for name, meaning in (
        ("width", f"size of a hidden state (default {Size().width})"),
        ("layers", f"number of blocks (default {Size().layers})"),
        ("feed-forward", f"units of a feed-forward layer (default {Size().feed_forward})"),
        ("vocabulary", "tokens, filled up with unused ones (default: those of the folder)"),
    ):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=meaning)
    parser.add_argument("--quantisation", choices=[kind.name for kind in FILE_TYPES])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if (options.folder is None) != options.random:
        parser.error("give either a folder or --random")
    wishes = {
        name: value
        for name in ("width", "layers", "feed_forward", "vocabulary")
        if (value := getattr(options, name)) is not None
    }
    size = replace(RANDOM if options.random else Size(), **wishes)
    if options.quantisation:
        size = replace(size, kind=Kind[options.quantisation])
    began = time.perf_counter()
    try:
        if options.random:
            written = random_model(options.out, size, options.seed)
        else:
            written = inflate_folder(options.folder, options.out, size, options.seed)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{written}, written in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
