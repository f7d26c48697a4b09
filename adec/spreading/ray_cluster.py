"""Workers that are actors of a Ray cluster: on each of its machines, or on this one alone.

Ray is the extra `adec[ray]`. A cluster runs what its users send, so it is for networks one trusts.
The actors import their own adec and say which version it is before anything is unpickled there.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from adec import __version__
from adec.errors import AdecError, UsageError
from adec.machine import usable_cores
from adec.spreading.crew import DeskOpener, Word, Worker, error_of

LOCAL = "local"
"""The address that starts a cluster of this machine alone, for this run."""
CONNECT_SECONDS = 5.0
HEALTH_SECONDS = 40.0
"""Longest time for a cluster to say that it is well; Ray itself would wait for many minutes."""
START_SECONDS = 90.0
"""Longest time for an actor to begin; it waits where others hold the processors."""
_WHY = 200


@dataclass
class _Hired:
    actor: Any
    slot: tuple[str, str]
    """The machine's id in the cluster, and the worker's name."""
    worker: Worker
    began: float
    hello: Any
    job: Any = None


class RayCrew:
    """On each machine of a cluster `each` actors, which hold all its processors together."""

    def __init__(self, address: str, each: int = 1) -> None:
        """Connect. Raises UsageError without Ray, AdecError where no cluster answers in time."""
        self._ray = _connect(address, each)
        self._each = each
        self._free = self._slots()
        self.size = len(self._free)
        self._hired: dict[int, _Hired] = {}
        self._count = 0
        self._closed = False
        self._actor = self._ray.remote(_actor_class())
        self._opener: tuple[DeskOpener, bytes] | None = None

    def hire(self, opener: DeskOpener) -> Worker | None:
        """Start an actor on a machine that has none yet."""
        if not self._free:
            return None
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if self._opener is None or self._opener[0] is not opener:
            self._opener = opener, pickle.dumps(opener)
        machine, name, cores = self._free.pop(0)
        actor = self._actor.options(
            num_cpus=cores,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=machine, soft=False),
        ).remote(__version__, self._opener[1])
        self._count += 1
        worker = Worker(self._count, name)
        self._hired[self._count] = _Hired(
            actor, (machine, name), worker, monotonic(), actor.hello.remote()
        )
        return worker

    def give(self, worker: Worker, job: Any) -> None:
        """Call the actor."""
        hired = self._hired[worker.number]
        hired.job = hired.actor.do.remote(pickle.dumps(job))

    def listen(self, seconds: float) -> list[Word]:
        """The answers of actors that are ready."""
        refs = {}
        for number, hired in self._hired.items():
            ref = hired.hello if hired.hello is not None else hired.job
            if ref is not None:
                refs[ref] = number
        if not refs:
            return []
        ready, _ = self._ray.wait(list(refs), num_returns=1, timeout=seconds)
        words = [word for ref in ready for word in self._heard(refs[ref], ref)]
        return words + [
            Word(number, "refused", AdecError(
                f"it did not start in {START_SECONDS:.0f} s; do other jobs hold its processors?"
            ))
            for number, hired in self._hired.items()
            if hired.hello is not None and monotonic() - hired.began > START_SECONDS
        ]  # fmt: skip

    def dismiss(self, worker: Worker, *, refill: bool) -> None:
        """Kill an actor."""
        hired = self._hired.pop(worker.number, None)
        if hired is None:
            return
        self._kill(hired)
        if refill:
            # the machine may be gone with it
            self._free += [slot for slot in self._slots() if slot[:2] == hired.slot]

    def close(self) -> None:
        """Kill the actors and leave the cluster; a local one ends."""
        if self._closed:
            return
        self._closed = True
        for hired in self._hired.values():
            self._kill(hired)
        self._hired.clear()
        self._ray.shutdown()

    def _kill(self, hired: _Hired) -> None:
        with suppress(Exception):  # it, or the cluster, is gone
            self._ray.kill(hired.actor)

    def _slots(self) -> list[tuple[str, str, float]]:
        """(machine, name of the worker, processors), a round over the machines after the other."""
        seen: dict[str, int] = {}
        machines = []
        for node in self._ray.nodes():
            cores = float(node.get("Resources", {}).get("CPU", 0))
            if not node.get("Alive") or cores <= 0:
                continue
            host = str(node.get("NodeManagerHostname") or node.get("NodeManagerAddress"))[:60]
            seen[host] = seen.get(host, 0) + 1
            name = host if seen[host] == 1 else f"{host}~{seen[host]}"
            share = cores / self._each
            machines.append((str(node["NodeID"]), name, float(int(share)) if share >= 1 else share))
        return [
            (machine, name if place == 0 else f"{name}#{place + 1}", cores)
            for place in range(self._each)
            for machine, name, cores in machines
        ]

    def _heard(self, number: int, ref: Any) -> list[Word]:
        hired = self._hired[number]
        try:
            said = self._ray.get(ref)
        except Exception as error:  # Ray's own, or what the actor raised
            return [Word(number, "died", _why(error))]
        if ref is hired.hello:
            hired.hello = None
            return self._greeted(number, said)
        hired.job = None
        try:
            kind, value, remarks = said
            words = [Word(number, "remark", str(line)[:_WHY]) for line in list(remarks)[:20]]
        except (TypeError, ValueError):
            return [Word(number, "result", None)]
        if kind == "refused":
            return [*words, Word(number, "refused", error_of(value))]
        return [*words, Word(number, "result", value)]

    def _greeted(self, number: int, said: Any) -> list[Word]:
        version, machine = said if isinstance(said, tuple) and len(said) == 2 else (None, None)
        if version == __version__:
            self._hired[number].worker.machine = str(machine)[:_WHY]
            return []
        found = "no adec" if not isinstance(version, str) else f"adec {version[:40]}"
        error = AdecError(f"it has {found}, here is {__version__}", hint="install the same there")
        return [Word(number, "refused", error)]


def _actor_class() -> type:
    """Pickled by value, as it is no name of a module: it needs no adec to come to life."""

    class Actor:
        def __init__(self, version: str, opener: bytes) -> None:
            self.version, self.opener = version, opener
            self.desk: Any = None
            self.told = 0

        def hello(self) -> tuple[str | None, str]:
            try:
                from adec import __version__ as own
            except ImportError:
                return None, ""
            if own != self.version:
                return own, ""
            from adec.machine import processor, usable_cores

            cores = usable_cores()
            return own, f"{processor()}, {cores} core{'' if cores == 1 else 's'}"

        def do(self, job: bytes) -> tuple[str, Any, list[str]]:
            import pickle

            from adec.errors import AdecError

            try:
                if self.desk is None:
                    self.desk = pickle.loads(self.opener)()
                done = self.desk.do(pickle.loads(job))
            except AdecError as error:
                return "refused", error, []
            remarks = list(self.desk.remarks[self.told :])
            self.told += len(remarks)
            return "result", done, remarks

    return Actor


def _connect(address: str, each: int) -> Any:
    """Ray's module, connected."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs Ray: pip install 'adec[ray]'") from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        # a machine that was busy or asleep is not dead; there is no other to go on with
        os.environ.setdefault("RAY_health_check_failure_threshold", "200")
        # a worker each: they share the cores as --jobs does
        options |= {"num_cpus": max(each, usable_cores()), "include_dashboard": False}
    else:
        _check_health(address)
    try:
        ray.init(address=address, **options)
    except Exception as error:
        raise AdecError(f"Ray does not connect to {address}: {_why(error)}") from None
    _hush()
    return ray


