"""`adec calibrate MODEL --fit quantise`: a type for each tensor, and what that lost."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.session import open_session
from adec.calibration.compress.judge import Judge
from adec.calibration.compress.known_texts import common_start, know
from adec.calibration.compress.loss_table import LEGEND, loss_table
from adec.calibration.compress.mixed_types import Choices, Types, even, random_types, search_types
from adec.calibration.compress.own_answers import ANSWER, FIT, affordable, own_answers
from adec.calibration.compress.typed_files import Candidates, TypedFiles, words_of
from adec.calibration.journal import Journal, key_of
from adec.calibration.prompts import built_in, read_prompts
from adec.display.progress import Progress
from adec.display.wording import size
from adec.engines.base import OpenOptions
from adec.engines.llama.llama_library import default_threads
from adec.engines.llama.quantiser import MIXES
from adec.errors import UsageError
from adec.interrupts import Interrupts
from adec.machine import file_fingerprint
from adec.places import kept_folder

NEAR = {"Q2_K": 3.2, "Q3_K_M": 3.9, "Q4_K_M": 4.9, "Q5_K_M": 5.7, "Q6_K": 6.6}
"""Bits a weight that llama.cpp's mixes take about, to choose the one to compare with."""
RANDOM = 3
SEARCH_UNTIL = 0.75
"""Share of the time after which the search ends; held-out texts take the rest."""
INTERRUPTED = 130
ORIGINALS = frozenset({"F32", "F16", "BF16"})
_WHOLE: Types = ()

Say = Callable[[str], None]


@dataclass(frozen=True)
class QuantiseRequest:
    """What a person typed."""

    model: str
    bits: str
    """Bits a weight, or a mix of llama.cpp whose size it shall have."""
    output: str | None
    prompts: Path | None
    seed: int
    seconds: float
    max_tokens: int
    quiet: bool


def run_quantise(request: QuantiseRequest, options: OpenOptions, say: Say) -> int:
    """Search, judge, write the file and print what it lost; the exit code. Raises AdecError."""
    bits, mix = parse_bits(request.bits)
    to = _output(request)
    ready = plan(Choice(model=request.model, strategy="plain"))
    info = ready.models["large"].info
    path = info.path
    if info.format != "gguf":
        raise UsageError(f"{path} is no GGUF file, and llama.cpp quantises nothing else")
    if to.resolve() == path.resolve():
        raise UsageError(f"{to} is the model itself", hint="write the new one elsewhere: -o FILE")
    prompts = built_in(request.seed)
    if request.prompts is not None:
        prompts = read_prompts(request.prompts, request.seed, answers=False)
    _check_room(to, path.stat().st_size)
    if info.quantisation not in ORIGINALS:
        say(f"{path.name} is quantised itself ({info.quantisation}): what that lost stays lost")
    identity = [
        file_fingerprint(path),
        str(request.seed),
        str(min(request.max_tokens, ANSWER)),
        mix,
    ]
    key = key_of([*identity, *(prompt.text for prompt in prompts.all)])
    journal = Journal(kept_folder("calibration") / f"quantise-{key}.jsonl", "quantise 1")
    if journal.resumed:
        say(f"going on where an earlier search stopped: {journal.resumed:,} measurements kept")
    try:
        with (
            journal,
            Interrupts() as interrupts,
            Progress(sys.stderr, quiet=request.quiet) as bars,
            TemporaryDirectory(prefix=".adec-", dir=to.parent) as folder,
        ):

            def tick(share: float | None = None) -> None:
                if interrupts.asked:
                    raise KeyboardInterrupt
                if share is not None:
                    bars.update(min(1.0, share))

            bars.stage("answers", total=1.0)
            tokens = own_answers(ready, options, prompts, request.max_tokens, journal, tick)
            bars.stage("quantising", total=1.0)
            threads = options.threads or default_threads(info.parameters)
            files = TypedFiles(path, Path(folder), mix, threads, tick)
            choices = files.choices(bits)
            found, text = _Quantise(request, options, files, choices, mix, journal, bars, tick).run(
                tokens, min(FIT[1], len(prompts.fit))
            )
            bars.stage("writing", total=1.0)
            files.write(found, to, tick)
    except KeyboardInterrupt:
        say("interrupted; what was measured is kept, and the same command goes on from there")
        return INTERRUPTED
    journal.remove()
    sys.stdout.write(f"{text}\n\n{LEGEND} Random: the mean of as many files of this size.\n")
    before, after = path.stat().st_size, to.stat().st_size
    say(f"{to} takes {size(after)} of {size(before)}, {files.bits(found):.2f} bits a weight")
    return 0


