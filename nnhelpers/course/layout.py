"""Where the nodes of a graph go on a page."""

from __future__ import annotations

from collections.abc import Sequence


def layered_layout(n_nodes: int, edges: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """A place (column, row) for each node of an acyclic graph with `edges` (from, to), read from left to right.

    Every edge points to a later column, a node without predecessors stands just before its first user, and no two
    nodes share a place. Within a column nodes are sorted by the mean row of their neighbours (Sugiyama et al. 1981).
    """
    if any(not 0 <= node < n_nodes for edge in edges for node in edge):
        raise ValueError(f"edges join nodes 0..{n_nodes - 1}, got {list(edges)}")
    columns = _columns(n_nodes, edges)
    members: dict[int, list[int]] = {}
    for node, column in enumerate(columns):
        members.setdefault(column, []).append(node)
    neighbours: list[list[int]] = [[] for _ in range(n_nodes)]
    for a, b in edges:
        neighbours[a].append(b)
        neighbours[b].append(a)
    rows = [0.0] * n_nodes
    for sweep in range(8):
        for column in sorted(members, reverse=sweep % 2 == 0):
            nodes = members[column]
            if sweep:
                near = {v: [rows[u] for u in neighbours[v]] or [rows[v]] for v in nodes}
                nodes.sort(key=lambda v, near=near: sum(near[v]) / len(near[v]))
            for i, node in enumerate(nodes):
                rows[node] = i - (len(nodes) - 1) / 2
    return [(float(column), row) for column, row in zip(columns, rows, strict=True)]


def _columns(n_nodes: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path from a source to each node; sources then move up to their first user."""
    columns = [0] * n_nodes
    for _ in range(n_nodes + 1):
        backwards = [(a, b) for a, b in edges if columns[b] <= columns[a]]
        for a, b in backwards:
            columns[b] = max(columns[b], columns[a] + 1)
        if not backwards:
            break
    else:
        raise ValueError("the edges contain a cycle, so the graph cannot be drawn from left to right")
    targets = {b for _, b in edges}
    for node in set(range(n_nodes)) - targets:
        columns[node] = min((columns[b] - 1 for a, b in edges if a == node), default=columns[node])
    return columns
