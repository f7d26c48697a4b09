"""The panel under the live text: the signal, who writes, how fast, and what it saves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from adec.display.marks import (
    CHOSEN,
    LARGE,
    LEGEND,
    SMALL,
    Mark,
    legend_name,
    mark_of,
    mark_of_source,
)
from adec.display.sanitise import one_line
from adec.display.screen.canvas_view import CanvasView
from adec.display.screen.sparkline import Column, sparkline
from adec.display.screen.tree_line import tree_line
from adec.display.wording import (
    SEPARATOR,
    count,
    percent,
    promise,
    saved,
    threads_changed,
    times_plain,
)
from adec.events.records import (
    Attempt,
    CanvasRecord,
    DepthRecord,
    Pause,
    Start,
    Step,
    TreeRecord,
)
from adec.events.tally import Tally, layers_named

_FULL_HEIGHT = 12
"""Terminals with this many rows get the panel with its frame."""
_LONGEST = 400
_RECENT = 24
"""Latest steps, from which the panel says whether drafting pays now."""


class PanelState:
    """The figures of a run so far, from its events."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.tally = Tally(
            start.strategy,
            start.guarantee,
            plain_ms=start.plain_ms_per_token,
            layers=layers_named(start),
        )
        self.points: deque[Column] = deque(maxlen=_LONGEST)
        self.marks: set[Mark] = {SMALL, LARGE} if "small" in start.models else {LARGE}
        self.reason: str | None = None
        self._about = "last hand-over"
        self.tree: TreeRecord | None = None
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)
        """Tokens and milliseconds of the latest steps."""
        self.depths: deque[Column] = deque(maxlen=_LONGEST)
        """Layers that each token ran through, where a method leaves early."""
        self.layers = 1
        self.pause: Pause | None = None
        self.best: Attempt | None = None
        """The best whole answer so far."""
        self.threads = ""
        """The latest change of the number of threads, in words."""
        self.canvas = CanvasView()
        self._has_signal = False
        self._reader = ""

    def add(self, step: Step, seconds: float) -> list[Mark]:
        """Take in a step, `seconds` after the start of the run; the marks of its tokens."""
        self.tally.add(step, seconds)
        marks = [*map(mark_of, step.tokens)]
        self.marks.update(marks)
        if isinstance(step.detail, CanvasRecord):
            marks = self.canvas.add(step)
        if step.reason:
            self.reason = step.reason
            preparing = step.kind == "prompt"
            alone = self.tree is not None or len(self.start.models) < 2
            self._about = "first" if preparing else "lately" if alone else "last hand-over"
        if step.threads:
            last = step.threads[-1]
            model = last.model if len(self.start.models) > 1 else ""
            self.threads = threads_changed(model, last.before, last.after, last.reason)
        detail = step.detail
        if isinstance(detail, Pause):
            self.pause = detail
        elif isinstance(detail, DepthRecord):
            # half of a column is half of the layers, whatever the deepest token was
            self.depths.append((detail.depth, detail.of / 2))
            self.layers = detail.of
        elif isinstance(detail, Attempt):
            self.reason = _attempt_words(detail)
            self.best = detail if detail.best else self.best
        if step.kind == "prompt":
            if step.forwards:
                self._reader = step.forwards[-1].model
        else:
            self._recent.append((len(step.tokens), step.ms() + step.own_ms))
            if isinstance(detail, TreeRecord):
                self.tree = detail
        if step.signal is not None:
            if not self._has_signal:
                self._has_signal = True
                self.points.clear()
            self.points.append((step.signal.value, step.signal.threshold))
        elif not self._has_signal:
            self.points.extend((t.entropy, None) for t in step.tokens if t.entropy is not None)
        return marks

    def rows(self, console: Console, width: int, height: int) -> list[str]:
        """The rows to draw, with escape sequences. Small terminals get fewer."""
        if height < 2:
            return []
        console.width = width
        with console.capture() as capture:
            console.print(self._panel(width, height))
        return capture.get().rstrip("\n").split("\n")

    def _panel(self, width: int, height: int) -> RenderableType:
        if height >= _FULL_HEIGHT and width >= 20:
            inner = width - 4
            rows = self._canvas_rows(inner) or [
                self._signal_row(inner),
                self._figures_row(inner),
                *(self._draft_rows(inner) if self.tally.drafted else []),
                *([self._depth_row(inner)] if self.depths else []),
                *([self._last_row(inner)] if self._has_news else []),
                *([_crop(one_line(self.threads), inner)] if self.threads else []),
                self._legend_row(inner),
            ]
            return Panel(
                Group(*rows),
                title=_crop(self._title(), width - 6),
                title_align="left",
                border_style="dim",
                height=len(rows) + 2,
                width=width,
            )
        rows = [self._legend_row(width), self._figures_row(width), self._signal_row(width)]
        if self.tally.tokens == 0:
            rows[1], rows[2] = rows[2], rows[1]
        if self.canvas.begun:
            figures = _crop(_fit(self.canvas.figures(), width), width)
            rows = [figures, self.canvas.rows(width)[0], self.canvas.legend()]
        return Group(*rows[: max(1, min(3, height // 2))])

    def _canvas_rows(self, width: int) -> list[Text]:
        """On a diffusion model: what is filled behind the text, and how much; else nothing."""
        if not self.canvas.begun:
            return []
        tally = self.tally
        speed = [f"{tally.tokens_per_second:.1f} tok/s", count(tally.tokens, "token")]
        if not self.start.yardstick and tally.saved_seconds is not None:
            speed.append(saved(tally.saved_seconds))
        return [
            *self.canvas.rows(width),
            _crop(_fit(self.canvas.figures(), width), width),
            _crop(_fit(speed, width), width),
            self.canvas.legend(),
        ]

    @property
    def _has_news(self) -> bool:
        """Whether there may be a last decision to show: one model hands nothing over."""
        return len(self.start.models) > 1 or self.reason is not None or self.pause is not None

    def _title(self) -> str:
        return one_line(f"{self.start.strategy} · {promise(self.start.guarantee)}")

    def _signal_row(self, width: int) -> Text:
        if self.best is not None:
            score = "" if self.best.score is None else f", {self.best.score:.4g}"
            return _crop(f"best so far{score}: “{one_line(self.best.text)}”", width)
        if self.tally.tokens == 0:
            return self._prompt_row(width)
        if not self.points:
            return _crop("entropy: not measured", width)
        value, threshold = self.points[-1]
        label = f" {value:5.2f}"
        if threshold is not None:
            label += f"{', threshold' if width >= 60 else ' of'} {threshold:.2f}"
        label += " nats"
        if width < 40:
            return sparkline(self.points, max(1, width - len(label))).append(label)
        head = "entropy "
        columns = max(1, width - len(head) - len(label))
        return Text.assemble(head, sparkline(self.points, columns), label, no_wrap=True)

    def _prompt_row(self, width: int) -> Text:
        whole = max(1, self.start.prompt_tokens - self.start.prompt_held)
        read = self.tally.prompt_fed[self._reader]
        label = f" {min(read, whole)} of {whole} tokens"
        head = f"{self._reader or 'model'} reads the prompt "
        columns = width - len(label) - len(head)
        if columns < 4:
            return _crop(f"prompt{label}", width)
        full = min(columns, columns * read // whole)
        return Text(head + "█" * full + "░" * (columns - full) + label, no_wrap=True)

    def _figures_row(self, width: int) -> Text:
        tally = self.tally
        if tally.attempts and not tally.tokens:
            # whole answers compete: nothing is committed before the best one is known
            read = sum(tally.fed.values())
            rounds = f"{count(tally.attempts, 'answer')} in {count(tally.rounds, 'round')}"
            return _crop(_fit([rounds, f"{count(read, 'token')} read"], width), width)
        difference = tally.saved_seconds
        share = f"large {percent(tally.share('large'))}"
        parts = [f"{tally.tokens_per_second:.1f} tok/s", count(tally.tokens, "token")]
        if not self.start.yardstick:
            parts.append("saving not known yet" if difference is None else saved(difference))
        line = _fit(parts, width - len(share) - len(SEPARATOR))
        others = [source for source, _ in tally.tokens_by_source.most_common() if source != "large"]
        if not others and "small" in self.start.models:
            others = ["small"]
        if not others:
            return _crop(_fit(parts, width), width)
        head = one_line(" + ".join(others)) if len(others) <= 2 else f"{len(others)} drafters"
        head = _crop(head, 20).plain
        columns = min(30, width - len(line) - len(share) - len(SEPARATOR) - cell_len(head) - 2)
        if columns < 6:
            return _crop(_fit([share, *parts], width), width)
        bar = self._share_bar(others, columns)
        return Text.assemble(head, " ", bar, f" {share}{SEPARATOR}{line}", no_wrap=True)

    def _share_bar(self, others: Sequence[str], columns: int) -> Text:
        """A shade for each source but the large model, whose share at the right end is solid."""
        solid = round(columns * self.tally.share("large"))
        bar, ends = Text(), [0]
        for source in others:
            ends.append(ends[-1] + self.tally.tokens_by_source[source])
        for index, (begin, end) in enumerate(pairwise(ends)):
            first, last = ((columns - solid) * edge // (ends[-1] or 1) for edge in (begin, end))
            bar.append("░▒▓"[index % 3] * (last - first), mark_of_source(source).colour)
        bar.append("░" * (columns - solid - len(bar)))
        return bar.append("█" * solid, LARGE.colour)

    def _draft_rows(self, width: int) -> list[Text]:
        """The tree of the last round, and where the time goes."""
        head = "drafted "
        tree = Text(head, no_wrap=True)
        if self.tree is not None:
            tree.append(tree_line(self.tree, width - len(head)))
        tally = self.tally
        whole = tally.decode_ms or 1.0
        shares = {
            "draft": tally.ms["draft"],
            "verify": whole - tally.ms["draft"] - tally.own_ms,
            "own": tally.own_ms,
        }
        split = ", ".join(f"{name} {percent(ms / whole)}" for name, ms in shares.items())
        parts = [f"{tally.tokens_per_large_forward or 0:.2f} tokens a large forward", split]
        return [tree, _crop(_fit([self._pays(), *parts], width), width)]

    def _depth_row(self, width: int) -> Text:
        """A bar for each of the latest tokens: half height is half of the layers."""
        depth = round(self.depths[-1][0])
        share = self.tally.layers_share
        words = f" layer {depth} of {self.layers}"
        if share is not None:
            words += f"{SEPARATOR}{percent(share)} of all ran"
        exits = [at for at, _ in self.tally.exits.most_common(3) if at < self.layers][:2]
        if exits and width >= _FULL_HEIGHT * 5:
            words += f"{SEPARATOR}most leave at {' and '.join(map(str, sorted(exits)))}"
        head = "depth "
        columns = width - len(head) - len(words)
        if columns < 4:
            return _crop(f"depth{words}", width)
        return Text.assemble(head, sparkline(self.depths, columns), words, no_wrap=True)

    def _pays(self) -> str:
        """Whether drafting pays now."""
        plain = self.tally.plain_ms_per_token
        ms = sum(ms for _, ms in self._recent)
        if plain is None or ms <= 0:
            return "not known yet whether it pays"
        ratio = plain * sum(tokens for tokens, _ in self._recent) / ms
        return f"{'pays' if ratio >= 1 else 'does not pay'} now: {times_plain(ratio)}"

    def _last_row(self, width: int) -> Text:
        """The last decision: a pause's candidates, winner first, or a change of hands."""
        pause = self.pause
        if pause is None:
            what = "last answer" if self.tally.attempts else self._about
            return _crop(f"{what}: {one_line(self.reason or 'none yet')}", width)
        row = Text("last pause ", no_wrap=True)
        order = sorted(range(len(pause.candidates)), key=lambda i: i != pause.winner)
        for place, index in enumerate(order):
            candidate = pause.candidates[index]
            part = f"“{one_line(candidate.text)}” {candidate.score:.2f}"
            if place:
                row.append(" over " if place == 1 else ", ")
            row.append(part, style=CHOSEN.style() if place == 0 and index else "")
        row.truncate(width)
        return row

    def _legend_row(self, width: int) -> Text:
        row = Text(no_wrap=True)
        for mark in LEGEND:
            if mark in self.marks:
                gap = "  " if row else ""
                name = legend_name(mark, self.tally.tokens_by_source)
                if row.cell_len + len(gap) + cell_len(name) > width:
                    break
                row.append(gap).append(name, style=mark.style())
        return row


def _attempt_words(attempt: Attempt) -> str:
    score = "not scored" if attempt.score is None else f"score {attempt.score:.4g}"
    return f"round {attempt.round}, {score}: “{attempt.text}”"


def _fit(parts: list[str], width: int) -> str:
    """As many parts as fit, and always the first."""
    line = parts[0]
    for part in parts[1:]:
        if len(line) + len(SEPARATOR) + len(part) > width:
            break
        line += SEPARATOR + part
    return line


def _crop(text: str, width: int) -> Text:
    if cell_len(text) > width:
        text = set_cell_size(text, max(0, width))
    return Text(text, no_wrap=True)
