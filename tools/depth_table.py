"""Share of layers and neurons, accuracy and time of strategies that need one model.

    python -m tools.depth_table practice:depth-torch -n 25 --strategies plain,del,sorted:depth=9

All strategies answer a problem before the next one begins, greedily, in one process. A strategy is
NAME or NAME:SETTING=VALUE+…; the first one is what the others are compared with. Time is that of
this process on the processor, so that a busy machine matters less; the prompt counts. The default
rows are the exact ones, then every rule beside controls that save as much without a look; what must
be learned first is left out where it was not. `generate` is transformers' own, one token a forward,
and `generate:early_exit=5` drafts with its lowest five layers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from adec.decoding import settings
from adec.decoding.registry import check_method, find_method
from adec.decoding.strategy import Aids, Limits, Prompt, Strategy
from adec.engines.base import Engine, OpenOptions
from adec.engines.opening import open_engine, read_header
from adec.engines.pair import Engines
from adec.errors import AdecError
from adec.events.tally import Tally
from adec.models.names import locate
from adec.parts.kept_parts import find_part, need_part
from adec.practice.tasks import FAMILIES, Problem
from adec.sampling import Sampler
from tools.evaluate import LONGEST_REPLY, SEED, held_out
from tools.train.tokenizer import ASSISTANT_ID, END_ID, USER_ID

EXACT = ("plain", "layerskip", "del", "swift")
TRUSTED = ("sorted:threshold=0.97", "sorted:threshold=0.99")
"""Thresholds that kept the answers of `practice:depth`."""
LEARNED = (
    "exits", "exits:control=fixed", "exits:control=random",
    "first", "first:control=same", "first:control=random",
    "neurons", "neurons:control=random",
)  # fmt: skip


def default_rows(layers: int) -> list[str]:
    """For a model of so many layers: controls save a quarter of them."""
    deep = max(1, 3 * layers // 4)
    same = [f"sorted:depth={deep}", f"sorted:control=random+depth={deep}", "skip:speedup=1.33"]
    return [*EXACT, *TRUSTED, *same, *LEARNED]


PEER = "generate"


@dataclass(frozen=True)
class Generate:
    """transformers' own loop on the engine's module."""

    engine: Engine
    early_exit: int

    def answer(self, prompt: Prompt, limits: Limits) -> list[int]:
        """The tokens of an answer."""
        from adec.engines.torch.torch_generate import generate

        made = generate(
            self.engine, prompt.ids, limits.max_tokens, Sampler(), early_exit=self.early_exit
        )
        return [] if made is None else list(made.tokens)


@dataclass
class Row:
    """One strategy on all problems."""

    name: str
    strategy: Strategy | Generate
    layers: int
    """Of the model."""
    ran: int = 0
    """Layers that ran, a token and layer each."""
    whole: int = 0
    """Layers that the whole model would have run."""
    neurons: int = 0
    """Feed-forward neurons that ran, of the tokens for which a rule chose."""
    all_neurons: int = 0
    """Of these tokens."""
    tokens: int = 0
    """Written, the first of each answer left out: the prompt's forward writes it."""
    forwards: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    right: list[bool] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    """Of the processor, a token."""

    def figures(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "strategy": self.name,
            "right": sum(self.right),
            "same": sum(self.same),
            "asked": len(self.right),
            "layers_share": self.ran / self.whole if self.whole else None,
            "neurons_share": self.neurons / self.all_neurons if self.all_neurons else None,
            "tokens_per_forward": self.tokens / self.forwards if self.forwards else None,
            "cpu_ms_per_token": median(self.ms),
            "exits": dict(self.exits),
        }


