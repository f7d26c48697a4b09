"""What happens in a run, as data: a start, steps, an end. Their JSON is the trace and `--jsonl`.

One event is one JSON object on one line, `"type"` first. The start line carries `"schema": 1`.
Keys are only ever added, and a reader skips keys that it does not know. Times are milliseconds or
seconds, as their names say; entropies are in nats. Fields that hold their default are left out,
and floats that JSON has no digits for are the strings "inf", "-inf" and "nan".

    {"type": "start", "schema": 1, "adec": "0.1.0", "strategy": "ead", …}
    {"type": "step", "kind": "draft", "tokens": [{"id": 17, "source": "small", …}], …}
    {"type": "end", "summary": {"strategy": "ead", "tokens": 64, "large_tokens": 9, …}}

A run that fails ends in `{"type": "error", "message": …, "exit_code": …}` instead.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from adec.events.hostile_json import Count, Integer

SCHEMA = 1

Role = str
"""What a model does in this run: "small", "large"; further families add their own."""

Kind = Literal["prompt", "draft", "wake", "write", "pause", "attempt", "fill"]
"""What a step did.

- prompt: read a chunk of the prompt.
- draft: the small model wrote, and is trusted.
- wake: the large model read what it had missed, judged the drafts, and wrote.
- write: the model at work wrote on.
- pause: the model at work was unsure, and several candidates were compared before one was written.
- attempt: a whole answer was written and scored; only the best one is committed.
- fill: positions of a canvas were filled, in any order. Its tokens are those that everything before
  them has reached now; what was filled stands in its detail.
"""

Purpose = Literal["prompt", "draft", "verify", "catch_up", "write", "look_ahead", "rewind"]
"""What a forward was for. rewind: a model that cannot just cut its cache read again what stays;
this counts as time alone, with 0 tokens."""

How = Literal["written", "accepted", "corrected", "bonus", "chosen"]
"""How a token came to stand.

- written: by the model at work.
- accepted: drafted by its source, confirmed by the large model.
- corrected: by the large model in place of a draft.
- bonus: by the large model, after it had confirmed all drafts.
- chosen: at a pause, in place of the likeliest token, because of what follows it.
"""


class Guarantee(Enum):
    """What a strategy promises about its output."""

    EXACT = "exact"
    BOUNDED = "bounded"
    APPROXIMATE = "approximate"

    @property
    def promise(self) -> str:
        """The promise in words; printed wherever the strategy is named."""
        return {
            Guarantee.EXACT: "what the large model alone would write",
            Guarantee.BOUNDED: "diverges at most as far as the profile's proved budget",
            Guarantee.APPROXIMATE: "no promise; compare with an exact strategy",
        }[self]


class Token(Struct, frozen=True, omit_defaults=True, gc=False):
    """One committed token."""

    id: Integer
    source: str
    """Who wrote it: a role, or what is no model ("ngram", "layer:12", …)."""
    how: How = "written"
    entropy: float | None = None
    """In nats, of the distribution that `source` chose it from, before temperature and filters;
    `margin` and `probability` are of the same distribution."""
    margin: float | None = None
    probability: float | None = None
    text: str = ""
    """The characters that became complete with this token; filled in where ids become text."""
    position: Count | None = None
    """Index in the answer, for methods that do not write left to right; None: the next one."""


class Forward(Struct, frozen=True, omit_defaults=True, gc=False):
    """One forward of one model: why it ran, how many tokens it was fed, its wall time."""

    model: Role
    purpose: Purpose
    tokens: Count
    ms: float
    layers: Count | None = None
    """How many of the model's layers ran; None: all."""


class Signal(Struct, frozen=True, gc=False):
    """What a switching rule compared: its signal (nats) and the threshold."""

    value: float
    threshold: float


class TreeRecord(Struct, frozen=True, omit_defaults=True, gc=False):
    """The tree of drafts that a step verified, node by node, and the path that was accepted."""

    tokens: tuple[Integer, ...]
    parents: tuple[Integer, ...]
    """Index of each node's parent; -1 for a root."""
    probabilities: tuple[float | None, ...]
    """The drafter's, where it has one."""
    accepted: tuple[Integer, ...]
    """Nodes of the accepted path, from the root on."""
    texts: tuple[str, ...] = ()
    """Each node's own characters; filled in where ids become text."""


class Candidate(Struct, frozen=True, omit_defaults=True, gc=False):
    """A token that could come next, with what would follow it."""

    tokens: tuple[Integer, ...]
    """The token itself and its look-ahead."""
    probability: float
    """Of the token itself, by the model at work."""
    score: float
    """Mean log-probability of `tokens` (nats), the look-ahead perhaps weighted; the greatest
    wins."""
    text: str = ""
    """The characters of `tokens`; filled in where ids become text."""


