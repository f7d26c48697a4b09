"""Where the journal of a calibration lies, and what must be equal for it to go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adec.answering.plan import Plan
from adec.calibration.journal import key_of
from adec.calibration.prompts import PromptSet
from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.remote.remote_header import RemoteHeader
from adec.machine import file_fingerprint, this_machine
from adec.places import kept_folder


def journal_path(ready: Plan) -> Path:
    """One journal for models at these places."""
    names = [where_it_lies(header) for header in ready.models.values()]
    return kept_folder("calibration") / f"{key_of(names)}.jsonl"


def journal_key(
    ready: Plan, options: OpenOptions, prompts: PromptSet, *, seed: int, max_tokens: int
) -> str:
    """Everything that a measurement depends on, but not what it is judged by (metric, keep)."""
    headers = list(ready.models.values())
    machine = dataclasses.replace(this_machine(ready.models["large"].info.format), load=None)
    return key_of(
        [
            *map(_print_of, headers),
            repr(machine),
            # another budget goes on with what was bought
            repr(dataclasses.replace(options, budget_tokens=None)),
            str(seed),
            str(max_tokens),
            # right answers are judged while it is measured
            *(f"{prompt.text}\0{prompt.right is not None}" for prompt in prompts.all),
        ]
    )


def where_it_lies(header: ModelHeader) -> str:
    """A file, or what the server at an address answers by."""
    if isinstance(header, RemoteHeader):
        return header.called
    return str(header.info.path.resolve())


def _print_of(header: ModelHeader) -> str:
    """What tells a model from another at the same place."""
    if isinstance(header, RemoteHeader):
        return repr((where_it_lies(header), header.info.bytes, header.abilities.dialect))
    return file_fingerprint(header.info.path)
