"""What every engine checks in Python before it calls its backend: a wrong range in C is a wrong write in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adec.engines.base import Engine
from adec.errors import EngineError
from adec.tree import TokenTree


def check_feed(engine: Engine, tokens: Sequence[int], rows: int) -> None:
    """Raise EngineError unless `tokens` may be fed and `rows` of them may be asked for."""
    if not tokens:
        raise EngineError("a forward needs at least one token")
    if not 0 <= rows <= len(tokens):
        raise EngineError(f"{rows} rows were asked of a forward of {len(tokens)} tokens")
    size = engine.info.vocabulary
    if min(tokens) < 0 or max(tokens) >= size:
        wrong = next(token for token in tokens if not 0 <= token < size)
        raise EngineError(
            f"token {wrong} is not in the vocabulary of {engine.info.name} (0 to {size - 1})"
        )
    check_room(engine, len(tokens))


def check_growth(pending: TokenTree | None, tree: TokenTree, first_row: int) -> int:
    """The number of nodes of `tree` that a pending tree has in the cache already.

    Raises EngineError unless `tree` is the pending one and more, and rows are asked of the new nodes alone.
    """
    if pending is None:
        return 0
    known = len(pending)
    begins = tree.tokens[:known] == pending.tokens and tree.parents[:known] == pending.parents
    if not begins or len(tree) == known:
        raise EngineError("a tree is pending: grow it, keep a path, or rewind first")
    if first_row < known:
        raise EngineError(f"rows of the first {known} nodes were given when these were run")
    return known


def check_room(engine: Engine, count: int) -> None:
    """Raise EngineError unless `count` more tokens fit into the context."""
    if engine.length + count > engine.context:
        raise EngineError(
            f"the context of {engine.info.name} is full: {engine.length} tokens and {count} more, {engine.context} at most",
            hint="give a larger --ctx, or a shorter prompt",
        )


def check_rewind(engine: Engine, length: int) -> None:
    """Raise EngineError unless 0 <= length <= engine.length."""
    if not 0 <= length <= engine.length:
        raise EngineError(
            f"cannot rewind {engine.info.name} from {engine.length} tokens to {length}"
        )
