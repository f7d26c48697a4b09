"""The part of a reply that is judged: what follows "Answer:", or its code."""

from __future__ import annotations

import re

_ANSWER = re.compile(r"Answer:\s*([^\n]*)")
_FENCE = re.compile(r"```(?:python)?\n(.*?)(?:```|\Z)", re.DOTALL)


def answer_of(text: str) -> str | None:
    """What follows the last `Answer:` of a reply, without its full stop."""
    found = _ANSWER.findall(text)
    return str(found[-1]).strip().removesuffix(".").rstrip() if found else None


def code_of(text: str) -> str:
    """The Python source in a reply: its first fenced block, or all of it."""
    fenced = _FENCE.search(text)
    return fenced.group(1) if fenced else text
