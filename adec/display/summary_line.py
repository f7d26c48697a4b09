"""The closing lines of a run on stderr: what ran, what it promised, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any, TextIO

from adec.display import Quiet
from adec.display.sanitise import one_line
from adec.display.screen.terminal import size_of
from adec.display.streams import write_beside
from adec.display.wording import (
    SEPARATOR,
    count,
    percent,
    promise,
    saved,
    threads_changed,
    times_plain,
)
from adec.events.records import End, Event

_FINISH = {
    "length": "stopped at the limit of tokens",
    "context": "stopped, the context is full",
    "stop": "stopped at a stop string",
    "interrupted": "interrupted",
    "lost": "given up, it was probably going wrong",
}


_INDENT = "  "

MOST_SOURCES = 8
"""Other sources than the two models that are named."""


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """One to three lines from a summary of `Tally.summary` or of a trace.

    A trace may lack fields or hold nonsense; such fields are left out.
    """
    tokens = _integer(summary, "tokens")
    name = one_line(str(summary.get("strategy", "?")))
    line = [f"{name} ({one_line(promise(str(summary.get('guarantee', '?'))))}{_grade(summary)})"]
    line.append(count(tokens, "token"))
    seconds, speed = _number(summary, "seconds"), _number(summary, "tokens_per_second")
    if seconds is not None:
        line[-1] += f" in {seconds:.1f} s"
    if speed:
        line.append(f"{speed:.1f} tok/s")
    finish = _FINISH.get(str(summary.get("finish")))
    if finish is not None:
        line.append(finish)
    lines = [SEPARATOR.join(line)]
    if tokens and (_integer(summary, "small_forwards") or _integer(summary, "drafted")):
        lines.append(_sharing_line(summary, tokens))
    exits = _exits_line(summary)
    if exits:
        lines.append(exits)
    attempts, best = _integer(summary, "attempts"), _number(summary, "best_score")
    if attempts:
        rounds = count(_integer(summary, "rounds"), "round")
        score = "none scored" if best is None else f"best score {best:.4g}"
        lines.append(f"{count(attempts, 'answer')} in {rounds}{SEPARATOR}{score}")
    pauses = _integer(summary, "pauses")
    if pauses:
        chosen, ahead = _integer(summary, "chosen"), _integer(summary, "looked_ahead")
        lines.append(
            f"{count(pauses, 'pause')}, {chosen} won by another token than the likeliest{SEPARATOR}"
            f"looked ahead {count(ahead, 'token')}"
        )
        forwards, own = _number(summary, "pause_ms"), _number(summary, "pause_own_ms")
        if forwards and forwards > 0 and own is not None:
            part = f"{100 * own / forwards:.1f} %"
            each = (forwards + own) / pauses
            lines[-1] += f"{SEPARATOR}{each:.1f} ms a pause, adec's own work {part} of its forwards"
    lines += [line for line in (_bought_line(summary), _machine_line(summary)) if line]
    return lines


def _exits_line(summary: Mapping[str, Any]) -> str:
    """At which layers tokens were written, and how many layers ran for that."""
    exits = summary.get("exits_by_layer")
    if not isinstance(exits, dict) or not exits:
        return ""
    ran, whole = _integer(summary, "layers_computed"), _integer(summary, "layers_of")
    parts = [f"{percent(ran / whole)} of the layers ran"] if 0 < ran <= whole else []
    often = sorted(((_integer(exits, depth), str(depth)) for depth in exits), reverse=True)
    shown = ", ".join(f"{one_line(depth)[:8]} wrote {many}" for many, depth in often[:MOST_SOURCES])
    more = f" and {len(often) - MOST_SOURCES} others" if len(often) > MOST_SOURCES else ""
    return SEPARATOR.join([*parts, f"layer {shown}{more}"])


def _bought_line(summary: Mapping[str, Any]) -> str:
    """What a server was paid for."""
    bought = summary.get("bought")
    if not isinstance(bought, dict):
        return ""
    read, written = _integer(bought, "tokens_read"), _integer(bought, "tokens_written")
    parts = [f"{count(_integer(bought, 'requests'), 'request')}: {read} read, {written} written"]
    if unseen := _integer(bought, "tokens_unseen"):
        parts.append(f"at most {unseen} more were written and not used")
    if (budget := _integer(bought, "budget")) > 0:
        parts.append(f"of {budget} allowed")
    if (cost := _number(bought, "cost")) is not None:
        parts.append(f"{cost:.6f} {one_line(str(bought.get('currency', '')))[:8]}".rstrip())
    return SEPARATOR.join(parts)


def _grade(summary: Mapping[str, Any]) -> str:
    """How exact an exact answer is."""
    if summary.get("exactness") == "bitwise":
        return ", bit for bit"
    if summary.get("exactness") != "rounding":
        return ""
    noise = _number(summary, "exactness_noise")
    return ", up to rounding" if noise is None else f", up to rounding of {noise:.2g}"


def _machine_line(summary: Mapping[str, Any]) -> str:
    """What was chosen by measurement: formats, and the latest change of each model's threads."""
    threads, dtypes = summary.get("threads_by_model"), summary.get("dtype_by_model")
    threads = threads if isinstance(threads, dict) else {}
    several = len(threads) > 1
    parts = []
    for role, dtype in list(dtypes.items())[:MOST_SOURCES] if isinstance(dtypes, dict) else ():
        whose = f"{one_line(str(role))[:20]}: " if several else ""
        on = _integer(threads, role)
        words = f" on {count(on, 'thread')}" if on else ""
        parts.append(f"{whose}{one_line(str(dtype))[:20]}{words}")
    changes = summary.get("thread_changes")
    last: dict[str, str] = {}
    for change in changes[-MOST_SOURCES:] if isinstance(changes, list) else ():
        if isinstance(change, dict):
            model = one_line(str(change.get("model", "")))[:20]
            before, after = _integer(change, "before"), _integer(change, "after")
            reason = one_line(str(change.get("reason", "?")))[:40]
            last[model] = threads_changed(model if several else "", before, after, reason)
    return SEPARATOR.join([*parts, *last.values()])


