"""Token trees of a trace: checked, since a trace may hold anything, and drawn with their accepted path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adec.events.records import TreeRecord
from adec.inspection.figures import number
from adec.tree import ROOT

NODES_DRAWN = 400
DEPTH_DRAWN = 24
"""Where branches lie deeper, they are counted and not drawn."""
_NAME = 40


@dataclass(frozen=True)
class CheckedTree:
    """A tree whose parents come before their children, and whose accepted path is one.

    Of `record`, only what belongs to a node is used: lists of other lengths are an error.
    """

    record: TreeRecord
    children: dict[int, list[int]]
    accepted: frozenset[int]
    depth: int
    """Nodes on the longest path."""

    def __len__(self) -> int:
        return len(self.record.tokens)

    def name(self, node: int) -> str:
        """A node for people: what it says in quotes, or its id; never long."""
        texts = self.record.texts
        if node >= len(texts):
            return f"#{self.record.tokens[node]}"
        text = texts[node]
        return quoted(text)

    def probability(self, node: int) -> float | None:
        """What the drafter gave it, where that is known."""
        known = self.record.probabilities
        return known[node] if node < len(known) else None


def quoted(text: str) -> str:
    """A token's text in quotes, controls escaped, short."""
    shown = repr(text[: _NAME + 1])
    return shown if len(text) <= _NAME else f"{repr(text[:_NAME])[:-1]}…'"


def check_tree(record: TreeRecord) -> CheckedTree:
    """Raises ValueError with what is wrong in half a sentence."""
    size = len(record.tokens)
    if len(record.parents) != size:
        raise ValueError(f"it has {size} tokens and {len(record.parents)} parents")
    if record.probabilities and len(record.probabilities) != size:
        raise ValueError(f"it has {size} tokens and {len(record.probabilities)} probabilities")
    if record.texts and len(record.texts) != size:
        raise ValueError(f"it has {size} tokens and {len(record.texts)} texts")
    children: dict[int, list[int]] = {}
    depths: list[int] = []
    for node, parent in enumerate(record.parents):
        if not ROOT <= parent < node:
            raise ValueError(f"node {node} has the parent {parent}")
        children.setdefault(parent, []).append(node)
        depths.append(1 if parent == ROOT else depths[parent] + 1)
    above = ROOT
    for node in record.accepted:
        if not 0 <= node < size or record.parents[node] != above:
            raise ValueError("what was accepted is no path in it")
        above = node
    return CheckedTree(record, children, frozenset(record.accepted), max(depths, default=0))


def compact(tree: CheckedTree, room: int = 8) -> str:
    """The accepted path, then what was drafted beyond it: `'a' 'b' | 'c'`, and how many nodes lay elsewhere."""
    path = list(tree.record.accepted)
    beyond: list[int] = []
    node = path[-1] if path else ROOT
    while node in tree.children and len(beyond) < room:
        node = tree.children[node][0]
        beyond.append(node)
    elsewhere = len(tree) - len(path) - len(beyond)
    kept = " ".join(tree.name(node) for node in path[:room])
    if len(path) > room:
        kept += f" … {len(path) - room} more"
    parts = [kept or "none stood"]
    if beyond:
        parts.append("then not " + " ".join(tree.name(node) for node in beyond))
    if elsewhere > 0:
        parts.append(f"{elsewhere} more")
    return " | ".join(parts)


def draw(tree: CheckedTree) -> Iterator[str]:
    """The tree, a line for each stretch without branches; `✓` where drafts stand, `✗` where they fell."""
    drawn = 0
    # (node, what stands before its line, is it the last of its siblings)
    waiting = [(node, "", last) for node, last in _lasts(tree.children.get(ROOT, []))]
    waiting.reverse()
    while waiting:
        node, before, last = waiting.pop()
        stretch = [node]
        while (
            len(below := tree.children.get(stretch[-1], [])) == 1
            and (below[0] in tree.accepted) == (node in tree.accepted)
            and len(stretch) < NODES_DRAWN
        ):
            stretch.append(below[0])
        mark = "✓" if node in tree.accepted else "✗"
        names = " → ".join(f"{tree.name(n)}{_chance(tree.probability(n))}" for n in stretch)
        yield f"{before}{'└' if last else '├'}─ {mark} {names}"
        drawn += len(stretch)
        if drawn >= NODES_DRAWN:
            left = len(tree) - drawn
            if left > 0:
                yield f"… {left} more nodes"
            return
        inner = before + ("   " if last else "│  ")
        if below and len(inner) > 3 * DEPTH_DRAWN:
            yield f"{inner}└─ … deeper"
            continue
        waiting += [(child, inner, end) for child, end in _lasts(below)][::-1]


def _lasts(nodes: list[int]) -> list[tuple[int, bool]]:
    return [(node, node == nodes[-1]) for node in nodes]


def _chance(probability: float | None) -> str:
    return "" if probability is None else f" {number(probability)}"
