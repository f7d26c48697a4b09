"""What every fit of a part has: the engine, the prompts, the time, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from adec.answering.text import text_of
from adec.calibration.fit.exit_records import LayerRecord, greedy, layer_records
from adec.calibration.prompts import KnownPrompt, PromptSet
from adec.decoding.strategy import Limits, Prompt, Strategy
from adec.display.wording import count
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError
from adec.events.tally import Tally
from adec.parts.part import Part

LEAST_ANSWERS = 8
PATIENCE = 3
"""How often its share of the time the first few answers may take."""
TESTED = 48
"""Held-out prompts that are answered for real, at most."""


def check_prompts(prompts: PromptSet) -> None:
    """Raise UsageError where too few are there to fit on, however long it may take."""
    if len(prompts.fit) < LEAST_ANSWERS:
        raise UsageError(
            f"{prompts.source} has {len(prompts.fit)} prompts to fit on beside those held out, and"
            f" a fit needs {LEAST_ANSWERS}",
            hint="a third of the prompts are fitted on: give more",
        )


@dataclass(frozen=True)
class FittedPart:
    """A part, and lines for a person about what it is worth."""

    part: Part
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Real:
    """What a strategy did on held-out prompts, beside the model's own answers."""

    prompts: int
    same: float
    """Share of the answers that are the model's own, token by token."""
    layers: float
    """Share of the layers that ran for a token."""
    right: float | None
    """Share of right answers, where they are known."""
    right_plain: float | None
    wrong: int
    """Wrong answers of the model's own, of those known to be right or wrong."""
    wrong_stopped: int
    """How many of them the strategy gave up."""
    right_stopped: int
    """Right answers that it gave up, too."""
    per_forward: float
    """Tokens a forward, the first of each answer left out: the prompt writes it."""

    @property
    def tried(self) -> str:
        """How many prompts, in words."""
        return count(self.prompts, "prompt")


