"""What a part says of pseudo positions: its arrays as the states that an engine foresees by."""

from __future__ import annotations

import numpy as np

from adec.engines.protocols import PseudoEngine, PseudoStates
from adec.errors import EngineError, ModelFileError
from adec.parts.part import Array, Part

MOST = 16
"""Pseudo positions behind a token."""
_DOWN, _UP = ".down", ".up"


def arrays_of(states: PseudoStates) -> dict[str, Array]:
    """The arrays of a part, from which `states_of` makes these states again."""
    arrays = {"depths": np.array(states.depths, np.float32), "shifts": states.shifts}
    if states.maps is not None:
        arrays["maps"] = states.maps
    for name, (down, up) in states.adapters.items():
        arrays[name + _DOWN], arrays[name + _UP] = down, up
    return arrays


def states_of(part: Part) -> PseudoStates:
    """The states that a part holds. Raises ModelFileError where its arrays do not go together."""
    depths = part.tensor("depths", None)
    count = len(depths)
    if not 1 <= count <= MOST:
        raise part.refused(f"the part {part.kind} is for {count} positions, not 1 to {MOST}")
    if (depths != depths.round()).any() or depths.min() < 0 or depths.max() > 4096:
        raise part.refused(f"the part {part.kind} names layers that are none")
    shifts = part.tensor("shifts", count, None)
    width = shifts.shape[1]
    maps = part.tensor("maps", count, width, width) if "maps" in part.tensors else None
    adapters = {}
    for name in part.tensors:
        if name.endswith(_DOWN):
            down = part.tensor(name, None, None)
            inner = name.removesuffix(_DOWN)
            adapters[inner] = down, part.tensor(inner + _UP, None, len(down))
    return PseudoStates(tuple(int(depth) for depth in depths), shifts, maps, adapters)


def use_part(engine: PseudoEngine, part: Part, most: int = 0) -> PseudoStates:
    """Let an engine foresee by a part, or by its first `most` positions.

    Raises ModelFileError where it does not fit the model.
    """
    states = states_of(part)
    if 0 < most < states.count:
        maps = None if states.maps is None else states.maps[:most]
        states = PseudoStates(states.depths[:most], states.shifts[:most], maps, states.adapters)
    try:
        engine.use_pseudo(states)
    except EngineError as error:
        raise ModelFileError(
            f"the part {part.kind} does not fit: {error.message}",
            hint=f"learn it again: adec calibrate {engine.info.path} --fit {part.kind}",
        ) from error
    return states


def hit_rates(part: Part, count: int) -> list[float]:
    """How often each position was right on answers that nothing was learned from, as it is noted.

    A part of an older version notes only the tokens a forward that its drafts gave: then it is
    that rate of every position which gives as many.
    """
    noted = [part.facts.get(f"right_{step}_ahead") for step in range(1, count + 1)]
    rates = [float(rate) for rate in noted if isinstance(rate, int | float)]
    if len(rates) == count and all(0 <= rate <= 1 for rate in rates):
        return rates
    tokens = part.facts.get("tokens_a_forward_exact", part.facts.get("tokens_a_forward"))
    tokens = float(tokens) if isinstance(tokens, int | float) else 1.0
    return [max(0.0, 1 - 1 / tokens) if tokens >= 1 else 0.0] * count
