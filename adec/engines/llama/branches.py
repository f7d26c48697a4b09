"""Which sequences a token tree's nodes belong to: every leaf has one, an inner node has those of the leaves under it."""

from __future__ import annotations

from adec.tree import ROOT, TokenTree

Join = tuple[int, int, int]
"""(source, branch, depth): `branch` takes over what `source` has down to `depth`."""


def grown_owners(
    tree: TokenTree, known: int, before: list[list[int]]
) -> tuple[list[list[int]], list[Join]]:
    """(owners of each node, joins to make first), for a tree whose first `known` nodes are owned as in `before`.

    Branches are numbered from 1. A new node goes on in the branch that ends at its parent, if there is one; every further
    leaf gets a branch of its own, which joins the path above it.
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
