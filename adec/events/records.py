"""What happens in a run, as data: a start, steps, an end. Their JSON form is the trace and `--jsonl`.

One event is one JSON object on one line, `"type"` first. The start line carries `"schema": 1`. Keys are only ever
added; a reader skips keys that it does not know. Times are milliseconds or seconds as their names say, entropies are
nats. Fields at their default are left out of a line; numbers that JSON lacks are the strings "inf", "-inf", "nan".

    {"type": "start", "schema": 1, "adec": "0.1.0", "strategy": "ead", …}
    {"type": "step", "kind": "draft", "tokens": [{"id": 17, "source": "small", "text": " the", …}], …}
    {"type": "end", "summary": {"strategy": "ead", "tokens": 64, "large_tokens": 9, …}}

A run that fails ends in `{"type": "error", "message": …, "exit_code": …}` instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

SCHEMA = 1

Kind = Literal["prompt", "draft", "wake", "write", "pause", "attempt"]
"""prompt: a chunk of the prompt was read. draft: the small model wrote, and is trusted. wake: the large model read what it had
missed, judged what was drafted, and wrote. write: the model at work wrote on. pause: the model at work was unsure, and several
candidates were looked into before one was written. attempt: a whole answer was written and scored; only the best one is committed."""

Role = str
"""What a model is for in a run: "large", "small", "draft", "expert:2", …"""

Purpose = Literal["prompt", "draft", "verify", "catch_up", "write", "look_ahead", "rewind"]
"""What a forward was for. rewind: a model that cannot just cut its cache read again what stays; this
counts as time alone, with 0 tokens."""

How = Literal["written", "accepted", "corrected", "bonus", "chosen"]
"""written: by the model at work. accepted: drafted by `source`, confirmed by the large model. corrected: by the large
model in place of a draft. bonus: by the large model after a draft that it confirmed whole. chosen: at a pause, in place of the
likeliest token, for what follows it."""


class Guarantee(Enum):
    """What a strategy promises about its output."""

    EXACT = "exact"
    BOUNDED = "bounded"
    APPROXIMATE = "approximate"

    @property
    def promise(self) -> str:
        """The promise in words, to be printed wherever the strategy is named."""
        return {
            Guarantee.EXACT: "what the large model alone would write",
            Guarantee.BOUNDED: "diverges at most as far as the profile's proved budget",
            Guarantee.APPROXIMATE: "no promise; compare with an exact strategy",
        }[self]


@dataclass(frozen=True, slots=True)
class Token:
    """One committed token."""

    id: int
    source: str
    """Who wrote it: "small", "large"; later families add "ngram", "layer:12", …"""
    how: How = "written"
    entropy: float | None = None
    """Nats, of the row that `source` chose it from, before warpers; likewise the next two."""
    margin: float | None = None
    probability: float | None = None
    text: str = ""
    """The characters that became complete with this token; filled in at the edge, where ids become text."""
    position: int | None = None
    """Index in the answer, for methods that do not write left to right; None: the next one."""


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward of one model: why, tokens fed, wall time."""

    model: Role
    purpose: Purpose
    tokens: int
    ms: float
    layers: int | None = None
    """How many of the model's layers ran; None: all."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What a switching rule looked at: its value (nats) and the threshold it was held against."""

    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class TreeRecord:
    """The tree of drafts that was tried in a step: parents and tokens node by node, and the accepted path."""

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    probabilities: tuple[float | None, ...]
    accepted: tuple[int, ...]
    texts: tuple[str, ...] = ()
    """What each node says, where it is known; filled in at the edge, as `Token.text` is."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that could come next, with what would follow it."""

    tokens: tuple[int, ...]
    """The token itself and its look-ahead."""
    probability: float
    """What the model at work gave the token itself."""
    score: float
    """Mean log-probability of `tokens` (nats), the look-ahead perhaps with a weight: the greatest wins."""
    text: str = ""
    """The characters of `tokens`; filled in at the edge."""


@dataclass(frozen=True, slots=True)
class Pause:
    """What was compared before a step's first token was written."""

    candidates: tuple[Candidate, ...]
    """Likeliest first."""
    winner: int
    """Index into `candidates`."""
    kept: int = 0
    """Tokens of the winner's look-ahead that were committed with it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A whole answer that competes with others; its tokens are committed later, if it wins."""

    round: int
    """From 1 on; those of a later round saw the best and the worst of the earlier ones."""
    tokens: tuple[int, ...]
    score: float | None
    """The verifier's, greater is better; None when it gave none."""
    best: bool
    """Whether it is the best so far."""
    feedback: str = ""
    """What the verifier said beside the score."""
    verify_ms: float = 0.0
    """Time of a verifier that is no model; a model's is a forward."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of a strategy and the tokens that it committed."""

    kind: Kind
    tokens: tuple[Token, ...] = ()
    forwards: tuple[Forward, ...] = ()
    own_ms: float = 0.0
    """The strategy's own time: the step's wall time less its forwards."""
    drafted: int = 0
    """Tokens proposed to the large model in this step, of which `accepted` stand."""
    accepted: int = 0
    signal: Signal | None = None
    reason: str | None = None
    """Why models changed hands, in words."""
    detail: TreeRecord | Pause | Attempt | None = None
    """What this step compared or tried, if its family keeps a record of that."""
    plain_ms: float | None = None
    """What one token of the large model alone would take now, by the forward-time curve that the strategy decides with."""

    def with_text(self, text: str) -> Step:
        """The same with the text of its only token: what `dataclasses.replace` does, for one step a token, in a third of the time."""
        (token,) = self.tokens
        written = Token(
            token.id, token.source, token.how, token.entropy, token.margin, token.probability, text,
            token.position,
        )  # fmt: skip
        return Step(
            self.kind, (written,), self.forwards, self.own_ms, self.drafted, self.accepted,
            self.signal, self.reason, self.detail, self.plain_ms,
        )  # fmt: skip

    def ms(self, purpose: Purpose | None = None, model: Role | None = None) -> float:
        """Milliseconds of this step's forwards, of one purpose or model or of all."""
        return sum(
            f.ms
            for f in self.forwards
            if (purpose is None or f.purpose == purpose) and (model is None or f.model == model)
        )

    def fed(self, model: Role, *, prompt: bool = False) -> int:
        """Tokens fed to a model in decoding, or those of the prompt."""
        return sum(
            f.tokens
            for f in self.forwards
            if f.model == model and (f.purpose == "prompt") == prompt
        )


@dataclass(frozen=True, slots=True)
class Start:
    """The header: everything that one needs to read, judge or repeat the run."""

    adec: str
    strategy: str
    guarantee: str
    paper: str | None
    models: dict[str, dict[str, Any]]
    """By role: name, path, format, parameters, quantisation, vocabulary fingerprint."""
    settings: dict[str, Any]
    sampling: dict[str, Any]
    prompt: str
    prompt_tokens: int
    max_tokens: int
    profile: str | None = None
    plain_ms_per_token: float | None = None
    """What a token of the large model alone costs as a profile measured it; for `Tally`."""
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class End:
    """The closing line; `summary` is what `--json` prints under the same name."""

    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """In place of an end: what failed, and the exit code."""

    message: str
    exit_code: int


Event = Start | Step | End | Failure