def _hush() -> None:
    """Keep what the cluster says of dying workers off standard error; the dispatcher tells it.

    Ray has no option for it. Where its insides are other ones, pages of it are printed.
    """
    with suppress(Exception):
        from ray._private import worker

        worker.print_to_stdstream = lambda *_, **__: None


def _check_health(address: str) -> None:
    """Raise AdecError or UsageError unless a Ray cluster of our version answers there in time."""
    host, _, port = address.rpartition(":")
    hint = f"start one with `ray start --head`, or take --ray {LOCAL}"
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in address:
        raise UsageError(f"--ray {address} is no address", hint=f"HOST:PORT, or {LOCAL}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        why = error.strerror or "it does not answer"
        raise AdecError(f"no Ray cluster is at {address}: {why}", hint=hint) from None
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=HEALTH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise AdecError(
            f"what is at {address} did not say in {HEALTH_SECONDS:.0f} s that it is a Ray cluster",
            hint=hint,
        ) from None
    if done.returncode != 0:
        raise AdecError(f"what is at {address} is no Ray cluster that works with this one's Ray")


def _why(error: BaseException) -> str:
    """The gist of one of Ray's errors, which are pages long."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "Error" in line), lines[0] if lines else "")
    return f"{said or type(error).__name__}"[:_WHY]
