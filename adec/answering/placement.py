"""Where the large model runs: here, or on RPC servers that an option, a setting or a profile names.

Nothing is connected yet. Names are resolved, since a warning must be about the address that is
used.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from adec.answering.plan import Plan
from adec.engines.base import OpenOptions
from adec.engines.llama.rpc_addresses import Address, is_trusted, parse_servers, resolve
from adec.errors import AdecError, ProfileError, UsageError


@dataclass(frozen=True)
class Placed:
    """A plan that knows its machines, and how its models are opened."""

    plan: Plan
    options: OpenOptions
    """`rpc` is decided: addresses, or empty."""
    remarks: tuple[str, ...] = ()
    named: str | None = None
    """The servers as they were named, for a profile; None where there are none."""


def place(plan: Plan, options: OpenOptions, origin: str | None = None) -> Placed:
    """Decide on the servers: those of `options`, or else those of the profile.

    `origin` is the file or variable that named those of `options`, None for the command line.
    Times that a profile measured elsewhere are dropped. Raises UsageError where the large model is
    no GGUF, ProfileError for a profile's bad address, EngineError for a name that is not known.
    """
    profile = plan.profile
    measured = _profiled(plan)
    servers = measured
    remarks: list[str] = []
    if options.rpc is not None:
        servers = parse_servers(",".join(options.rpc)) if options.rpc else ()
    elif servers and profile is not None:
        origin = f"profile {profile.name}"
    if servers:
        _check_format(plan, origin or "--rpc")
    addresses = tuple(resolve(server) for server in servers)
    if origin is not None and servers:
        what = "an RPC server" if len(servers) == 1 else f"{len(servers)} RPC servers"
        names = ", ".join(map(str, servers))
        remarks.append(f"the large model runs on {what}: {names} ({origin})")
    remarks += [
        f"{_both(server, address)} is outside private networks, and RPC has neither passwords nor"
        " encryption: whoever is on the way can read and change everything"
        for server, address in zip(servers, addresses, strict=True)
        if not is_trusted(address.host)
    ]
    if plan.curves is not None and not _same(servers, addresses, measured):
        assert profile is not None
        where = f"on {', '.join(map(str, measured))}" if measured else "without RPC servers"
        remarks.append(
            f"profile {profile.name} was measured {where}: its times are not used;"
            " adec calibrate with the same --rpc measures them"
        )
        plan = dataclasses.replace(plan, curves=None, threads=None)
    return Placed(
        plan,
        dataclasses.replace(options, rpc=tuple(map(str, addresses))),
        tuple(remarks),
        ",".join(map(str, servers)) or None,
    )


def _profiled(plan: Plan) -> tuple[Address, ...]:
    """The servers that the profile was measured with."""
    profile = plan.profile
    if profile is None or profile.machine.rpc is None:
        return ()
    try:
        return parse_servers(profile.machine.rpc, f"profile {profile.name}: machine.rpc")
    except UsageError as error:
        raise ProfileError(error.message, hint=error.hint) from None


def _check_format(plan: Plan, origin: str) -> None:
    large = plan.models["large"].info
    if large.format != "gguf":
        raise UsageError(
            f"{origin} moves layers of GGUF models, and {large.path.name} is none",
            hint="take its GGUF, or --rpc off",
        )


def _same(
    servers: tuple[Address, ...], addresses: tuple[Address, ...], measured: tuple[Address, ...]
) -> bool:
    if servers == measured or addresses == measured:
        return True
    if len(servers) != len(measured):
        return False
    try:
        return addresses == tuple(resolve(server) for server in measured)
    except AdecError:
        return False


def _both(server: Address, address: Address) -> str:
    return str(server) if server == address else f"{server} ({address.host})"
