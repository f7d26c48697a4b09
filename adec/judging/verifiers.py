"""Score whole answers: by a user's command, or by tests of the code that a model wrote."""

from __future__ import annotations

import math
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from adec.errors import UsageError
from adec.judging.matches import code_of
from adec.judging.sandbox import NOT_STARTED, Confinement, Refused, passes, run_confined
from adec.text_file import read_text

SECONDS = 30.0
"""What a command may take for one answer."""
FEEDBACK_CHARACTERS = 2000
TEST_BYTES = 256 * 1024
MOST_TESTS = 100


@dataclass(frozen=True, slots=True)
class Rating:
    """A verifier's opinion of an answer."""

    score: float | None
    """Greater is better; None when it could not say."""
    feedback: str = ""


@dataclass(frozen=True)
class CommandVerifier:
    """A program that reads an answer on stdin and prints a score as its last line.

    The lines before it are feedback; the exit status does not matter. The program runs in the
    sandbox: limited time, memory and output, and no network where the system can cut it off. One
    that breaks a limit, or does not end with a finite number, gives no score.
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

    def __call__(self, text: str) -> Rating:
        limits = Confinement(self.seconds)
        try:
            status, output = run_confined(self.words, text.encode("utf-8", "replace"), limits)
        except OSError as error:
            return Rating(None, f"the verifier cannot run: {error.strerror}")
        except Refused as error:
            return Rating(None, f"the verifier {error}")
        if status == NOT_STARTED and not output:
            return Rating(None, f"the verifier {self.words[0]} cannot be started")
        rating = read_score(output)
        if status and rating.score is None:
            # it may have needed more than the sandbox gives
            limits_in_words = f"{limits.memory_bytes >> 30} GiB of memory and no network"
            return Rating(
                None, f"{rating.feedback}; it ended with {status}, with {limits_in_words}"
            )
        return rating


def read_score(output: bytes) -> Rating:
    """Read the last line that is not blank as a number; what stands before it is feedback."""
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return Rating(None, "the verifier printed nothing")
    try:
        score = float(lines[-1])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        return Rating(None, f"the verifier's last line is no number: {lines[-1][:80]!r}")
    return Rating(score, "\n".join(lines[:-1])[:FEEDBACK_CHARACTERS])


@dataclass(frozen=True)
class CodeVerifier:
    """The share of `tests` that pass after the answer's Python ran in the sandbox.

    A test is an expression that must be True, such as `double(2) == 4`. The first one that fails is
    the feedback.
    """

    tests: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> CodeVerifier:
        """From a file of one test a line; blank lines and comments are skipped.

        Raises UsageError when it cannot be read, or holds no test or more than a hundred.
        """
        text = read_text(path, TEST_BYTES, "the tests")
        lines = [line.strip() for line in text.split("\n")]
        tests = tuple(line for line in lines if line and not line.startswith("#"))
        if not 1 <= len(tests) <= MOST_TESTS:
            raise UsageError(
                f"{path} holds {len(tests)} tests, not 1 to {MOST_TESTS}",
                hint="write one expression a line, such as double(2) == 4",
            )
        return cls(tests)

    def __call__(self, text: str) -> Rating:
        source = code_of(text)
        if passes(source, self.tests):
            return Rating(1.0)
        # one by one, each in a process of its own: a test may spoil what the next one needs
        failed = [test for test in self.tests if not passes(source, [test])]
        if not failed:
            return Rating(0.0, "the tests pass one by one, but not together")
        return Rating(1 - len(failed) / len(self.tests), f"This is not true: {failed[0]}")
