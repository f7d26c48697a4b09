"""What scores whole answers: a user's command, tests of code that a model wrote, a practice problem's own checker."""

from __future__ import annotations

import math
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from adec.errors import UsageError
from adec.judging.replies import code_of
from adec.judging.sandbox import passes

SECONDS = 30.0
"""What a command may take for one answer."""
OUTPUT_BYTES = 64 * 1024
FEEDBACK_CHARACTERS = 2000
TEST_BYTES = 256 * 1024
MOST_TESTS = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's opinion of an answer."""

    score: float | None
    """Greater is better; None when it could not say."""
    feedback: str = ""


@dataclass(frozen=True)
class CommandVerifier:
    """A program that reads an answer on stdin and prints its score as the last line; lines before it are feedback.

    Its exit status does not matter. A program that is late, prints too much or ends without a finite number gives no score; its
    whole process group is killed.
    """

    words: tuple[str, ...]
    seconds: float = SECONDS

    @classmethod
    def parse(cls, command: str) -> CommandVerifier:
        """From a command line, split into words as a shell would, and run without one.

        Raises UsageError when there is no such program.
        """
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise UsageError(f"--verify {command!r} cannot be read: {error}") from None
        if not words or shutil.which(words[0]) is None:
            raise UsageError(
                f"--verify: there is no program {words[0] if words else ''!r} to run",
                hint="give one that reads the answer on stdin and prints a number",
            )
        return cls(words)

    def __call__(self, text: str) -> Verdict:
        try:
            output = _output_of(self.words, text, self.seconds)
        except OSError as error:
            return Verdict(None, f"the verifier cannot run: {error.strerror}")
        except _Refused as error:
            return Verdict(None, f"the verifier {error}")
        return read_score(output)


def read_score(output: bytes) -> Verdict:
    """The last line that is not blank as a number, what stands before it as feedback."""
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return Verdict(None, "the verifier printed nothing")
    try:
        score = float(lines[-1])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        return Verdict(None, f"the verifier's last line is no number: {lines[-1][:80]!r}")
    return Verdict(score, "\n".join(lines[:-1])[:FEEDBACK_CHARACTERS])


@dataclass(frozen=True)
class CodeVerifier:
    """The share of `tests` that pass after the answer's Python ran, in a process of its own with limits.

    A test is an expression that must be True, such as `double(2) == 4`. The first that fails is the feedback.
    """

    tests: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> CodeVerifier:
        """From a file of one test a line; blank lines and comments are skipped.

        Raises UsageError when it cannot be read, or holds no test or more than a hundred.
        """
        try:
            with path.open("rb") as file:
                data = file.read(TEST_BYTES)
        except OSError as error:
            raise UsageError(f"the tests {path} cannot be read: {error.strerror}") from None
        lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
        tests = tuple(line for line in lines if line and not line.startswith("#"))
        if not 1 <= len(tests) <= MOST_TESTS:
            raise UsageError(
                f"{path} holds {len(tests)} tests, not 1 to {MOST_TESTS}",
                hint="write one expression a line, such as double(2) == 4",
            )
        return cls(tests)

    def __call__(self, text: str) -> Verdict:
        source = code_of(text)
        if passes(source, self.tests):
            return Verdict(1.0)
        # one by one, each in a process of its own: a test may spoil what the next one needs
        failed = [test for test in self.tests if not passes(source, [test])]
        if not failed:
            return Verdict(0.0, "the tests pass one by one, but not together")
        return Verdict(1 - len(failed) / len(self.tests), f"This is not true: {failed[0]}")


class _Refused(Exception):
    """What a command did wrong, as the end of a sentence."""


def _output_of(words: Sequence[str], text: str, seconds: float) -> bytes:
    """All that a command prints, within time and size."""
    deadline = monotonic() + seconds
    output = b""
    # the answer comes from a file: a program that does not read it cannot block us
    with tempfile.TemporaryFile() as source:
        source.write(text.encode("utf-8", "replace"))
        source.seek(0)
        process = subprocess.Popen(
            words, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )  # fmt: skip
        assert process.stdout is not None
        try:
            with process.stdout as stream:
                while True:
                    ready, _, _ = select.select([stream], [], [], max(0.0, deadline - monotonic()))
                    if not ready:
                        raise _Refused(f"took more than {seconds:g} s")
                    part = os.read(stream.fileno(), OUTPUT_BYTES)
                    if not part:
                        break
                    output += part
                    if len(output) > OUTPUT_BYTES:
                        raise _Refused(f"printed more than {OUTPUT_BYTES // 1024} KiB")
            try:
                process.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                raise _Refused(f"took more than {seconds:g} s") from None
        finally:
            # what it left running as well
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return output