def _sharing_line(summary: Mapping[str, Any], tokens: int) -> str:
    """Who wrote how much, and what it brought. What the small model wrote is what is left."""
    written, read = _integer(summary, "large_tokens"), _integer(summary, "large_fed")
    wakes = count(_integer(summary, "wakes"), "wake-up")
    line = [
        f"the large model wrote {written} ({percent(written / tokens)}) and read {read} in {wakes}"
    ]
    sources = summary.get("tokens_by_source")
    sources = sources if isinstance(sources, dict) else {}
    others = set(sources) - {"large", "small"}
    for source in sorted(others)[:MOST_SOURCES]:
        wrote = _integer(sources, source)
        line.append(f"{one_line(source)[:20]} wrote {wrote} ({percent(wrote / tokens)})")
    drafted, accepted = _integer(summary, "drafted"), _integer(summary, "accepted")
    if drafted:
        line.append(f"confirmed {accepted} of {drafted} drafts")
    each = _number(summary, "tokens_per_large_forward")
    if drafted and each is not None:
        line.append(f"{each:.2f} tokens a large forward")
    difference = _number(summary, "saved_seconds")
    if difference is not None:
        roughly = summary.get("plain_ms_from") in ("curve", "fitted")
        line.append(f"{saved(difference, roughly=roughly)} against the large model alone")
        ratio = _number(summary, "speedup")
        if ratio is not None:
            line[-1] += f", {times_plain(ratio)}"
    elif summary.get("plain_ms_from") == "contradicted":
        line.append("time saved: not known, plain was measured under another load")
    else:
        line.append("time saved: not known, the large model ran too seldom to tell")
    return SEPARATOR.join(line)


class SummaryDisplay(Quiet):
    """Writes the closing lines when the run ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        if isinstance(event, End):
            lines = summary_lines(event.summary)
            if self._stream.isatty():
                columns, _ = size_of(self._stream)
                lines = [part for line in lines for part in folded(line, columns)]
            write_beside(self._stream, "\n".join(lines) + "\n")


def folded(line: str, columns: int) -> list[str]:
    """The line in parts of at most `columns` characters, those after the first indented.

    It is broken after a separator, or else between words; a longer word stays whole.
    """
    mark = "\N{NO-BREAK SPACE}" + SEPARATOR.strip()
    parts = [""]
    for item in line.split(SEPARATOR):
        joined = SEPARATOR.join(filter(None, [parts[-1], item]))
        if len(joined) + len(mark) <= columns or not parts[-1]:
            parts[-1] = joined
        else:
            parts[-1] += mark
            parts.append(_INDENT + item)
    return [
        piece.replace(mark, SEPARATOR.rstrip())
        for part in parts
        for piece in wrap(
            part,
            max(columns, 2 * len(_INDENT)),
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


class CutNotice(Quiet):
    """Says when an answer was cut by a limit, where no closing lines say so."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        if isinstance(event, End):
            tokens = count(_integer(event.summary, "tokens"), "token")
            told = {
                "length": f"after {tokens}: -n sets the limit, -1 is none",
                "context": f"after {tokens}: the context is full, a larger --ctx may hold more",
            }.get(str(event.summary.get("finish")))
            if told is not None:
                write_beside(self._stream, f"adec: the answer is cut off {told}\n")


def _number(summary: Mapping[str, Any], name: str) -> float | None:
    value = summary.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
        return float(value)
    return None


def _integer(summary: Mapping[str, Any], name: str) -> int:
    return int(_number(summary, name) or 0)
