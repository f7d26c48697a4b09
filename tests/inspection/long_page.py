"""The page of a long run in a browser: its size, and the time to open it and to answer a hover.

    python -m tests.inspection.long_page --tokens 4000

Runs strategies that record most on two tables, with trees and without. A hover counts from the
mouse's event to the frame that shows the token's figures. Prints a line for each strategy and exits
with 1 if a page is larger than 5 MB or a hover takes longer than 100 ms.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path

from adec.answering.session import Question, Session
from adec.engines.pair import Engines
from adec.engines.table import Law, TableEngine
from adec.events.codec import encode_line, read_trace
from adec.events.records import Event
from adec.inspection.traces.trace_page import Page
from tests.benchmark.rows import plan_of
from tests.inspection.browser import Browser, browser
from tests.laws import blend, law

SIZE = 8

BYTES = 5_000_000
HOVER_MS = 100.0
HOVERS = 60
WATCH = """
window.hovers = [];
document.getElementById("text").addEventListener("mouseover", (event) => {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => hovers.push(performance.now() - event.timeStamp);
    channel.port2.postMessage(0);
  });
}, true);
"""
"""A message that is posted from a frame comes after its painting."""
ALONE = """
(() => {
  const spans = [...document.querySelectorAll("#text span")];
  const took = [];
  for (let i = 0; i < 300; i++) {
    const begin = performance.now();
    spans[(i * 7919) % spans.length].dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
    document.body.getBoundingClientRect();
    took.push(performance.now() - begin);
  }
  return took;
})()
"""
"""The page's own part: its script and the layout, without the wait for a frame."""


def run_of(strategy: str, tokens: int) -> list[Event]:
    """The events of an answer of that many tokens: from tables that never end one."""
    target = law(SIZE, 1, order=2, sharpness=6)
    small, large = (
        endless(known) for known in (blend(target, law(SIZE, 1001, order=2), 0.8), target)
    )
    room = tokens + 200
    pair = Engines(
        large=TableEngine(large, size=SIZE, name="large", context=room),
        small=TableEngine(small, size=SIZE, name="small", context=room),
    )
    session = Session(plan_of(pair, strategy), pair, 0.0)
    return list(session.answer(Question("abcdab", max_tokens=tokens)))


def endless(known: Law) -> Law:
    """The same law without its last token, which ends an answer; it remembers two tokens."""

    @lru_cache(None)
    def row(prefix: tuple[int, ...]) -> tuple[float, ...]:
        *others, _ = known(prefix)
        whole = sum(others)
        return (*(chance / whole for chance in others), 0.0)

    return lambda prefix: row(tuple(prefix[-2:]))


def measure(chromium: Browser, path: Path) -> tuple[float, list[float]]:
    """Seconds to open a page; milliseconds of hovers over tokens here and there."""
    chromium.events.clear()
    begin = time.perf_counter()
    chromium.open(path)
    took = time.perf_counter() - begin
    chromium.value(WATCH)
    count = chromium.value("document.querySelectorAll('#text span').length")
    rng = random.Random(1)
    for done in range(1, HOVERS + 1):
        chromium.move_to(f"[data-token='{rng.randrange(count)}']")
        for _ in range(100):
            if chromium.value("hovers.length") >= done:
                break
            time.sleep(0.01)
    assert "of" in chromium.value("document.getElementById('detail').innerText")
    return took, chromium.value("hovers")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument(
        "traces", nargs="*", type=Path, help="traces of your own, instead of the tables'"
    )
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder, "browser")) as chromium:
        for name in options.traces or ("plain", "ead", "speculate", "dyspec"):
            page = Page()
            if isinstance(name, Path):
                page.read(read_trace(name))
                size = name.stat().st_size
            else:
                events = run_of(name, options.tokens)
                size = sum(len(encode_line(event)) + 1 for event in events)
                page.read(events)
            path = Path(folder, "page.html")
            path.write_text(page.html, encoding="utf-8")
            took, hovers = measure(chromium, path)
            hovers.sort()
            own = sorted(chromium.value(ALONE))
            count = chromium.value("document.querySelectorAll('#text span').length")
            print(
                f"{name}: {count} tokens, trace {size / 1e6:.2f} MB, "
                f"page {path.stat().st_size / 1e6:.2f} MB, opens in {took:.2f} s, "
                f"hover median {hovers[len(hovers) // 2]:.1f} ms, "
                f"slowest {hovers[-1]:.1f} ms of {len(hovers)}; script and layout of it "
                f"median {own[len(own) // 2]:.2f} ms, slowest {own[-1]:.1f} ms"
            )
            good &= path.stat().st_size < BYTES and hovers[-1] < HOVER_MS
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
