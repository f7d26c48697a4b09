"""Progress: on a terminal a bar and the time left, elsewhere a line now and then."""

from __future__ import annotations

import io

import pytest

from adec.display.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(stream: io.StringIO, **options: object) -> str:
    with Progress(stream, **options) as progress:  # type: ignore[arg-type]
        progress.stage("load\x1b]0;x\x07ing")
        progress.rename("first")
        progress.update(2, 8)
        progress.stage("second", 1.0)
        progress.update(0.5)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "quiet"), [(io.StringIO(), False), (Terminal(), True), (io.StringIO(), True)]
)
def test_short_work_says_nothing_where_nobody_looks(stream: io.StringIO, quiet: bool) -> None:
    assert work(stream, quiet=quiet) == ""


@pytest.mark.parametrize(
    ("unit", "total", "said"),
    [
        (
            "prompts",
            50.0,
            ["running, 2 of 50 prompts, 31 s gone", "late, 4 of 50 prompts, 2 min gone"],
        ),
        ("", 5.0, ["running, 40 %, 31 s gone", "late, 80 %, 2 min gone"]),
        ("", None, ["running, 31 s gone", "late, 2 min gone"]),
    ],
)
def test_elsewhere_long_work_says_a_line_now_and_then(
    unit: str, total: float | None, said: list[str]
) -> None:
    stream, times = io.StringIO(), [0.0]
    with Progress(stream, unit=unit, clock=lambda: times[0]) as progress:
        progress.stage("running", total)
        for done, now in ((1, 29.0), (2, 31.0), (3, 60.0), (4, 130.0)):
            times[0] = now
            if done == 4:
                progress.rename("late")
            progress.update(done)
    assert stream.getvalue() == "".join(f"adec: {line}\n" for line in said)


def test_a_reader_that_has_gone_stops_no_work() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    times = iter([0.0, 40.0, 40.0])
    with Progress(Gone(), clock=lambda: next(times)) as progress:
        progress.stage("running", 1.0)
        progress.update(0.5)


@pytest.mark.parametrize("columns", [40, 100])
def test_a_terminal_sees_each_stage_filled(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    shown = work(Terminal())
    last = [line for line in shown.split("\r")[-1].splitlines() if "left" in line]
    assert "first" in shown and "second" in shown and shown.count("100%") >= 2, shown
    assert last and "\x1b]0" not in shown and "\x07" not in shown
    assert ("gone" in shown) is (columns == 100)


def test_a_bar_counts_what_has_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "8/8 prompts," in work(Terminal(), unit="prompts", erase=True)


def test_what_fails_is_not_shown_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with pytest.raises(RuntimeError), Progress(stream) as progress:
        progress.stage("halfway", 2.0)
        progress.update(1.0)
        raise RuntimeError
    assert "50%" in stream.getvalue() and "100%" not in stream.getvalue()
