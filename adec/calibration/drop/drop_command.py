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
from adec.calibration.drop.drop_table import LEGEND, drop_table
from adec.calibration.drop.evopress import Blocks, random_set, search
from adec.calibration.drop.judge import Judge
from adec.calibration.drop.simple_rules import best_run, least_alone, least_change
from adec.calibration.drop.whole_model import KnownText, changes, common_start, know
from adec.calibration.journal import Journal, Measurements, key_of
from adec.calibration.prompts import KnownPrompt, PromptSet, built_in, read_prompts
from adec.calibration.trial import Runner
from adec.display.progress import Progress
from adec.display.wording import many, size
from adec.engines.base import EngineName, OpenOptions
from adec.engines.llama.gguf.gguf_copy import check_plain_list, write_without
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError
from adec.events.hostile_json import JsonReader
from adec.interrupts import Interrupts
from adec.machine import file_fingerprint
from adec.places import kept_folder

ANSWER = 64
"""Tokens of the model's own answers at most."""
FIT, HELD_OUT = (4, 24), (2, 32)
"""Fewest and most texts to search on, and to judge what was found."""
RANDOM_SETS = 3
SEARCH_UNTIL = 0.75
"""Share of the time after which the search ends; held-out texts take the rest."""
INTERRUPTED = 130

_SIZES: JsonReader[tuple[int, int]] = JsonReader(tuple[int, int])
_TOKENS: JsonReader[list[list[int]]] = JsonReader(list[list[int]])

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
    sys.stdout.write(f"{text}\n\n{LEGEND}\n")
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
        tokens = self._texts()
        with open_session(_plan(request.model, "torch"), self._options) as session:
            engine = cast(LayerEngine, session.engines["large"])
            skipped = common_start(tokens)
            self._bars.stage("whole model", total=1.0)
            fit_count, held_count = self._sizes(engine, tokens, skipped)
            texts = [
                self._known(engine, text, skipped, i / (fit_count + held_count))
                for i, text in enumerate([*tokens[:fit_count], *tokens[-held_count:]])
            ]
            fit = Judge(engine, texts[:fit_count], "fit", self._journal, self._told)
            held = Judge(engine, texts[fit_count:], "held out", self._journal, lambda: None)
            rules = {} if given is not None else self._rules(engine, fit)
            found = given if given is not None else self._search(fit, list(rules.values()))
            rng = Random(f"random {request.seed}")
            lots = [random_set(self._blocks, self._count, rng) for _ in range(RANDOM_SETS)]
            named: dict[str, Sequence[Blocks]] = {"whole model": [frozenset()]}
            named["given" if given is not None else "found"] = [found]
            named |= {rule: [one] for rule, one in rules.items()}
            named["random"] = lots
            return found, self._judged(held, named, found)

    # ---- before the search

    def _texts(self) -> list[list[int]]:
        """Prompts with the model's own answers, which llama.cpp writes faster than torch."""
        prompts, most = self._prompts, min(self._request.max_tokens, ANSWER)
        half = HELD_OUT[1]
        wanted: list[KnownPrompt] = [*prompts.fit[: FIT[1]], *prompts.held_out[:half]]
        kept = self._journal.get("texts", _TOKENS)
        if kept is not None and len(kept) == len(wanted):
            return kept
        ready = _plan(self._request.model, "llama")
        with open_session(ready, self._options) as session:
            runner = Runner(ready, session.engines, max_tokens=most)
            measured = Measurements(runner, self._journal, "agreement")
            texts = []
            for i, prompt in enumerate(wanted):
                self._tick(i / len(wanted))
                answer = measured.answer(str(i), prompt)
                texts.append([*runner.encode(prompt), *answer.tokens])
        self._journal.put("texts", texts)
        return texts

    def _known(
        self, engine: LayerEngine, text: Sequence[int], skipped: int, share: float
    ) -> KnownText:
        self._tick(share)
        return know(engine, text, min(skipped, len(text) - 2))

    def _sizes(
        self, engine: LayerEngine, tokens: Sequence[Sequence[int]], skipped: int
    ) -> tuple[int, int]:
        """On how many texts it is searched and judged: as many as the time allows."""
        kept = self._journal.get("sizes", _SIZES)
        fit = min(FIT[1], len(self._prompts.fit))
        held = len(tokens) - fit
        if kept is not None and 1 <= kept[0] <= fit and 1 <= kept[1] <= held:
            return kept
        some = tokens[:3]
        self._known(engine, some[0], skipped, 0.0)  # the first forward is slower
        began = perf_counter()
        for text in some:
            self._known(engine, text, skipped, 0.0)
        forwards = self._request.seconds * len(some) / max(1e-6, perf_counter() - began)
        sizes = (
            max(1, min(fit, max(FIT[0], int(forwards / 30)))),
            max(1, min(held, max(HELD_OUT[0], int(forwards / 40)))),
        )
        self._journal.put("sizes", sizes)
        return sizes

    # ---- the search

    def _rules(self, engine: LayerEngine, fit: Judge) -> dict[str, Blocks]:
        """What simpler rules leave out."""
        every, count = len(fit.texts), self._count
        self._bars.stage("simple rules", total=1.0)
        turned = changes(engine, fit.texts[: max(2, every // 4)])
        return {
            "best run": best_run(self._blocks, count, every, fit.kl),
            "least alone": least_alone(
                self._blocks, count, range(min(2, every)), fit.kl,
                lambda block, _: self._tick((block + 1) / self._blocks),
            ),
            "least change (ShortGPT)": least_change(turned, count),
        }  # fmt: skip

    def _search(self, fit: Judge, starts: list[Blocks]) -> Blocks:
        """The best set of the search, on all texts."""
        limit = SEARCH_UNTIL * self._request.seconds
        fit.until = lambda: perf_counter() - self._began > limit
        self._bars.stage("search", total=1.0)
        rng = Random(f"search {self._request.seed}")
        every = range(len(fit.texts))
        parents: dict[Blocks, None] = {}
        for now in search(self._blocks, self._count, len(fit.texts), fit.kl, rng, starts=starts):
            parents.pop(now.parent, None)
            parents[now.parent] = None
            share = (perf_counter() - self._began) / limit
            self._tick(max(share, now.number / max(1, now.of)))
        fit.until = lambda: False
        return min([*list(parents)[-3:], *starts], key=lambda one: fit.kl(one, every))

    def _told(self) -> None:
        self._tick(None)

    def _judged(self, held: Judge, named: dict[str, Sequence[Blocks]], found: Blocks) -> str:
        """The table, from texts that nothing was chosen on."""
        self._bars.stage("held-out prompts", total=1.0)
        sets = list(dict.fromkeys(one for some in named.values() for one in some))
        losses = {}
        for at, one in enumerate(sets):
            self._tick(at / len(sets))
            losses[one] = [held.on(one, index) for index in range(len(held.texts))]
        return drop_table(named, losses, found)


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