class Pause(Struct, frozen=True, gc=False):
    """The candidates that were compared before a step's first token was written."""

    candidates: tuple[Candidate, ...]
    """Likeliest first."""
    winner: Count
    """Index into `candidates`."""
    kept: Integer = 0
    """How many tokens of the winner's look-ahead were committed with it."""


class Attempt(Struct, frozen=True, omit_defaults=True, gc=False):
    """A whole answer that competes with others. Its tokens are committed later, if it wins."""

    round: Integer
    """From 1 on; attempts of a later round saw the best and the worst of the earlier ones."""
    tokens: tuple[Integer, ...]
    score: float | None
    """The verifier's score, greater is better; None when it gave none."""
    best: bool
    """Whether it is the best so far."""
    feedback: str = ""
    """What the verifier said beside the score."""
    verify_ms: float = 0.0
    """Time of a verifier that is no model; a model's is a forward."""
    text: str = ""


class CanvasRecord(Struct, frozen=True, omit_defaults=True, gc=False):
    """Positions of a canvas that a step filled. They are the answer's once all before them stand,
    unless an end token cuts them off."""

    filled: tuple[Token, ...]
    """From left to right, each with its position in the answer and, where ids become text, the
    text of its token alone."""
    masked: Count = 0
    """Positions of the canvas that are still masked."""
    length: Count = 0
    """Positions of the canvas, without the prompt."""
    reused: Count = 0
    """Positions, prompt included, whose keys and values the forward reused."""
    nats: float | None = None
    """Entropy of the positions that were scored and not filled, added up."""


class DepthRecord(Struct, frozen=True, omit_defaults=True, gc=False):
    """How many layers the step's token ran through before it was written."""

    depth: Count
    of: Count
    """Layers of the model."""
    sure: float | None = None
    """How sure the exit was at which it left, 0 to 1, where it asked."""


class ThreadChange(Struct, frozen=True, omit_defaults=True, gc=False):
    """A model runs on another number of threads from now on."""

    before: Count
    after: Count
    reason: str
    """In a few words: "machine in use"."""
    model: Role = ""


class StepFields(Struct, frozen=True, omit_defaults=True, gc=False, tag_field="type", tag="step"):
    """What a step of any family has."""

    kind: Kind
    tokens: tuple[Token, ...] = ()
    forwards: tuple[Forward, ...] = ()
    own_ms: float = 0.0
    """The strategy's own time: the step's wall time less its forwards."""
    drafted: Count = 0
    """Tokens proposed to the large model in this step, of which `accepted` stand."""
    accepted: Count = 0
    signal: Signal | None = None
    reason: str | None = None
    """Why the models took turns, in words."""
    plain_ms: float | None = None
    """What one token of the large model alone would take now, by the forward-time curve that the
    strategy decides with."""
    threads: tuple[ThreadChange, ...] = ()
    """Changes of the number of threads since the step before."""
    neurons: Count | None = None
    """Feed-forward neurons that ran for the step's token, of all layers together, where not all of
    `neurons_of` did."""
    neurons_of: Count | None = None
    lost: bool = False
    """Whether the answer is given up here, because it is probably going wrong."""


class Step(StepFields, frozen=True):
    """One decision of a strategy and the tokens that it committed."""

    detail: TreeRecord | Pause | Attempt | CanvasRecord | DepthRecord | None = None
    """What one family records beside that. In JSON its key is "tree", "pause", "attempt", "canvas"
    or "depth"."""

    def with_text(self, text: str) -> Step:
        """A copy in which the only token has this text."""
        (token,) = self.tokens
        return replace(self, tokens=(replace(token, text=text),))

    def ms(self, purpose: Purpose | None = None, model: Role | None = None) -> float:
        """Milliseconds of this step's forwards, perhaps only those of one purpose or model."""
        return sum(
            f.ms
            for f in self.forwards
            if (purpose is None or f.purpose == purpose) and (model is None or f.model == model)
        )

    def fed(self, model: Role, *, prompt: bool = False) -> int:
        """How many tokens a model was fed in decoding, or of the prompt."""
        return sum(
            f.tokens
            for f in self.forwards
            if f.model == model and (f.purpose == "prompt") == prompt
        )


class Start(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="start"):
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
    prompt_tokens: Count
    max_tokens: Count
    profile: str | None = None
    plain_ms_per_token: float | None = None
    """What a profile says that a token of the large model alone takes; for `Tally`."""
    prompt_held: Count = 0
    """Tokens of the prompt that the large model holds from the answer before."""
    yardstick: bool = False
    """Whether the strategy is what every other one is measured against."""
    schema: Integer = SCHEMA


class End(Struct, frozen=True, tag_field="type", tag="end"):
    """The closing line; `summary` is what `--json` prints under the same name."""

    summary: dict[str, Any] = field(default_factory=dict)


class Failure(Struct, frozen=True, gc=False, tag_field="type", tag="error"):
    """Closes a run that failed: why, and the exit code."""

    message: str
    exit_code: Integer


Event = Start | Step | End | Failure
