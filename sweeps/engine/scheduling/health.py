"""Which nodes are left out: those where everything fails that goes well elsewhere."""

from __future__ import annotations

from collections import Counter

FAILURES = 3
"""Stages and rows that have failed on a node, and none gone well, before it is left out; or trials that died there
before they began, and none has begun."""


class Health:
    """What became of trials, stages and rows, node by node."""

    def __init__(self) -> None:
        """Know of no node."""
        self._failed: Counter[str] = Counter()
        self._stillborn: Counter[str] = Counter()
        self._went_well: set[str] = set()
        self._begun: set[str] = set()
        self._unfit: set[str] = set()
        self._hosts: dict[str, str] = {}

    def tell(self, node: str, host: str, *, failed: bool) -> None:
        """Count a stage or row that ended by itself on a node, known to people by its host; or a trial that died."""
        self._hosts[node] = host
        if failed:
            self._failed[node] += 1
        else:
            self._went_well.add(node)

    def tell_begun(self, node: str) -> None:
        """Note that a trial has begun on a node."""
        self._begun.add(node)

    def tell_stillborn(self, node: str, host: str) -> None:
        """Count a trial whose process died on a node before it began."""
        self._hosts[node] = host
        self._stillborn[node] += 1

    def tell_unfit(self, node: str, host: str) -> None:
        """Note that a node could not run a trial: something is missing there."""
        self._hosts[node] = host
        self._unfit.add(node)

    @property
    def anything_went_well(self) -> bool:
        """A stage or row, anywhere."""
        return bool(self._went_well)

    def left_out(self) -> tuple[str, ...]:
        """Return the nodes where no trial is to start; none while nothing goes well anywhere: no node's fault."""
        failing, stillborn = _only(self._failed, but=self._went_well), _only(self._stillborn, but=self._begun)
        return tuple(sorted({*failing, *stillborn, *self._lacking}))

    @property
    def _lacking(self) -> set[str]:
        """Nodes that could not run a trial and on which nothing went well, while others may do better."""
        return self._unfit - self._went_well if self._begun - self._unfit or self._went_well else set()

    def remarks(self) -> list[str]:
        """Return a sentence per node that is left out."""
        return [f"node {self._hosts[node]} is left out: {self._why(node)}" for node in self.left_out()]

    def _why(self, node: str) -> str:
        if node in self._lacking:
            return "it cannot run the study, and others may"
        if node in _only(self._failed, but=self._went_well):
            return f"the first {self._failed[node]} stages and rows there all failed, and others go well elsewhere"
        return (
            f"the processes of the first {self._stillborn[node]} trials died there before they began, and others began "
            "elsewhere"
        )


def _only(failures: Counter[str], *, but: set[str]) -> set[str]:
    """Return the nodes with enough failures and no success, where others had some."""
    return {node for node, count in failures.items() if count >= FAILURES and node not in but} if but else set()
