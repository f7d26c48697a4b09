"""The live display: draws a `Picture` ten times a second and restores the terminal at the end."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from typing import Self, TextIO

from adec.display import Quiet
from adec.display.screen.picture import Picture
from adec.display.screen.terminal import Echo, on_suspend, size_of
from adec.display.streams import write
from adec.events.records import Event, Start, Step

FRAME_SECONDS = 0.1


class LiveDisplay(Quiet):
    """Shows a run on a terminal. `show` only takes notes: a thread draws, so that drawing costs
    the run nothing."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream = stream
        self._picture = Picture(size_of(stream), colour=colour)
        self._stop = threading.Event()
        self._suspend = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None
        self._echo = Echo(stream)
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._exit.callback(self._echo.restore)
        self._exit.enter_context(on_suspend(self._suspend.set))
        self._echo.off()
        self._thread = threading.Thread(target=self._draw, name="adec-live", daemon=True)
        self._thread.start()
        return self

    def close(self, error: BaseException | None) -> None:
        with self._exit:
            self._finish()

    def show(self, event: Event) -> None:
        if self._failure is not None:
            raise self._failure
        if isinstance(event, Start):
            self._picture.start(event)
        elif isinstance(event, Step):
            self._picture.add(event)
        else:
            self._finish()

    def _draw(self) -> None:
        try:
            while not self._stop.wait(FRAME_SECONDS):
                if self._suspend.is_set():
                    self._stop_process()
                self._write(self._picture.frame(size_of(self._stream)))
        except OSError as error:
            self._failure = error

    def _write(self, text: str) -> None:
        if text:
            write(self._stream, text)

    def _finish(self) -> None:
        """Stop drawing, write the rest of the text, erase the panel. A second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop.set()
        thread.join()
        if self._failure is None:
            self._write(self._picture.finish())
        self._echo.restore()

    def _stop_process(self) -> None:
        """Ctrl-Z: restore the terminal, stop, and go on from there when continued."""
        self._suspend.clear()
        self._write(self._picture.erase())
        self._echo.restore()
        # sent to this thread, which stops at once; after os.kill it could run on for a moment
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        self._echo.off()
        self._picture.refresh()
