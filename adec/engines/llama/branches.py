"""How a tree lies in a batch: the order of its nodes, and the sequences that they belong to."""

from __future__ import annotations

from adec.tree import ROOT, TokenTree


def likeliest_first(tree: TokenTree) -> list[int]:
    """The nodes in an order that goes down the likeliest path first, and then to its rivals.

    Parents come before children. Of siblings the likelier one comes first, by draft probability,
    or the one that was added first.
    """
    children: dict[int, list[int]] = {}
    chances = dict(enumerate(tree.probabilities))
    for node, parent in enumerate(tree.parents):
        children.setdefault(parent, []).append(node)
    order: list[int] = []
    ahead = [ROOT]
    while ahead:
        node = ahead.pop()
        if node != ROOT:
            order.append(node)
        below = children.get(node, [])
        if len(below) > 1:
            # the last one is taken first
            below = sorted(below, key=lambda n: (chances.get(n) or 0.0, -n))
        ahead += below
    return order


Join = tuple[int, int, int]
"""(source, branch, depth): `branch` takes over the nodes of `source` down to `depth`."""


def grown_owners(
    tree: TokenTree, known: int, before: list[list[int]]
) -> tuple[list[list[int]], list[Join]]:
    """The branches of each node and the joins to make first.

    The first `known` nodes of the tree are owned as in `before`.

    Every leaf has a branch of its own, numbered from 1; an inner node belongs to the branches of
    all leaves under it. A new node continues the branch that ends at its parent, if there is one;
    every further leaf gets a new branch, which joins the path above it.
    """
    owners = [list(owned) for owned in before] + [[] for _ in range(len(tree) - known)]
    ends = {branch: node for node, owned in enumerate(before) for branch in owned}
    free: dict[int, list[int]] = {}
    for branch, node in ends.items():
        free.setdefault(node, []).append(branch)
    depths = tree.depths()
    inner = set(tree.parents[known:])
    last = max(ends, default=0)
    joins: list[Join] = []
    for leaf in range(len(tree) - 1, known - 1, -1):
        if leaf in inner:
            continue
        path = tree.path(leaf)
        old = [node for node in path if node < known]
        attached = old[-1] if old else ROOT
        if free.get(attached):
            branch = free[attached].pop()
        else:
            last += 1
            branch = last
            if old:
                joins.append((before[attached][0], branch, depths[attached]))
                for node in old:
                    owners[node].append(branch)
        for node in path[len(old) :]:
            owners[node].append(branch)
    return owners, joins
