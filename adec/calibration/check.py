"""`adec calibrate --check NAME`: the profile's forward times measured again, here and now."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from adec.calibration.costs import measure_costs
from adec.calibration.machine import busy, this_machine
from adec.engines.base import OpenOptions
from adec.errors import CheckFailed, UsageError
from adec.events import Role
from adec.profile import find_profile
from adec.session import Choice, plan

SECONDS = 15.0
TOLERANCE = 0.25
"""Share by which a time may differ: less than that changes no decision, and machines drift as much within a day."""


def check_profile(
    name: str,
    options: OpenOptions,
    tick: Callable[[float], None],
    *,
    seconds: float = SECONDS,
    say: Callable[[list[str]], None] = lambda lines: None,
) -> list[str]:
    """Lines of a table: each size as the profile has it and as it is now.

    Raises CheckFailed when times differ by more than a quarter in the middle or the models are others; ProfileError, UsageError,
    EngineError.
    """
    profile = find_profile(name)
    if profile.costs is None or profile.costs.curves is None:
        raise UsageError(
            f"profile {profile.name} has no measured times", hint="adec calibrate measures them"
        )
    single = profile.small is None
    models = {"model": profile.model_path(profile.large)} if single and profile.large else {}
    ready = plan(Choice(**({"pair": name} if not single else models), strategy="plain"))  # type: ignore[arg-type]
    others = profile.other_models(ready.large, ready.small)
    if others:
        raise CheckFailed(f"profile {profile.name}: {others[0]}", hint="calibrate anew")
    here = profile.other_machine(ready.large)
    threads = profile.machine.get("threads"), profile.machine.get("batch_threads")
    if options.threads is None and options.batch_threads is None:
        options = dataclasses.replace(options, threads=threads[0], batch_threads=threads[1])
    with ready.open(options) as session:
        engines: dict[Role, Any] = {"large": session.engines.large}
        if session.engines.small is not None:
            engines["small"] = session.engines.small
        tables = measure_costs(engines, seconds=seconds, tick=tick)
    lines = ["model   tokens   profile ms      now ms   ratio"]
    ratios = []
    for role, table in tables.items():
        before = profile.costs.curve(role)
        if before is None:
            continue
        now = table.curve(profile.costs.context)
        for size in sorted(set(before.points) & set(now.points)):
            ratio = now.ms(size) / max(1e-9, before.ms(size))
            ratios.append(ratio)
            lines.append(
                f"{role:<7}{size:>7}{before.ms(size):>13.3f}{now.ms(size):>12.3f}{ratio:>8.2f}"
            )
    warning = busy(this_machine(ready.large))
    lines += [f"other than when it was made: {remark}" for remark in here]
    if warning is not None:
        lines.append(warning)
    middle = sorted(ratios)[len(ratios) // 2] if ratios else 1.0
    say(lines)
    if abs(middle - 1) > TOLERANCE:
        raise CheckFailed(
            f"profile {profile.name}: forwards take {middle:.2f} times as long as it says",
            hint="calibrate anew" if warning is None else "try again when the machine is quiet",
        )
    return [*lines, f"forwards take {middle:.2f} times as long as the profile says: it holds"]
