"""A pause of AdaDec: what it costs beyond its bare forwards, on this machine.

    python -m tools.choices.pause_cost --model large.gguf --candidates 3 --ahead 5

A pause of B candidates and L tokens ahead is compared with one forward of a token and L forwards of
B tokens, without tree, entropies or bookkeeping, run right beside it at the same place. Shown are
both medians and the difference in percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from statistics import median
from time import perf_counter

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.prompt import encode_prompt
from adec.answering.session import open_session
from adec.cli.failures import exit_code_of, leave
from adec.decoding.search.adadec import AdaDec, AdaDecSettings
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.base import Engine, OpenOptions
from adec.engines.pair import Engines
from adec.events.records import Pause
from adec.practice.tasks import problems
from adec.sampling import Sampler
from tools.script import add_look_ahead, add_model, arguments_of, table_of

HEADS = (
    "B", "L", "pause ms", "bare forwards ms", "beyond them", "of it adec's own", "the engine's"
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every (B, L), and print a table."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_look_ahead(parser, candidates=(2, 3, 5), ahead=(5,))
    parser.add_argument("--pauses", type=int, default=30, help="pauses of each size (30)")
    chosen = parser.parse_args(arguments)
    machine = OpenOptions(context=512, threads=chosen.threads)
    with open_session(plan(Choice(model=chosen.model, strategy="plain")), machine) as session:
        engine = session.engines["large"]
        (problem,) = islice(problems("test", 0, ["word problems"]), 1)
        prompt, _ = encode_prompt(engine, problem.prompt)
        print(f"{engine.info.name}, {chosen.pauses} pauses after {len(prompt)} tokens and more\n")
        sizes = [(width, depth) for width in chosen.candidates for depth in chosen.ahead]
        rows = [cells(engine, prompt, *size, chosen.pauses) for size in sizes]
        print(table_of(HEADS, rows, left=0))


def cells(engine: Engine, prompt: list[int], width: int, depth: int, pauses: int) -> list[str]:
    """One row of the table: medians over the pauses."""
    # an entropy is never below 0: every token is a pause, and nothing of the look-ahead is kept
    settings = AdaDecSettings(threshold=0.0, candidates=width, ahead=depth)
    limits = Limits(10**6, frozenset(), Sampler(), signals=False)
    whole, bare, own = [], [], []
    left = pauses + 2
    for step in AdaDec(Engines(large=engine), settings, Aids()).generate(
        Prompt(tuple(prompt)), limits
    ):
        if not isinstance(step.detail, Pause):
            continue
        left -= 1
        if left < pauses:  # the first two warm up
            whole.append(step.ms() + step.own_ms)
            own.append(step.own_ms)
            bare.append(_bare(engine, width, depth))
        if left == 0 or engine.length + 1 + width * depth >= engine.context:
            break
    taken, reference = median(whole), median(bare)
    beyond = median(w - b for w, b in zip(whole, bare, strict=True))
    mine = median(own)
    return [
        str(width),
        str(depth),
        f"{taken:.2f}",
        f"{reference:.2f}",
        f"{100 * beyond / reference:+.1f} %",
        f"{100 * mine / reference:.1f} %",
        f"{100 * (beyond - mine) / reference:+.1f} %",
    ]


def _bare(engine: Engine, width: int, depth: int) -> float:
    """Milliseconds of a forward of one token and of `depth` forwards of `width`, at this place."""
    length, total = engine.length, 0.0
    for level in range(depth + 1):
        began = perf_counter()
        engine.forward([1] * (width if level else 1), rows=width if level else 1)
        total += perf_counter() - began
        engine.rewind(length)
    return 1000 * total


if __name__ == "__main__":
    leave(exit_code_of(main))
