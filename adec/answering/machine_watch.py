"""What an answer says about the machine: on how many threads each model ran, in which format."""

from __future__ import annotations

from typing import Any

import msgspec

from adec.engines.pair import Engines
from adec.events.records import Step, ThreadChange

MOST = 32
"""Changes that a summary holds, the latest."""


class MachineWatch:
    """Follows the engines of a session from step to step."""

    def __init__(self, engines: Engines) -> None:
        self._engines = dict(engines.items())
        self._seen = dict.fromkeys(self._engines, 0)
        self._changes: list[ThreadChange] = []

    def mark(self, step: Step) -> Step:
        """The step, with the changes of threads since the last one."""
        fresh = []
        for role, engine in self._engines.items():
            changes = engine.thread_changes
            if len(changes) > self._seen[role]:
                later = changes[self._seen[role] :]
                self._seen[role] = len(changes)
                fresh += [msgspec.structs.replace(change, model=role) for change in later]
        if not fresh:
            return step
        self._changes += fresh
        return msgspec.structs.replace(step, threads=tuple(fresh))

    def summary(self) -> dict[str, Any]:
        """Keys of the summary of the answer that ends here; the next one has its own changes."""
        changes, self._changes = self._changes[-MOST:], []
        engines = self._engines.items()
        dtypes = {role: engine.dtype for role, engine in engines if engine.dtype is not None}
        return {
            "threads_by_model": {role: engine.threads for role, engine in engines},
            **({"thread_changes": msgspec.to_builtins(changes)} if changes else {}),
            **({"dtype_by_model": dtypes} if dtypes else {}),
        }
