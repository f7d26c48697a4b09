"""The live display: draws a `Picture` ten times a second, and leaves the terminal in order."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TextIO

from adec.display.picture import Picture
from adec.display.streams import write
from adec.display.terminal import Echo, on_suspend, size_of
from adec.events.records import Event, Start, Step

FRAME_SECONDS = 0.1


class LiveDisplay:
    """Shows a run on a terminal. `show` only takes notes; a thread of its own draws."""

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._exit:
            self._close()

    def show(self, event: Event) -> None:
        if self._failure is not None:
            raise self._failure
        if isinstance(event, Start):
            self._picture.start(event)
        elif isinstance(event, Step):
            self._picture.add(event)
        else:
            self._close()

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

    def _close(self) -> None:
        """Stop drawing, write what is left, take the panel away. A second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop.set()
        thread.join()
        if self._failure is None:
            self._write(self._picture.finish())
        self._echo.restore()

    def _stop_process(self) -> None:
        """Ctrl-Z: leave the terminal in order first, and pick up afterwards where we were."""
        self._suspend.clear()
        self._write(self._picture.erase())
        self._echo.restore()
        # to this thread, which then goes no further; through os.kill it could run on for a moment
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        self._echo.off()
        self._picture.refresh()
