"""The progress bar: on a terminal what goes on and the time left, in a pipe nothing."""

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
def test_nothing_is_written_where_nobody_looks(stream: io.StringIO, quiet: bool) -> None:
    assert work(stream, quiet=quiet) == ""


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
