"""`adec calibrate MODEL --fit drop`: a smaller model of the same file, and what it lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter
from typing import cast

from adec.answering.choice import Choice
from adec.answering.plan import Plan, plan
from adec.answering.session import open_session
from adec.calibration.compress.block_sets import Blocks, random_set, search_blocks, words_of
from adec.calibration.compress.judge import Judge
from adec.calibration.compress.known_texts import (
    KnownText,
    TextLoss,
    changes,
    common_start,
    know,
    lost,
)
from adec.calibration.compress.loss_table import LEGEND, loss_table, name_of
from adec.calibration.compress.own_answers import ANSWER, FIT, affordable, own_answers
from adec.calibration.compress.simple_rules import best_run, least_alone, least_change
from adec.calibration.journal import Journal, key_of
from adec.calibration.prompts import PromptSet, built_in, read_prompts
from adec.display.progress import Progress
from adec.display.wording import many, size
from adec.engines.base import EngineName, OpenOptions
from adec.engines.llama.gguf.gguf_copy import check_plain_list, write_without
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError
from adec.interrupts import Interrupts
from adec.machine import file_fingerprint
from adec.places import kept_folder

RANDOM_SETS = 3
SEARCH_UNTIL = 0.75
"""Share of the time after which the search ends; held-out texts take the rest."""
INTERRUPTED = 130
RANDOM = "Random: the mean of as many blocks drawn by lot."

Say = Callable[[str], None]


@dataclass(frozen=True)
class DropRequest:
    """What a person typed."""

    model: str
    left_out: str
    """A number of blocks, a share such as 1/8, or the blocks themselves: 3,10,11."""
    output: str | None
    prompts: Path | None
    seed: int
    seconds: float
    max_tokens: int
    quiet: bool


def run_drop(request: DropRequest, options: OpenOptions, say: Say) -> int:
    """Search, judge, write the file and print what it lost; the exit code. Raises AdecError."""
    to = _output(request)
    on_torch = _plan(request.model, "torch")
    path = on_torch.models["large"].info.path
    check_plain_list(path)
    blocks = on_torch.models["large"].info.layers
    given, count = parse_left_out(request.left_out, blocks)
    prompts = built_in(request.seed)
    if request.prompts is not None:
        prompts = read_prompts(request.prompts, request.seed, answers=False)
    if to.resolve() == path.resolve():
        raise UsageError(f"{to} is the model itself", hint="write the new one elsewhere: -o FILE")
    journal = Journal(
        kept_folder("calibration") / f"drop-{_key(request, prompts, path)}.jsonl", "drop 1"
    )
    if journal.resumed:
        say(f"going on where an earlier search stopped: {journal.resumed:,} measurements kept")
    try:
        with (
            journal,
            Interrupts() as interrupts,
            Progress(sys.stderr, quiet=request.quiet) as bars,
        ):

            def tick(share: float | None = None) -> None:
                if interrupts.asked:
                    raise KeyboardInterrupt
                if share is not None:
                    bars.update(min(1.0, share))

            found, text = _Drop(request, prompts, options, journal, bars, tick, blocks, count).run(
                given
            )
            bars.stage("writing", total=1.0)
            write_without(path, to, found, tick)
    except KeyboardInterrupt:
        say("interrupted; what was measured is kept, and the same command goes on from there")
        return INTERRUPTED
    journal.remove()
    sys.stdout.write(f"{text}\n\n{LEGEND} {RANDOM}\n")
    before, after = path.stat().st_size, to.stat().st_size
    say(
        f"{to} has {many(blocks - len(found))} of {many(blocks)} blocks and {size(after)} of"
        f" {size(before)}; it drafts for the whole one with --small {to} --large {path}"
    )
    return 0


class _Drop:
    """One search."""

    def __init__(
        self,
        request: DropRequest,
        prompts: PromptSet,
        options: OpenOptions,
        journal: Journal,
        bars: Progress,
        tick: Callable[[float | None], None],
        blocks: int,
        count: int,
    ) -> None:
        self._request = request
        self._prompts = prompts
        self._options = options
        self._journal = journal
        self._bars = bars
        self._tick = tick
        self._blocks = blocks
        self._count = count
        self._began = perf_counter()

    def run(self, given: Blocks | None) -> tuple[Blocks, str]:
        """The blocks to leave out, and the table."""
        request = self._request
        self._bars.stage("answers", total=1.0)
        tokens = own_answers(  # llama.cpp writes them faster than torch
            _plan(request.model, "llama"), self._options, self._prompts, request.max_tokens,
            self._journal, self._tick,
        )  # fmt: skip
        with open_session(_plan(request.model, "torch"), self._options) as session:
            engine = cast(LayerEngine, session.engines["large"])
            skipped = common_start(tokens)
            self._bars.stage("whole model", total=1.0)
            fit_count, held_count = affordable(
                engine, tokens, min(FIT[1], len(self._prompts.fit)), skipped, request.seconds,
                self._journal, self._tick,
            )  # fmt: skip
            texts = []
            for i, text in enumerate([*tokens[:fit_count], *tokens[-held_count:]]):
                self._tick(i / (fit_count + held_count))
                texts.append(know(engine, text, min(skipped, len(text) - 2)))
            fit = self._judge(engine, texts[:fit_count], "fit", self._told)
            held = self._judge(engine, texts[fit_count:], "held out", lambda: None)
            rules = {} if given is not None else self._rules(engine, texts[:fit_count], fit)
            found = given if given is not None else self._search(fit, list(rules.values()))
            rng = Random(f"random {request.seed}")
            lots = [random_set(self._blocks, self._count, rng) for _ in range(RANDOM_SETS)]
            named: dict[str, Sequence[Blocks]] = {"whole model": [frozenset()]}
            named["given" if given is not None else "found"] = [found]
            named |= {rule: [one] for rule, one in rules.items()}
            named["random"] = lots
            return found, self._judged(held, named, found)

    def _judge(
        self,
        engine: LayerEngine,
        texts: Sequence[KnownText],
        name: str,
        tick: Callable[[], None],
    ) -> Judge[Blocks]:
        def measure(left_out: Blocks, index: int) -> TextLoss:
            return lost(engine, texts[index], left_out)

        return Judge(measure, words_of, len(texts), name, self._journal, tick)

    # ---- the search

    def _rules(
        self, engine: LayerEngine, texts: Sequence[KnownText], fit: Judge[Blocks]
    ) -> dict[str, Blocks]:
        """What simpler rules leave out."""
        every, count = fit.texts, self._count
        self._bars.stage("simple rules", total=1.0)
        turned = changes(engine, texts[: max(2, every // 4)])
        return {
            "best run": best_run(self._blocks, count, every, fit.kl),
            "least alone": least_alone(
                self._blocks, count, range(min(2, every)), fit.kl,
                lambda block, _: self._tick((block + 1) / self._blocks),
            ),
            "least change (ShortGPT)": least_change(turned, count),
        }  # fmt: skip

    def _search(self, fit: Judge[Blocks], starts: list[Blocks]) -> Blocks:
        """The best set of the search, on all texts."""
        limit = SEARCH_UNTIL * self._request.seconds
        fit.until = lambda: perf_counter() - self._began > limit
        self._bars.stage("search", total=1.0)
        rng = Random(f"search {self._request.seed}")
        every = range(fit.texts)
        parents: dict[Blocks, None] = {}
        for now in search_blocks(self._blocks, self._count, fit.texts, fit.kl, rng, starts=starts):
            parents.pop(now.parent, None)
            parents[now.parent] = None
            share = (perf_counter() - self._began) / limit
            self._tick(max(share, now.number / max(1, now.of)))
        fit.until = lambda: False
        return min([*list(parents)[-3:], *starts], key=lambda one: fit.kl(one, every))

    def _told(self) -> None:
        self._tick(None)

    def _judged(
        self, held: Judge[Blocks], named: dict[str, Sequence[Blocks]], found: Blocks
    ) -> str:
        """The table, from texts that nothing was chosen on."""
        self._bars.stage("held-out prompts", total=1.0)
        sets = list(dict.fromkeys(one for some in named.values() for one in some))
        losses = {}
        for at, one in enumerate(sets):
            self._tick(at / len(sets))
            losses[one] = [held.on(one, index) for index in range(held.texts)]
        return loss_table(named, losses, found, "blocks left out", name_of)


def parse_left_out(text: str, blocks: int) -> tuple[Blocks | None, int]:
    """The blocks that a person named, None where only their number, and the number.

    Raises UsageError.
    """
    hint = "a number such as 4, a share such as 1/8, or blocks such as 3,10,11"
    try:
        if "," in text:
            chosen = frozenset(int(word) for word in text.split(",") if word.strip())
            if not chosen or not all(0 <= block < blocks for block in chosen):
                raise ValueError
            count = len(chosen)
        elif "/" in text:
            part, _, whole = text.partition("/")
            # half of a block counts as one
            chosen, count = None, (2 * blocks * int(part) + int(whole)) // (2 * int(whole))
        else:
            chosen, count = None, int(text)
        if not 1 <= count < blocks:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"--leave-out {text[:40]!r} leaves out no 1 to {blocks - 1} of the {blocks} blocks",
            hint=hint,
        ) from None
    return chosen, count


def _plan(model: str, engine: EngineName) -> Plan:
    return plan(Choice(model=model, strategy="plain", engine=engine))


def _output(request: DropRequest) -> Path:
    if request.output is None or not request.output.endswith(".gguf"):
        raise UsageError(
            "a model with fewer blocks is a file of its own", hint="name it: -o smaller.gguf"
        )
    path = Path(request.output).expanduser()
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder", hint="make it first")
    return path


def _key(request: DropRequest, prompts: PromptSet, path: Path) -> str:
    """Everything that a measurement depends on."""
    return key_of(
        [
            file_fingerprint(path),
            str(request.seed),
            str(min(request.max_tokens, ANSWER)),
            *(prompt.text for prompt in prompts.all),
        ]
    )
