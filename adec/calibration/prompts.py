"""The prompts of a calibration: the user's or the built-in ones, shuffled and split in two.

A prompt file is plain text with one prompt a line, or JSON lines: `{"prompt": "…"}`, with
`"answer": "…"` for the metric `answer` and for adadec's threshold; `"solution": "…"`, a whole
right reply, serves the latter better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from adec.errors import UsageError
from adec.events.hostile_json import JsonReader
from adec.text_file import read_text

LEAST = 8
"""Fewest prompts: four to fit on, four to prove on. Most proofs need a hundred."""
FIT_SHARE, FIT_MOST = 1 / 3, 160
"""Share and most of the prompts to fit on: a proof needs more prompts than a fit."""
BUILT_IN = 1600
"""Built-in prompts of a calibration; the proof asks as many of them as the time allows."""
FILE_BYTES = 64 * 1024 * 1024
PROMPT_CHARACTERS = 1_000_000

_MARK = "answer:"
_JSON = JsonReader[Any](Any)


@dataclass(frozen=True)
class KnownPrompt:
    """One question; `right` judges a reply, None where the right answer is not known."""

    text: str
    right: Callable[[str], bool] | None = None
    solution: str | None = None
    """A right reply, where one is known."""


@dataclass(frozen=True)
class PromptSet:
    """The two halves, and remarks worth a line."""

    fit: tuple[KnownPrompt, ...]
    held_out: tuple[KnownPrompt, ...]
    source: str
    remarks: tuple[str, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether the right answer to each prompt is known."""
        return all(prompt.right is not None for prompt in self.all)

    @property
    def all(self) -> tuple[KnownPrompt, ...]:
        return (*self.fit, *self.held_out)


def built_in(seed: int, count: int = BUILT_IN) -> PromptSet:
    """Practice problems that the built-in models were not trained on."""
    from adec.practice.tasks import problems

    stream = islice(problems("test", seed), count)
    return _split(
        [KnownPrompt(p.prompt, p.check, p.solution) for p in stream],
        seed,
        "built-in practice problems",
    )


def chosen_prompts(path: Path | None, seed: int, *, answers: bool) -> PromptSet:
    """Those of a file, as `read_prompts`; without a file the built-in ones. Raises UsageError."""
    return built_in(seed) if path is None else read_prompts(path, seed, answers=answers)


def read_prompts(path: Path, seed: int, *, answers: bool) -> PromptSet:
    """The prompts of a file. `answers`: the metric needs to know right answers.

    Raises UsageError, with the line, when the file is not what it should be or has fewer than
    eight different prompts.
    """
    text = read_text(path, FILE_BYTES, "the prompt file")
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise UsageError(f"the prompt file {path} is empty", hint="put one prompt on each line")
    as_json = path.suffix == ".jsonl" or lines[0][1].lstrip().startswith("{")
    if answers and not as_json:
        raise UsageError(
            f"--metric answer needs right answers, and {path} is plain text",
            hint='give JSON lines: {"prompt": "What is 2 + 3?", "answer": "5"}',
        )
    prompts: dict[str, KnownPrompt] = {}
    for number, line in lines:
        prompt = _from_json(path, number, line, answers) if as_json else KnownPrompt(line.strip())
        if len(prompt.text) > PROMPT_CHARACTERS:
            raise UsageError(
                f"{path}, line {number}: the prompt is longer than a million characters"
            )
        prompts.setdefault(prompt.text, prompt)
    if len(prompts) < LEAST:
        found = "1 prompt" if len(prompts) == 1 else f"{len(prompts)} different prompts"
        raise UsageError(
            f"the prompt file {path} has {found}; a calibration needs {LEAST} at least",
            hint="some are fitted on, the others prove the budget; a proof mostly needs a hundred",
        )
    repeated = len(lines) - len(prompts)
    remarks: tuple[str, ...] = ()
    if repeated:
        remarks = (f"{repeated} repeated prompts of {path.name} count once",)
    return _split(list(prompts.values()), seed, path.name, remarks)


def ends_right(reply: str, answer: str) -> bool:
    """Whether a reply gives the answer: after its last `Answer:`, or else as its last words. Case
    and a final stop do not count."""
    wanted = _plain(answer)
    place = reply.lower().rfind(_MARK)
    if place >= 0:
        rest = reply[place + len(_MARK) :].strip()
        return _plain(rest.splitlines()[0] if rest else "") == wanted
    said = _plain(reply)
    return said == wanted or (said.endswith(wanted) and not said[-len(wanted) - 1].isalnum())


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").casefold()


def _split(
    prompts: Sequence[KnownPrompt], seed: int, source: str, remarks: tuple[str, ...] = ()
) -> PromptSet:
    """Shuffled, so that both halves come from one distribution whatever the order of the file."""
    order = list(prompts)
    Random(f"calibrate {seed}").shuffle(order)
    fit = min(FIT_MOST, max(LEAST // 2, round(FIT_SHARE * len(order))))
    return PromptSet(tuple(order[:fit]), tuple(order[fit:]), source, remarks)


def _from_json(path: Path, number: int, line: str, answers: bool) -> KnownPrompt:
    where = f"{path}, line {number}"
    try:
        data = _JSON.read(line.encode())
    except ValueError as error:
        raise UsageError(f"{where} is not JSON: {error}") from None
    if not isinstance(data, dict) or "prompt" not in data:
        raise UsageError(f'{where} has no "prompt"', hint='each line is {"prompt": "…"}')
    text, answer = data["prompt"], data.get("answer")
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f'{where}: "prompt" is not a text')
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        answer = str(answer)
    if answer is not None and not (isinstance(answer, str) and answer.strip()):
        raise UsageError(f'{where}: "answer" is neither a text nor a number')
    solution = data.get("solution")
    if solution is not None and not (isinstance(solution, str) and solution.strip()):
        raise UsageError(f'{where}: "solution" is not a text')
    if answers and answer is None:
        raise UsageError(f'{where} has no "answer", which --metric answer needs')
    wanted = answer
    right = None if wanted is None else lambda reply: ends_right(reply, wanted)
    return KnownPrompt(text, right, solution or answer)
