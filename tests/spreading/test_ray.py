"""Ray for real: a cluster on this machine with two workers, on the practice models."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from adec.errors import AdecError, UsageError
from adec.spreading import ray_cluster
from adec.spreading.ray_cluster import RayCrew
from tests.cli.command import call, start

has_ray = find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not has_ray, reason="the extra adec[ray] is not installed")

BENCH = ("bench", "--task", "reverse", "-n", 12, "--threads", 1, "--strategies", "small,lookup")


@pytest.mark.skipif(has_ray, reason="Ray is installed")
def test_without_ray_one_line_says_how_to_get_it(capsys: Any, home: Path) -> None:
    outcome = call(capsys, *BENCH, "--prompts", 2, "--ray", "local")
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert "pip install 'adec[ray]'" in outcome.err


@needs_ray
@pytest.mark.parametrize("address", ["nonsense", "host:0", "host:port", "a b", "", "http://x:1"])
def test_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        RayCrew(address)


@needs_ray
def test_nobody_at_the_address_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AdecError, match="no Ray cluster is at"):
        RayCrew(f"127.0.0.1:{port}")


@needs_ray
def test_somebody_else_at_the_address_is_one_line_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_cluster, "HEALTH_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(AdecError, match=r"Ray cluster"):
            RayCrew(f"127.0.0.1:{port}")


def test_the_gist_of_a_long_error_is_one_line() -> None:
    error = RuntimeError("The actor died.\n\tclass_name: A\n\n  ValueError: no such thing\n")
    assert ray_cluster._why(error) == "ValueError: no such thing"
    assert ray_cluster._why(RuntimeError("")) == "RuntimeError"
    assert len(ray_cluster._why(RuntimeError("x" * 10_000))) <= 200


def samples(path: Path) -> dict[int, Any]:
    found = {}
    for result in json.loads(path.read_text())["samples"]:
        assert result["index"] not in found
        found[result["index"]] = {a["row"]: a["text"] for a in result["answers"]}
    return found


@needs_ray
@pytest.mark.slow
def test_one_worker_and_two_give_the_same_answers_and_a_killed_one_loses_nothing(
    tmp_path: Path, home: Path
) -> None:
    count = 40

    def bench(name: str, *more: object, meanwhile: Any = None) -> tuple[dict[int, Any], str]:
        path = tmp_path / f"{name}.json"
        kept = tmp_path / f"{name}.jsonl"
        process = start(
            *BENCH, "--prompts", count, "--json", path, "--samples", kept, *more,
            env={"ADEC_HOME": str(home)},
        )  # fmt: skip
        if meanwhile is not None:
            meanwhile(kept)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
        return samples(path), out.decode()

    alone, _ = bench("alone")
    assert bench("one", "--ray", "local")[0] == alone
    killed: list[int] = []

    def kill_one(kept: Path) -> None:
        def wait() -> None:
            while not killed:
                time.sleep(0.05)
                if kept.exists() and len(kept.read_bytes().splitlines()) > 4:
                    found = subprocess.run(
                        ["pgrep", "-u", str(os.getuid()), "-f", "ray::Actor"], capture_output=True
                    )
                    for pid in found.stdout.split():
                        if parents(int(pid)) & {os.getpid()}:
                            killed.append(int(pid))
                            os.kill(int(pid), signal.SIGKILL)
                            return

        threading.Thread(target=wait, daemon=True).start()

    two, out = bench("two", "--ray", "local", "--jobs", 2, meanwhile=kill_one)
    assert killed and two == alone
    assert "died, its prompt is asked again" in out and "no figure mixes them" in out


def parents(pid: int) -> set[int]:
    """The processes that a process descends from."""
    found: set[int] = set()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return found


def test_the_command_line_knows_no_ray_until_it_is_asked_for() -> None:
    code = "import sys, adec.cli, adec.spreading.ray_cluster; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n"
