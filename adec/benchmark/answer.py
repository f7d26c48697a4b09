"""What came of one prompt: the answer of every row, as data that goes to disk and comes back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from adec.errors import UsageError

Kind = Literal["strategy", "peer"]

PLAIN = "plain"
"""The row that all others are compared with: the large model alone."""


@dataclass(frozen=True, slots=True)
class RowHeader:
    """One line of the table: a strategy with its settings, or a peer."""

    name: str
    kind: Kind
    about: str = ""
    guarantee: str = ""
    """exact, bounded or approximate; empty for a peer, and until the first answer."""
    follows: str = ""
    """The row whose tokens fed are this one's budget on the same prompt; it is run after that one."""
    searches: bool = False
    """Whether it spends computation to be right rather than fast."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where an exact row's tokens are not those of the large model alone."""

    position: int
    """Tokens of the answer that are equal before it."""
    plain_token: str
    row_token: str
    gap: float | None
    """The large model's logit of its own token less that of the other; None where one answer just ends."""
    best_gap: float | None = None
    """The logit of the large model's first choice less its second, at that place."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One run of one row on one prompt."""

    row: str
    run: int
    seconds: float
    """Wall time from the question to the last token, the prompt included, loading apart."""
    tokens: int
    text: str
    guarantee: str = ""
    """exact, bounded or approximate, as strategy and settings promise; empty for a peer."""
    finish: str = ""
    first_seconds: float | None = None
    """Wall time to the first token."""
    large_tokens: int | None = None
    large_fed: int | None = None
    """Tokens that the large model read while decoding; the next three likewise."""
    small_fed: int | None = None
    large_forwards: int | None = None
    prompt_fed_work: int | None = None
    """Parameters times tokens of the prompt, over both models."""
    fed_work: int | None = None
    """Parameters times tokens fed while decoding, over both models."""
    forward_ms: float | None = None
    """Time inside forwards; the rest of `seconds` is overhead."""
    draft_ms: float | None = None
    pauses: int | None = None
    pause_ms: float | None = None
    """Forwards of steps in which candidates were looked into; the next: the strategy's own time in them."""
    pause_own_ms: float | None = None
    plain_ms: float | None = None
    """What a token of the large model alone costs, as this run measured it."""
    peak_bytes: int | None = None
    right: bool | None = None
    same: bool | None = None
    """Whether all tokens are those of the large model alone in the same run."""
    leading: int | None = None
    """Tokens that are equal before the first difference."""
    difference: Difference | None = None
    error: str | None = None

    @property
    def fed(self) -> int | None:
        """Tokens that the models read while decoding; None where a peer does not say."""
        if self.large_fed is None and self.small_fed is None:
            return None
        return (self.large_fed or 0) + (self.small_fed or 0)

    @property
    def ms_per_token(self) -> float | None:
        """Wall milliseconds a token, the prompt included."""
        return 1000 * self.seconds / self.tokens if self.tokens > 0 and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class PromptResult:
    """All answers to one prompt; the unit that is written, resumed and folded."""

    index: int
    group: str
    kind: str
    answers: tuple[Answer, ...]
    dependence_nats: float | None = None
    load: float | None = None
    """Load of the machine, per core, when the prompt began."""


def to_json(result: PromptResult) -> dict[str, Any]:
    """Plain data; fields at their default are left out."""
    data = _fields(result)
    data["answers"] = []
    for answer in result.answers:
        line = _fields(answer)
        if answer.difference is not None:
            line["difference"] = _fields(answer.difference)
        data["answers"].append(line)
    return {"type": "prompt", **data}


def from_json(data: Any) -> PromptResult:
    """The same, read back. Raises UsageError on anything else: a samples file is the user's, but not to be trusted."""
    try:
        answers = []
        for line in data["answers"]:
            difference = line.get("difference")
            if difference is not None:
                difference = Difference(**_known(Difference, difference))
            answers.append(Answer(**{**_known(Answer, line), "difference": difference}))
        return PromptResult(**{**_known(PromptResult, data), "answers": tuple(answers)})
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError("a line of the samples file is not a prompt of a bench") from error


_TEXTS = (
    "row",
    "text",
    "guarantee",
    "finish",
    "error",
    "group",
    "kind",
    "plain_token",
    "row_token",
)
_FLAGS = ("right", "same")
_COUNTS = (
    "index", "run", "tokens", "large_tokens", "large_fed", "small_fed", "large_forwards",
    "prompt_fed_work", "fed_work", "peak_bytes", "leading", "position", "pauses",
)  # fmt: skip
_LARGEST = 2**63


def _known(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    """The fields that a dataclass has, each checked. Raises TypeError."""
    found = {}
    for f in fields(kind):
        if f.name not in data or f.name in ("answers", "difference"):
            continue
        value = found[f.name] = data[f.name]
        if value is None and f.default is None:
            continue
        if f.name in _TEXTS:
            fine = isinstance(value, str)
        elif f.name in _FLAGS:
            fine = isinstance(value, bool)
        elif f.name in _COUNTS:
            fine = type(value) is int and 0 <= value < _LARGEST
        else:
            fine = type(value) in (int, float) and -_LARGEST < value < _LARGEST
        if not fine:
            raise TypeError(f.name)
    return found


def _fields(thing: Any) -> dict[str, Any]:
    return {f.name: value for f in fields(thing) if (value := getattr(thing, f.name)) != f.default}