class _Quantise:
    """One search."""

    def __init__(
        self,
        request: QuantiseRequest,
        options: OpenOptions,
        files: TypedFiles,
        choices: Choices,
        mix: str,
        journal: Journal,
        bars: Progress,
        tick: Callable[[float | None], None],
    ) -> None:
        self._request = request
        self._options = options
        self._files = files
        self._choices = choices
        self._mix = mix
        self._journal = journal
        self._bars = bars
        self._tick = tick
        self._began = perf_counter()

    def run(self, tokens: Sequence[Sequence[int]], fit_texts: int) -> tuple[Types, str]:
        """The types, and the table."""
        request = self._request
        ready = plan(Choice(model=request.model, strategy="plain", engine="llama"))
        with open_session(ready, self._options) as session:
            engine = session.engines["large"]
            skipped = common_start(tokens)
            self._bars.stage("whole model", total=1.0)
            fit_count, held_count = affordable(
                engine, tokens, fit_texts, skipped, request.seconds, self._journal, self._tick
            )
            texts = []
            for i, text in enumerate([*tokens[:fit_count], *tokens[-held_count:]]):
                self._tick(i / (fit_count + held_count))
                texts.append(know(engine, text, min(skipped, len(text) - 2)))
            engine.rewind(0)
        longest = max(len(text.tokens) for text in texts)
        candidates = Candidates(self._files, self._options, longest + 1, texts)
        try:
            fit = Judge(
                candidates.lost, words_of, fit_count, "fit", self._journal, lambda: self._tick(None)
            )
            held = Judge(
                lambda types, index: candidates.lost(types, fit_count + index),
                words_of, held_count, "held out", self._journal, lambda: None,
            )  # fmt: skip
            found = self._search(fit)
            return found, self._judged(held, found)
        finally:
            candidates.close()

    def _search(self, fit: Judge[Types]) -> Types:
        """The best types of the search, on all texts."""
        limit = SEARCH_UNTIL * self._request.seconds
        fit.until = lambda: perf_counter() - self._began > limit
        self._bars.stage("search", total=1.0)
        rng = Random(f"search {self._request.seed}")
        of_mix = self._files.of_mix()
        starts = [of_mix] if self._choices.size(of_mix) <= self._choices.budget else []
        parents: dict[Types, None] = {}
        for now in search_types(self._choices, fit.texts, fit.kl, rng, starts=starts):
            parents.pop(now.parent, None)
            parents[now.parent] = None
            self._tick(max((perf_counter() - self._began) / limit, now.number / now.of))
        fit.until = lambda: False
        last = [*list(parents)[-3:], *starts] or [even(self._choices)]
        return min(dict.fromkeys(last), key=lambda one: fit.kl(one, range(fit.texts)))

    def _judged(self, held: Judge[Types], found: Types) -> str:
        """The table, from texts that nothing was chosen on."""
        self._bars.stage("held-out prompts", total=1.0)
        rng = Random(f"random {self._request.seed}")
        of_mix = self._files.of_mix()
        named: dict[str, Sequence[Types]] = {
            "found": [found],
            f"llama.cpp's {self._mix}": [of_mix],
            "even": [even(self._choices)],
            "random": [random_types(self._choices, rng) for _ in range(RANDOM)],
        }
        every = list(dict.fromkeys(one for some in named.values() for one in some))
        losses = {}
        for at, one in enumerate(every):
            self._tick(at / len(every))
            losses[one] = [held.on(one, index) for index in range(held.texts)]
        return loss_table(
            named, losses, found, "bits a weight", lambda types: f"{self._files.bits(types):.2f}"
        )


def parse_bits(text: str) -> tuple[float | None, str]:
    """Bits a weight, None for as many as the mix takes, and the mix. Raises UsageError."""
    if text.upper() in MIXES:
        return None, text.upper()
    try:
        bits = float(text)
        if not 1 <= bits <= 16:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"--bits {text[:40]!r} is neither a number from 1 to 16 nor a type of llama.cpp",
            hint=f"such as 4.5, or one of {', '.join(MIXES)}",
        ) from None
    return bits, min(NEAR, key=lambda mix: abs(NEAR[mix] - bits))


def _output(request: QuantiseRequest) -> Path:
    if request.output is None or not request.output.endswith(".gguf"):
        raise UsageError("a quantised model is a file of its own", hint="name it: -o smaller.gguf")
    path = Path(request.output).expanduser()
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder", hint="make it first")
    return path


def _check_room(to: Path, size_now: int) -> None:
    """The model in six types, a mix and two candidates: at most six times a 16-bit file."""
    free, wanted = shutil.disk_usage(to.parent).free, 6 * size_now
    if free < wanted:
        raise UsageError(
            f"{to.parent} has {size(free)} free, and the search needs up to {size(wanted)} there",
            hint="write to another disk: -o",
        )