def open_rows(engine: Engine, names: Sequence[str], *, all_of_them: bool = True) -> list[Row]:
    """The strategies on one engine, or those for which what must be learned is there.

    Raises AdecError.
    """
    rows = []
    for words in names:
        name, _, rest = words.partition(":")
        values = dict(word.split("=", 1) for word in rest.split("+") if word)
        if name == PEER:
            peer = Generate(engine, int(values.get("early_exit", 0)))
            rows.append(Row(words, peer, engine.info.layers))
            continue
        method = find_method(name)
        made = settings.build(method.settings, name, ("--strategies", values))
        kinds = method.parts(settings.build(method.settings, name))  # of a control's rule, too
        lacks = [kind for kind in kinds if find_part(kind, engine.info) is None]
        if lacks and not all_of_them:
            print(f"{words} is left out: no {lacks[0]} was learned", file=sys.stderr)
            continue
        check_method(method, {"large": read_header(engine.info.path)}, made)
        aids = Aids(
            part=lambda kind: need_part(kind, engine.info),
            fitted=lambda kind: find_part(kind, engine.info),
        )
        strategy = method.build(Engines(large=engine), made, aids)
        rows.append(Row(words, strategy, engine.info.layers))
    return rows


def answer_all(engine: Engine, rows: Sequence[Row], asked: Sequence[Problem]) -> None:
    """Every strategy answers every problem."""
    limits = Limits(LONGEST_REPLY, frozenset({END_ID}), signals=False)
    for number, problem in enumerate(asked, 1):
        ids = engine.tokenizer.encode(problem.prompt, special=False)
        prompt = Prompt((USER_ID, *ids, ASSISTANT_ID))
        first: list[int] = []
        for row in rows:
            tokens: list[int] = []
            tally = Tally(row.name, "", layers=row.layers)
            began = process_time()
            if isinstance(row.strategy, Generate):
                tokens = row.strategy.answer(prompt, limits)
            else:
                for step in row.strategy.generate(prompt, limits):
                    tally.add(step, 0.0)
                    tokens += [token.id for token in step.tokens]
            row.ms.append(1000 * (process_time() - began) / max(1, len(tokens)))
            row.ran += tally.layers_computed
            row.whole += tally.layers_of or 0
            row.neurons += tally.neurons_computed
            row.all_neurons += tally.neurons_of
            row.tokens += max(0, len(tokens) - 1)
            row.forwards += tally.forwards["large"]
            row.exits.update(tally.summary(0.0)["exits_by_layer"])
            first = tokens if row is rows[0] else first
            pieces = [engine.vocabulary.pieces[token] for token in tokens if token != END_ID]
            row.right.append(problem.check(b"".join(pieces).decode("utf-8", "replace")))
            row.same.append(tokens == first)
        if number % 20 == 0:
            print(f"{number} of {len(asked)}", file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.depth_table", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=25, help="problems a family (default 25)")
    parser.add_argument("--strategies", help="default: exact ones, rules, and their controls")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    asked = held_out(options.n, tuple(FAMILIES), options.seed)
    try:
        header = read_header(locate(options.model))
        choice = OpenOptions(context=512, threads=options.threads)
        with closing(open_engine(header, choice)) as engine:
            names = options.strategies
            wanted = default_rows(engine.info.layers) if names is None else names.split(",")
            rows = open_rows(engine, wanted, all_of_them=names is not None)
            answer_all(engine, rows, asked)
    except AdecError as error:
        sys.exit(str(error))
    found = [row.figures() for row in rows]
    print(
        "| strategy | layers | neurons | tokens a forward | right | as the first | CPU ms a token |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for one in found:
        shares = (one["layers_share"], one["neurons_share"])
        layers, neurons = ("" if share is None else f"{100 * share:.1f} %" for share in shares)
        per_forward = one["tokens_per_forward"]
        tokens = "" if per_forward is None else f"{per_forward:.2f}"
        print(
            f"| `{one['strategy']}` | {layers} | {neurons} | {tokens} |"
            f" {one['right']}/{one['asked']} | {one['same']}/{one['asked']} |"
            f" {one['cpu_ms_per_token']:.2f} |"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
