"""Which nodes are left out: those where everything fails that goes well elsewhere."""

from __future__ import annotations

from collections import Counter

FAILURES = 3
"""Stages and rows that have failed on a node, and none gone well, before it is left out."""


class Health:
    """What became of stages and rows, node by node."""

    def __init__(self) -> None:
        """Know of no node."""
        self._failed: Counter[str] = Counter()
        self._went_well: set[str] = set()
        self._hosts: dict[str, str] = {}

    def tell(self, node: str, host: str, *, failed: bool) -> None:
        """Count a stage or row that ended by itself on a node, known to people by its host."""
        self._hosts[node] = host
        if failed:
            self._failed[node] += 1
        else:
            self._went_well.add(node)

    def left_out(self) -> tuple[str, ...]:
        """Return the nodes where no trial is to start; none while nothing goes well anywhere: no node's fault."""
        if not self._went_well:
            return ()
        return tuple(
            sorted(
                node for node, failures in self._failed.items() if failures >= FAILURES and node not in self._went_well
            )
        )

    def remarks(self) -> list[str]:
        """Return a sentence per node that is left out."""
        return [
            f"node {self._hosts[node]} is left out: the first {self._failed[node]} stages and rows there all failed, "
            "and others go well elsewhere"
            for node in self.left_out()
        ]
