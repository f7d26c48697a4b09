"""Drafts in a trace: token trees, checked because a trace may hold anything; doubtful tokens."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any

from adec.events.records import Step, Token, TreeRecord
from adec.tree import ROOT

MOST = 10
"""Doubtful tokens that are kept."""
_NAME = 40
_CONTEXT = 40
_ALTERNATIVES = 8


@dataclass(frozen=True)
class CheckedTree:
    """A tree whose parents come before their children and whose accepted nodes form a path."""

    record: TreeRecord
    children: dict[int, list[int]]
    accepted: frozenset[int]
    depth: int
    """Nodes on the longest path."""

    def __len__(self) -> int:
        return len(self.record.tokens)

    def name(self, node: int) -> str:
        """The node's text in quotes, or else its id."""
        texts = self.record.texts
        return quoted(texts[node]) if node < len(texts) else f"#{self.record.tokens[node]}"

    def probability(self, node: int) -> float | None:
        """The drafter's probability of the node, if recorded."""
        known = self.record.probabilities
        return known[node] if node < len(known) else None


def quoted(text: str) -> str:
    """A text in quotes, with control characters escaped, cut short."""
    shown = repr(text[: _NAME + 1])
    return shown if len(text) <= _NAME else f"{repr(text[:_NAME])[:-1]}…'"


def check_tree(record: TreeRecord) -> CheckedTree:
    """Check a tree. Raises ValueError that says in half a sentence what is wrong."""
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
            raise ValueError("the accepted nodes are not a path in it")
        above = node
    return CheckedTree(record, children, frozenset(record.accepted), max(depths, default=0))


def compact(tree: CheckedTree, room: int = 8) -> str:
    """The accepted path, the drafts that followed it, and how many nodes lie elsewhere."""
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


@dataclass(frozen=True)
class Doubt:
    """A token at `place` in the answer and in step `step` of the trace, both counted from 1."""

    place: int
    step: int
    token: Token
    before: str
    """The end of the text before it."""
    alternatives: tuple[tuple[str, float | None], ...]
    """Rejected drafts of the same position with their probabilities, likeliest first."""
    runner_up: float | None
    """Probability of the second likeliest token, if the record implies it."""

    def data(self) -> dict[str, Any]:
        """As plain data."""
        token = self.token
        names = ("id", "text", "source", "how", "entropy", "margin", "probability")
        return {
            "place": self.place,
            "step": self.step,
            **{name: getattr(token, name) for name in names},
            "before": self.before,
            "alternatives": [
                {"text": text, "probability": chance} for text, chance in self.alternatives
            ],
            "runner_up": self.runner_up,
        }


class Doubts:
    """Keeps the `MOST` tokens of highest entropy, earlier ones first among equals."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Doubt]] = []
        self._tail = ""
        self._place = 0

    def add(self, step: Step, number: int) -> None:
        """Take in a step."""
        tree: CheckedTree | None = None
        read = False
        for index, token in enumerate(step.tokens):
            self._place += 1
            entropy = token.entropy
            if entropy is not None and not math.isnan(entropy) and self._belongs(entropy):
                if not read:
                    tree, read = _tree_of(step), True
                others = _alternatives(tree, index, token.id)
                doubt = Doubt(self._place, number, token, self._tail, others, runner_up(token))
                item = (entropy, -self._place, doubt)
                if len(self._heap) < MOST:
                    heapq.heappush(self._heap, item)
                else:
                    heapq.heapreplace(self._heap, item)
            if token.text:
                self._tail = (self._tail + token.text[-_CONTEXT:])[-_CONTEXT:]

    def _belongs(self, entropy: float) -> bool:
        return len(self._heap) < MOST or entropy > self._heap[0][0]

    @property
    def top(self) -> list[Doubt]:
        """The most doubtful token first."""
        return [
            doubt for _, _, doubt in sorted(self._heap, key=lambda item: item[:2], reverse=True)
        ]


def runner_up(token: Token) -> float | None:
    """Probability of the second likeliest token: p minus the margin, if p is above a half.

    Below that, a sampled token need not be the likeliest, and the margin may be of two others.
    """
    p, margin = token.probability, token.margin
    if p is None or margin is None or not 0.5 < p <= 1 or not 0 <= margin <= p:
        return None
    return p - margin


def _tree_of(step: Step) -> CheckedTree | None:
    if not isinstance(step.detail, TreeRecord):
        return None
    try:
        return check_tree(step.detail)
    except ValueError:
        return None


def _alternatives(
    tree: CheckedTree | None, index: int, token: int
) -> tuple[tuple[str, float | None], ...]:
    """Children of the path that was accepted before this token, except the token itself."""
    if tree is None:
        return ()
    path = tree.record.accepted
    if index > len(path):
        return ()
    parent = ROOT if index == 0 else path[index - 1]
    others = [n for n in tree.children.get(parent, []) if tree.record.tokens[n] != token]
    found = [(tree.name(node), tree.probability(node)) for node in others]
    found.sort(key=lambda item: -(item[1] if item[1] is not None and item[1] == item[1] else -1.0))
    return tuple(found[:_ALTERNATIVES])


def described(doubt: Doubt) -> str:
    """The alternatives in words."""
    parts = [
        text if chance is None else f"{text} {chance:.2g}" for text, chance in doubt.alternatives
    ]
    words = "drafted instead: " + ", ".join(parts) if parts else ""
    if doubt.runner_up is not None:
        words += f"{'; ' if words else ''}the next one had {doubt.runner_up:.2g}"
    return words or "none recorded"


def shown(token: Token) -> str:
    """A token's text in quotes, or its id if it completed no character."""
    return quoted(token.text) if token.text else f"#{token.id}"
