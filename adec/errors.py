"""Everything that adec raises on purpose. Each error is one line and carries its exit code.

AdecError                1  run-time failure
├── EngineError          1  a backend refused, ran out of memory, or was asked for the impossible
│   └── RemoteError      1  a server is away, refuses, or answers what it must not
├── ModelFileError       1  a model file is missing, broken or hostile
├── TraceError           1  a trace cannot be read or written
├── UsageError           2  a flag, a setting or an input file is wrong
│   ├── ContextError     2  a prompt does not fit into a context
│   └── ProfileError     2  a profile is unknown, broken, or does not fit
├── PairError            3  these models cannot do this together
└── CheckFailed          4  a check ran and said no
"""

from __future__ import annotations

_COMMANDS = ("adec ", "pip ")
"""What a hint that is to be typed begins with: that keeps its small letter."""


class AdecError(Exception):
    """Base of all. The message says what failed and why; `hint` says what to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        command = self.hint.startswith(_COMMANDS)
        hint = self.hint if command else f"{self.hint[0].upper()}{self.hint[1:]}"
        return f"{self.message}. {hint}"


class EngineError(AdecError):
    """A backend refused, failed, or was asked for what it cannot do."""


class RemoteError(EngineError):
    """A server is away, refuses, or answers what it must not."""

    def __init__(self, message: str, *, status: int | None = None, hint: str | None = None) -> None:
        """`status`: of the HTTP reply, if it was a refusal."""
        super().__init__(message, hint=hint)
        self.status = status
        self.broken = False
        """Whether a connection failed, so that the same request may succeed later."""
        self.odd = False
        """Whether the server answered, but not what it was asked for."""


class ModelFileError(AdecError):
    """A model file is missing, broken, hostile, or of a kind that adec does not read."""


class TraceError(AdecError):
    """A trace cannot be written or read."""


class UsageError(AdecError):
    """A flag, a setting or an input file is wrong."""

    exit_code = 2


class ContextError(UsageError):
    """A prompt does not fit into a model's context."""


class ProfileError(UsageError):
    """A profile is unknown, broken, or does not fit this pair."""


class PairError(AdecError):
    """These models cannot do this, or not together."""

    exit_code = 3


class CheckFailed(AdecError):
    """A check ran to its end and failed."""

    exit_code = 4
