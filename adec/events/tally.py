"""The figures of a run, from its steps alone: display, trace and bench cannot disagree."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

from adec.events.plain_time import PlainTime
from adec.events.records import (
    Attempt,
    CanvasRecord,
    DepthRecord,
    Forward,
    Purpose,
    Role,
    Start,
    Step,
)

Finish = Literal["end", "length", "context", "stop", "interrupted", "lost"]
"""end: an end token. length: --max-tokens. context: the context is full. stop: a stop string.
interrupted: Ctrl-C. lost: given up, because it was probably going wrong."""

MOST_LAYERS = 4096
MOST_NAMES = 64
"""Sources, and roles, that are told apart; a trace may come from anybody, and further ones are
counted as "other"."""


def layers_named(start: Start) -> int | None:
    """Layers of the large model, as the header of a run names them; None where it does not."""
    layers = start.models.get("large", {}).get("layers")
    return layers if type(layers) is int and 1 <= layers <= MOST_LAYERS else None


class Tally:
    """Running totals. `add` every step; read `summary` at any time.

    What the figures count:

    - *tokens_by_source*: committed tokens by who wrote them, a model or not (`Token.source`).
      *large_tokens*, *small_tokens*: the entries of "large" and "small". The large model's are its
      corrections and bonus tokens too; a draft that it only confirmed is its drafter's.
    - *fed_by_model*: tokens that went through a model in decoding; *prompt_fed_by_model*: those of
      the prompt; *forwards_by_model*: forwards in decoding.
    - *wakes*: times the large model took over or judged.
    - *pauses*: times candidates were looked into; *chosen* of them were won by another token than
      the likeliest. *looked_ahead*: tokens fed for that. *pause_ms*: forwards of these steps,
      *pause_own_ms*: what adec itself added.
    - *attempts*: whole answers that were scored, in *rounds*, the best with *best_score*.
    - *layers_computed*: layers of the large model that ran in decoding, a token and layer each, of
      *layers_of* that it would have run alone; None where its layers are not known.
      *exits_by_layer*: tokens by the layer that wrote them, where a method leaves early.
    - *neurons_computed* of *neurons_of*: feed-forward neurons that ran, for the tokens for which a
      method chose among them; None where none did.
    - *plain_ms_per_token*: what one token of the large model alone costs; *plain_ms_from* says how
      that is known, see `PlainTime`.
    - *saved_seconds* compares decoding with it, and is None while it is unknown.
    """

    def __init__(
        self,
        strategy: str,
        guarantee: str,
        *,
        plain_ms: float | None = None,
        layers: int | None = None,
    ) -> None:
        """`plain_ms`: as a profile measured it. `layers`: of the large model, where known."""
        self.strategy = strategy
        self.guarantee = guarantee
        self.tokens = 0
        self.tokens_by_source: Counter[str] = Counter()
        self.wakes = 0
        self.pauses = 0
        self.chosen = 0
        self.looked_ahead = 0
        self.pause_ms = 0.0
        self.pause_own_ms = 0.0
        self.attempts = 0
        self.rounds = 0
        self.best_score: float | None = None
        self.neurons_computed = 0
        self.neurons_of = 0
        self.drafted = 0
        self.accepted = 0
        self.own_ms = 0.0
        self.first_token_seconds: float | None = None
        self.finish: Finish | None = None
        self.fed: Counter[Role] = Counter()
        self.prompt_fed: Counter[Role] = Counter()
        self.forwards: Counter[Role] = Counter()
        self.ms: dict[Purpose, float] = dict.fromkeys(get_args(Purpose), 0.0)
        self._layers = layers
        self.layers_computed = 0
        self.exits: Counter[int] = Counter()
        self._on_canvas = False
        self._plain = PlainTime(plain_ms)

    def add(self, step: Step, seconds: float) -> None:
        """Take in a step that was received `seconds` after the start of the run."""
        if step.tokens and self.first_token_seconds is None:
            self.first_token_seconds = seconds
        self.tokens += len(step.tokens)
        for token in step.tokens:
            _count(self.tokens_by_source, token.source)
            self.chosen += token.how == "chosen"
        self.wakes += step.kind == "wake"
        if step.kind == "pause":
            self.pauses += 1
            self.pause_ms += step.ms()
            self.pause_own_ms += step.own_ms
        if isinstance(step.detail, Attempt):
            self.attempts += 1
            self.rounds = max(self.rounds, step.detail.round)
            self.best_score = step.detail.score if step.detail.best else self.best_score
        self._on_canvas = self._on_canvas or isinstance(step.detail, CanvasRecord)
        if isinstance(step.detail, DepthRecord):
            _count_depth(self.exits, step.detail.depth)
        self.drafted += step.drafted
        self.accepted += step.accepted
        self.own_ms += step.own_ms
        if step.neurons is not None and step.neurons_of is not None:
            self.neurons_computed += min(step.neurons, step.neurons_of)
            self.neurons_of += step.neurons_of
        self._plain.curve_ms = step.plain_ms or self._plain.curve_ms
        # drafts that were verified as the prompt was read took less than a forward of their own
        shared = bool(step.tokens) and any(f.purpose == "prompt" for f in step.forwards)
        for forward in step.forwards:
            self._add_forward(forward, shared=shared)

    def _add_forward(self, forward: Forward, *, shared: bool) -> None:
        """`shared`: its step also read the end of the prompt."""
        self.ms[forward.purpose] += forward.ms
        if forward.purpose == "rewind":
            return
        if forward.purpose == "prompt":
            _count(self.prompt_fed, forward.model, forward.tokens)
            return
        if forward.model == "large" and self._layers is not None:
            ran = self._layers if forward.layers is None else forward.layers
            self.layers_computed += forward.tokens * min(ran, self._layers)
        if forward.purpose == "draft" and forward.layers is not None:
            return  # the forward that runs the other layers counts these tokens
        _count(self.fed, forward.model, forward.tokens)
        _count(self.forwards, forward.model)
        if forward.purpose == "look_ahead":
            self.looked_ahead += forward.tokens
        if forward.model == "large" and not shared and forward.layers is None:
            self._plain.add(forward.tokens, forward.ms)

    @property
    def plain_ms_per_token(self) -> float | None:
        """Milliseconds of a token of the large model alone, here; None while unknown."""
        return self._plain.known(on_canvas=self._on_canvas)[0]

    @property
    def decode_ms(self) -> float:
        """Time of decoding: every forward but the prompt's, and the strategy's own time."""
        return sum(self.ms.values()) - self.ms["prompt"] + self.own_ms

    @property
    def saved_seconds(self) -> float | None:
        """Decoding time saved against the large model alone; negative when time was lost."""
        plain = self.plain_ms_per_token
        return None if plain is None else (plain * self._decoded - self.decode_ms) / 1000

    @property
    def speedup(self) -> float | None:
        """Speed of decoding as a multiple of the large model's alone; None while unknown."""
        plain = self.plain_ms_per_token
        known = plain is not None and self.decode_ms > 0 and self._decoded > 0
        return plain * self._decoded / self.decode_ms if known and plain is not None else None

    @property
    def tokens_per_large_forward(self) -> float | None:
        """Committed tokens a forward of the large model in decoding; None before the first."""
        forwards = self.forwards["large"]
        return self._decoded / forwards if forwards else None

    @property
    def layers_of(self) -> int | None:
        """Layers that the large model alone would have run for the tokens decoded so far.

        The prompt's last forward gives the first token. None where its layers are not known.
        """
        return None if self._layers is None else self._layers * self._decoded

    @property
    def layers_share(self) -> float | None:
        """Share of those layers that ran, drafts and rejected tokens included; None: not known."""
        return self.layers_computed / self.layers_of if self.layers_of else None

    def share(self, source: str) -> float:
        """Share of the tokens that a source wrote, 0 to 1."""
        return self.tokens_by_source[source] / self.tokens if self.tokens else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Committed tokens per second of decoding.

        Without the prompt's time and without the first token, which the prompt's last forward
        gives. On a canvas every forward reads the prompt, and all of them count.
        """
        return 1000 * self._decoded / self.decode_ms if self.decode_ms > 0 else 0.0

    @property
    def _decoded(self) -> int:
        return self.tokens if self._on_canvas else max(0, self.tokens - 1)

    def summary(self, seconds: float) -> dict[str, Any]:
        """Everything, as plain data. `seconds` is the wall time from start to end."""
        plain_ms, plain_ms_from = self._plain.known(on_canvas=self._on_canvas)
        return {
            "strategy": self.strategy,
            "guarantee": self.guarantee,
            "finish": self.finish,
            "tokens": self.tokens,
            "small_tokens": self.tokens_by_source["small"],
            "large_tokens": self.tokens_by_source["large"],
            "tokens_by_source": dict(self.tokens_by_source),
            "small_fed": self.fed["small"],
            "large_fed": self.fed["large"],
            "small_prompt_fed": self.prompt_fed["small"],
            "large_prompt_fed": self.prompt_fed["large"],
            "small_forwards": self.forwards["small"],
            "large_forwards": self.forwards["large"],
            "fed_by_model": dict(self.fed),
            "prompt_fed_by_model": dict(self.prompt_fed),
            "forwards_by_model": dict(self.forwards),
            "wakes": self.wakes,
            "pauses": self.pauses,
            "chosen": self.chosen,
            "looked_ahead": self.looked_ahead,
            "pause_ms": self.pause_ms,
            "pause_own_ms": self.pause_own_ms,
            "attempts": self.attempts,
            "rounds": self.rounds,
            "best_score": self.best_score,
            "drafted": self.drafted,
            "accepted": self.accepted,
            "seconds": seconds,
            "first_token_seconds": self.first_token_seconds,
            "tokens_per_second": self.tokens_per_second,
            "prompt_ms": self.ms["prompt"],
            "draft_ms": self.ms["draft"],
            "verify_ms": self.ms["verify"],
            "catch_up_ms": self.ms["catch_up"],
            "write_ms": self.ms["write"],
            "look_ahead_ms": self.ms["look_ahead"],
            "rewind_ms": self.ms["rewind"],
            "own_ms": self.own_ms,
            "plain_ms_per_token": plain_ms,
            "plain_ms_from": plain_ms_from,
            "saved_seconds": self.saved_seconds,
            "speedup": self.speedup,
            "tokens_per_large_forward": self.tokens_per_large_forward,
            "layers_computed": None if self._layers is None else self.layers_computed,
            "layers_of": self.layers_of,
            "neurons_computed": self.neurons_computed if self.neurons_of else None,
            "neurons_of": self.neurons_of or None,
            "exits_by_layer": {str(depth): self.exits[depth] for depth in sorted(self.exits)},
        }


def _count(counter: Counter[str], name: str, more: int = 1) -> None:
    if name not in counter and (len(counter) >= MOST_NAMES or len(name) > MOST_NAMES):
        name = "other"
    counter[name] += more


def _count_depth(exits: Counter[int], depth: int) -> None:
    """Count a depth; beyond `MOST_NAMES` of them, as only a trace of somebody's may have, none."""
    if depth in exits or len(exits) < MOST_NAMES * 4:
        exits[depth] += 1
