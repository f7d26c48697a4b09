"""`adec calibrate --check NAME`: the profile's forward times measured again, here and now."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from adec.answering.choice import Choice
from adec.answering.placement import place
from adec.answering.plan import plan_yardstick
from adec.answering.session import open_session
from adec.calibration.costs.cost_measuring import measure_costs
from adec.engines.base import OpenOptions
from adec.engines.remote import is_remote
from adec.errors import CheckFailed, UsageError
from adec.machine import busy, this_machine
from adec.profiles.find import find_profile

SECONDS = 15.0
TOLERANCE = 0.25
"""Share by which a time may differ: less than that changes no decision, and machines drift as much
within a day."""


@dataclass(frozen=True)
class Comparison:
    """Each size as the profile has it and as it is now."""

    name: str
    lines: list[str]
    ratio: float
    """Median of now over then."""
    busy: str | None

    def verdict(self) -> str:
        """A sentence. Raises CheckFailed when the median time differs by more than `TOLERANCE`."""
        if abs(self.ratio - 1) > TOLERANCE:
            raise CheckFailed(
                f"profile {self.name}: forwards take {self.ratio:.2f} times as long as it says",
                hint="try again when the machine is quiet" if self.busy else "calibrate anew",
            )
        return f"forwards take {self.ratio:.2f} times as long as the profile says: it holds"


def check_profile(
    name: str,
    options: OpenOptions,
    tick: Callable[[float], None],
    origin: str | None = None,
) -> Comparison:
    """Measure again. Raises CheckFailed when the models are others; ProfileError, UsageError,
    EngineError."""
    profile = find_profile(name)
    if is_remote(profile.models.get("large", "")):
        raise UsageError(
            f"profile {profile.name} is of a server, whose forward times are not measured",
            hint="calibrate anew to see what it takes today",
        )
    if profile.costs is None or profile.costs.curves is None:
        raise UsageError(
            f"profile {profile.name} has no measured times", hint="adec calibrate measures them"
        )
    ready = plan_yardstick(Choice(pair=name))
    others = profile.other_models(ready.models)
    if others:
        raise CheckFailed(f"profile {profile.name}: {others[0]}", hint="calibrate anew")
    placed = place(ready, options, origin)
    ready, options = placed.plan, placed.options
    here = profile.other_machine(ready.models["large"])
    threads = profile.machine.threads, profile.machine.batch_threads
    if options.threads is None and options.batch_threads is None:
        options = dataclasses.replace(options, threads=threads[0], batch_threads=threads[1])
    with open_session(ready, options) as session:
        tables = measure_costs(session.engines, seconds=SECONDS, tick=tick)
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
    warning = busy(this_machine(ready.models["large"].info.format))
    lines += placed.remarks
    lines += [f"other than when it was made: {remark}" for remark in here]
    if warning is not None:
        lines.append(warning)
    return Comparison(profile.name, lines, median(ratios) if ratios else 1.0, warning)
