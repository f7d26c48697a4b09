"""How busy the machine is."""

from __future__ import annotations

import os


def load_average() -> float | None:
    """Processes that wanted to run in the last minute, on average; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