@dataclass(frozen=True)
class Fitting:
    """One fit under way."""

    engine: LayerEngine
    prompts: PromptSet
    model: str
    seed: int
    seconds: float
    max_tokens: int
    keep: float
    form: str
    encode: Callable[[str], list[int]]
    stage: Callable[[str], None]
    update: Callable[[float], None]
    interrupted: Callable[[], bool]
    remark: Callable[[str], None] = lambda line: None
    """Told what the fit goes without."""

    def tick(self, share: float) -> None:
        """How far the stage is, 0 to 1. Raises KeyboardInterrupt once Ctrl-C was pressed."""
        if self.interrupted():
            raise KeyboardInterrupt
        self.update(min(1.0, share))

    @property
    def end(self) -> frozenset[int]:
        """Ids that end an answer."""
        return frozenset(self.engine.vocabulary.end)

    def records(
        self, depths: Sequence[int], seconds: float, *, top: int = 1, judged: bool = False
    ) -> list[LayerRecord]:
        """The model's own answers to the prompts to fit on, as many as the time allows.

        `judged`: with a word on each whether it is right, as far as that is known. Raises
        UsageError where there are too few.
        """
        began, over = monotonic(), False
        asked = self.prompts.fit
        found: list[LayerRecord] = []
        ids = (tuple(self.encode(prompt.text)) for prompt in asked)

        def judge(index: int, answer: tuple[int, ...]) -> bool | None:
            return self.right(asked[index], answer) if judged else None

        stream = layer_records(
            self.engine, ids, depths, max_tokens=self.max_tokens, end=self.end, top=top,
            judge=judge,
        )  # fmt: skip
        for record in stream:
            found.append(record)
            over = self._is_over(len(found), monotonic() - began, seconds)
            if over:
                break
        self.check_enough(len(found), over=over)
        return found

    def answers(self, seconds: float) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Prompts to fit on, each with the model's own answer, as many as the time allows.

        Answers of fewer than three tokens are left out. Raises UsageError where there are too few.
        """
        began, over, found = monotonic(), False, []
        for prompt in self.prompts.fit:
            ids = tuple(self.encode(prompt.text))
            room = min(self.max_tokens, self.engine.context - len(ids))
            answer = greedy(self.engine, ids, room, self.end) if room > 2 else ()
            if len(answer) > 2:
                found.append((ids, answer))
            over = self._is_over(len(found), monotonic() - began, seconds)
            if over:
                break
        self.check_enough(len(found), over=over)
        return found

    def _is_over(self, answers: int, spent: float, seconds: float) -> bool:
        """Whether `seconds` are spent after so many answers. Raises KeyboardInterrupt."""
        self.tick(max(answers / len(self.prompts.fit), spent / seconds))
        # a fit of fewer is worth nothing, so a little more time is
        return spent > (seconds if answers >= LEAST_ANSWERS else PATIENCE * seconds)

    def check_enough(self, answers: int, *, over: bool) -> None:
        """Raise UsageError for too few answers. `over`: more prompts were there, but no time."""
        if answers >= LEAST_ANSWERS:
            return
        if over:
            raise UsageError(
                f"the time was enough for {count(answers, 'answer')},"
                f" and a fit needs {LEAST_ANSWERS}",
                hint="give a longer --time-limit, or fewer tokens with -n",
            )
        raise UsageError(
            f"{answers} of {len(self.prompts.fit)} prompts to fit on have an answer to learn from,"
            f" and a fit needs {LEAST_ANSWERS}",
            hint="give more --prompts, a larger --ctx, or longer answers with -n",
        )

    def right(self, prompt: KnownPrompt, answer: Sequence[int]) -> bool | None:
        """Whether an answer is right; None where that is not known."""
        if prompt.right is None:
            return None
        return prompt.right(text_of(self.engine.vocabulary, answer, ()))

    def try_out(self, strategy: Strategy, plain: Strategy, seconds: float) -> Real:
        """Answer held-out prompts for real, with a strategy and plainly, one after the other."""
        began = monotonic()
        same: list[bool] = []
        right: list[tuple[bool, bool]] = []
        ran = whole = written = forwards = 0
        given_up: list[bool] = []
        for prompt in self.prompts.held_out[:TESTED]:
            ids = tuple(self.encode(prompt.text))
            if len(ids) >= self.engine.context:
                continue
            limits = Limits(self.max_tokens, self.end, signals=False)
            answers = []
            lost = False
            tally = Tally(strategy.name, strategy.guarantee.value, layers=self.engine.info.layers)
            for one in (plain, strategy):
                tokens: list[int] = []
                for step in one.generate(Prompt(ids), limits):
                    if one is strategy:
                        tally.add(step, 0.0)
                        lost = lost or step.lost
                    tokens += [token.id for token in step.tokens]
                answers.append(tokens)
            written += max(0, len(answers[1]) - 1)
            forwards += tally.forwards["large"]
            ran, whole = ran + tally.layers_computed, whole + (tally.layers_of or 0)
            same.append(answers[0] == answers[1])
            judged = [self.right(prompt, tokens) for tokens in answers]
            if judged[0] is not None and judged[1] is not None:
                right.append((judged[0], judged[1]))
                given_up.append(lost)
            spent = monotonic() - began
            self.tick(max(len(same) / TESTED, spent / seconds))
            if spent > seconds:
                break
        return Real(
            len(same),
            float(np.mean(same)) if same else 0.0,
            ran / whole if whole else 1.0,
            float(np.mean([mine for _, mine in right])) if right else None,
            float(np.mean([plain for plain, _ in right])) if right else None,
            sum(not plain for plain, _ in right),
            sum(up and not plain for up, (plain, _) in zip(given_up, right, strict=True)),
            sum(up and plain for up, (plain, _) in zip(given_up, right, strict=True)),
            written / max(1, forwards),
        )


def split(records: Sequence[LayerRecord]) -> tuple[list[LayerRecord], list[LayerRecord]]:
    """Seven in ten to learn from, the others to set thresholds by."""
    cut = max(1, round(0.7 * len(records)))
    return list(records[:cut]), list(records[cut:]) or list(records[-1:])


def thresholds(sure: np.ndarray[Any, Any]) -> Iterator[float]:
    """Thresholds to try, falling from 1: quantiles of how sure classifiers were."""
    yield 1.0
    for share in np.linspace(0.995, 0.005, 100):
        yield float(np.quantile(sure, share))
