"""Calling adec in tests: inside this process where that is enough, as a process where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from adec.cli import invoke
from adec.cli.failures import exit_code_of


@dataclass
class Outcome:
    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run adec here, with stdout and stderr caught (so no terminal) and no standard input."""
    capsys.readouterr()
    code = exit_code_of(lambda: invoke([str(a) for a in arguments]))
    out, err = capsys.readouterr()
    return Outcome(code, out, err)


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start adec as a process of its own; streams are pipes unless `options` say otherwise."""
    environment = {**os.environ, **options.pop("env", {})}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "adec", *(str(a) for a in arguments)]
    return subprocess.Popen(command, env=environment, **{**streams, **options})
