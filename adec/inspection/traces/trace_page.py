"""A trace as one HTML page that fetches nothing and in which no text can become markup or script.

Three fences: text in the markup is escaped. The data are JSON with `<`, `>` and `&` escaped, so
that nothing in them ends their block, and the script inserts them as text only. The page's policy
allows one script and one style, named by their hashes, and no address.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from adec.display.marks import LEGEND, OTHERS, legend_name, mark_of
from adec.display.sanitise import one_line, sanitise
from adec.display.wording import count, many
from adec.errors import TraceError
from adec.events.hostile_json import dumps, to_plain
from adec.events.records import CanvasRecord, DepthRecord, Event, Pause, Step, TreeRecord
from adec.inspection.traces.drafts import check_tree
from adec.inspection.traces.pauses import pause_data
from adec.inspection.traces.survey import Survey
from adec.inspection.traces.trace_report import foot, head

MOST_TOKENS = 20_000
MOST_NODES = 200_000
"""Tokens and tree nodes on a page; a browser is slow with more. The page says what is left out."""
_TEXT = 200
_SIGNIFICANT = 6


class Page:
    """Takes in the events of a trace; `html` is the page."""

    def __init__(self) -> None:
        self._survey = Survey()
        self._tokens: list[list[Any]] = []
        self._steps: list[dict[str, Any]] = []
        self._sources: dict[str, int] = {}
        self._nodes = 0
        self._left_out = 0
        self._fills: list[dict[str, Any]] = []
        self._filled = 0
        self._left_out_fills = 0
        self.trouble: TraceError | None = None

    def read(self, events: Iterable[Event]) -> None:
        """Read a trace. If it breaks off, `trouble` says how, and the page holds what came before.

        Raises TraceError when not even its first line can be read.
        """
        try:
            for event in events:
                self._survey.add(event)
                if isinstance(event, Step):
                    self._add(event)
        except TraceError as error:
            if self._survey.start is None:
                raise
            self.trouble = error

    def _add(self, step: Step) -> None:
        if isinstance(step.detail, CanvasRecord):
            self._add_fill(step.detail)
        room = MOST_TOKENS - len(self._tokens)
        self._left_out += max(0, len(step.tokens) - room)
        if room <= 0:
            return
        index = len(self._steps)
        signal = step.signal
        self._steps.append(
            {
                "number": self._survey.steps,
                "kind": step.kind,
                "reason": None if step.reason is None else one_line(step.reason[:_TEXT]),
                "drafted": step.drafted,
                "accepted": step.accepted,
                "value": None if signal is None else _rounded(signal.value),
                "threshold": None if signal is None else _rounded(signal.threshold),
                "tree": self._tree(step.detail) if isinstance(step.detail, TreeRecord) else None,
                "pause": _pause(step.detail) if isinstance(step.detail, Pause) else None,
                "depth": _depth(step.detail) if isinstance(step.detail, DepthRecord) else None,
            }
        )
        for token in step.tokens[:room]:
            source = one_line(token.source[:_TEXT])
            self._tokens.append(
                [
                    token.id,
                    LEGEND.index(mark_of(token)),
                    self._sources.setdefault(source, len(self._sources)),
                    token.how,
                    _rounded(token.entropy),
                    _rounded(token.margin),
                    _rounded(token.probability),
                    sanitise(token.text[: 10 * _TEXT]),
                    index,
                ]
            )

    def _add_fill(self, record: CanvasRecord) -> None:
        """What a step filled, for the animation."""
        room = MOST_TOKENS - self._filled
        self._left_out_fills += len(record.filled[room:])
        filled = [token for token in record.filled[:room] if token.position is not None]
        self._filled += len(filled)
        if room <= 0:
            return
        self._fills.append(
            {
                "number": self._survey.steps,
                "length": min(record.length, MOST_TOKENS),
                "masked": record.masked,
                "reused": record.reused,
                "nats": _rounded(record.nats),
                "filled": [
                    [token.position, sanitise(token.text[:_TEXT]), _rounded(token.probability)]
                    for token in filled
                ],
            }
        )

    def _tree(self, record: TreeRecord) -> dict[str, Any] | None:
        try:
            tree = check_tree(record)
        except ValueError:
            return None
        self._nodes += len(tree)
        if self._nodes > MOST_NODES:
            return None
        texts = record.texts or tuple(f"#{token}" for token in record.tokens)
        return {
            "parents": record.parents,
            "probabilities": [_rounded(p) for p in record.probabilities],
            "accepted": record.accepted,
            "texts": [sanitise(text[:_TEXT]) for text in texts],
        }

    @property
    def html(self) -> str:
        """The page."""
        from jinja2 import Environment, StrictUndefined

        folder = files("adec.inspection") / "page"
        style = (folder / "page.css").read_text(encoding="utf-8")
        script = (folder / "page.js").read_text(encoding="utf-8")
        data = {
            "marks": [
                f"other{OTHERS.index(mark)}" if mark in OTHERS else mark.name for mark in LEGEND
            ],
            "labels": [legend_name(mark, self._sources) for mark in LEGEND],
            "sources": list(self._sources),
            "steps": self._steps,
            "tokens": self._tokens,
            "fills": self._fills,
        }
        start = self._survey.start
        environment = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_visible
        )
        source = (folder / "page.html.jinja").read_text(encoding="utf-8")
        return environment.from_string(source).render(
            policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}",
            title="adec trace" if start is None else f"adec trace: {start.strategy[:60]}",
            style=Markup(style),
            head=[] if start is None else list(head(start)),
            notices=self._notices(),
            figures=list(foot(self._survey)),
            data=Markup(block_of(data)),
            script=Markup(script),
        )

    def _notices(self) -> list[str]:
        notices = []
        if self.trouble is not None:
            notices.append(f"This trace breaks off: {self.trouble}")
        if self._left_out:
            notices.append(
                f"The page holds the first {many(MOST_TOKENS)} tokens; "
                f"{count(self._left_out, 'more token')} count in the figures only."
            )
        if self._left_out_fills:
            notices.append(
                f"The animation ends after {count(self._filled, 'filled position')}; "
                f"{count(self._left_out_fills, 'more position')} were filled later."
            )
        if self._nodes > MOST_NODES:
            notices.append("Later trees are left out: the page would be too large.")
        return notices


def block_of(data: Any) -> str:
    """JSON for a script element: pure ASCII, and nothing in it ends the element."""
    text = dumps(to_plain(data))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _visible(value: Any) -> Any:
    """Text with control characters made visible, newlines as such, tabs as spaces; markup stays."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return sanitise(value).replace("\t", " ")


def _pause(pause: Pause) -> dict[str, Any]:
    data = pause_data(pause)
    for candidate in data["candidates"]:
        candidate["text"] = sanitise(candidate["text"][:_TEXT])
        candidate["probability"] = _rounded(candidate["probability"])
        candidate["score"] = _rounded(candidate["score"])
    return data


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _rounded(value: float | None) -> float | None:
    """To six significant digits, which makes the page a third of the size."""
    if value is None or not math.isfinite(value):
        return value
    return float(f"{value:.{_SIGNIFICANT}g}")


def _depth(record: DepthRecord) -> list[float | None]:
    """Layers that ran, layers of the model, and how sure the exit was."""
    return [record.depth, record.of, _rounded(record.sure)]
