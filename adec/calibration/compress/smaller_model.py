"""What a search for a smaller model needs, whatever it searches: request, journal, texts, table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from adec.calibration.compress.evopress import Candidate, Generation
from adec.calibration.compress.judge import Judge
from adec.calibration.compress.known_texts import KnownText, common_start, know
from adec.calibration.compress.loss_table import loss_table
from adec.calibration.compress.own_answers import ANSWER, FIT, affordable
from adec.calibration.journal import Journal, key_of
from adec.calibration.prompts import PromptSet, chosen_prompts
from adec.display.progress import Progress
from adec.engines.base import Engine
from adec.errors import UsageError
from adec.interrupts import INTERRUPTED, Interrupts
from adec.machine import file_fingerprint
from adec.places import kept_folder, typed_path

DRAWN = 3
"""Candidates drawn by lot, to be judged beside what was found."""
SEARCH_UNTIL = 0.75
"""Share of the time after which the search ends; held-out texts take the rest."""
LAST = 3
"""Parents of a search that are judged on all texts: the last ones."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class SmallerModel:
    """What a person typed."""

    model: str
    output: str | None
    prompts: Path | None
    seed: int
    seconds: float
    max_tokens: int
    quiet: bool

    def read_prompts(self) -> PromptSet:
        """Those that it is judged on. Raises UsageError."""
        return chosen_prompts(self.prompts, self.seed, answers=False)

    def destination(self, model: Path) -> Path:
        """Where the smaller model goes. Raises UsageError where it cannot be written there."""
        if self.output is None or not self.output.endswith(".gguf"):
            raise UsageError(
                "a smaller model is a file of its own", hint="name it: -o smaller.gguf"
            )
        path = typed_path(self.output)
        if not path.parent.is_dir():
            raise UsageError(f"{path.parent} is no folder", hint="make it first")
        if path.resolve() == model.resolve():
            raise UsageError(
                f"{path} is the model itself", hint="write the new one elsewhere: -o FILE"
            )
        return path


class Search:
    """One search at work: what it keeps, how it tells how far it is, and how it is interrupted."""

    def __init__(
        self, request: SmallerModel, prompts: PromptSet, journal: Journal, bars: Progress,
        interrupts: Interrupts,
    ) -> None:  # fmt: skip
        self.request = request
        self.prompts = prompts
        self.journal = journal
        self._bars = bars
        self._interrupts = interrupts
        self._began = perf_counter()

    def stage(self, name: str) -> None:
        """Something else begins."""
        self._bars.stage(name, total=1.0)

    def tick(self, share: float | None = None) -> None:
        """So much of the stage is done; raises KeyboardInterrupt where that was asked for."""
        if self._interrupts.asked:
            raise KeyboardInterrupt
        if share is not None:
            self._bars.update(min(1.0, share))

    def know(
        self, engine: Engine, tokens: Sequence[Sequence[int]]
    ) -> tuple[list[KnownText], list[KnownText]]:
        """The texts to search on and those held out, as many as time allows, read by the whole
        model."""
        self.stage("whole model")
        skipped, fit = common_start(tokens), min(FIT[1], len(self.prompts.fit))
        seconds = self.request.seconds
        fit, held = affordable(engine, tokens, fit, skipped, seconds, self.journal, self.tick)
        texts = []
        for i, text in enumerate([*tokens[:fit], *tokens[-held:]]):
            self.tick(i / (fit + held))
            texts.append(know(engine, text, min(skipped, len(text) - 2)))
        return texts[:fit], texts[fit:]

    def best(
        self,
        fit: Judge[Candidate],
        generations: Iterable[Generation[Candidate]],
        others: Sequence[Candidate],
    ) -> Candidate:
        """The best on all texts of the last parents of a search, and of `others`."""
        limit = SEARCH_UNTIL * self.request.seconds
        fit.until = lambda: perf_counter() - self._began > limit
        self.stage("search")
        parents: dict[Candidate, None] = {}
        for now in generations:
            parents.pop(now.parent, None)
            parents[now.parent] = None
            self.tick(max((perf_counter() - self._began) / limit, now.number / max(1, now.of)))
        fit.until = lambda: False
        last = dict.fromkeys([*list(parents)[-LAST:], *others])
        return min(last, key=lambda one: fit.kl(one, range(fit.texts)))

    def table(
        self,
        held: Judge[Candidate],
        named: Mapping[str, Sequence[Candidate]],
        found: Candidate,
        column: str,
        words: Callable[[Candidate], str],
    ) -> str:
        """`loss_table`, from texts that nothing was chosen on."""
        self.stage("held-out prompts")
        every = list(dict.fromkeys(one for some in named.values() for one in some))
        losses = {}
        for at, one in enumerate(every):
            self.tick(at / len(every))
            losses[one] = [held.on(one, index) for index in range(held.texts)]
        return loss_table(named, losses, found, column, words)


@contextmanager
def searching(
    kind: str, request: SmallerModel, path: Path, say: Say, *depends_on: str
) -> Iterator[Search]:
    """A search for the model at `path`, whose journal goes when it is done, and stays else.

    `depends_on`: what measurements depend on besides model, prompts, seed and length of answers.
    """
    prompts = request.read_prompts()
    most = str(min(request.max_tokens, ANSWER))
    texts = [prompt.text for prompt in prompts.all]
    key = key_of([file_fingerprint(path), str(request.seed), most, *depends_on, *texts])
    journal = Journal(kept_folder("calibration") / f"{kind}-{key}.jsonl", f"{kind} 1")
    if journal.resumed:
        say(f"going on where an earlier search stopped: {journal.resumed:,} measurements kept")
    with journal, Interrupts() as interrupts, Progress(sys.stderr, quiet=request.quiet) as bars:
        yield Search(request, prompts, journal, bars, interrupts)
    journal.remove()


def run_search(work: Callable[[], None], say: Say) -> int:
    """Do it; the exit code. An interrupt keeps what was measured."""
    try:
        work()
    except KeyboardInterrupt:
        say("interrupted; what was measured is kept, and the same command goes on from there")
        return INTERRUPTED
    return 0
