"""The placement groups of a run's trials: Tune makes and removes them, but forgets them where it is interrupted.

On a Ray that stays, as a notebook's, their trials would run on for as long as a traceback keeps Tune's objects alive.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray import tune
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup

_made: list[PlacementGroup] = []


class TrialGroups(tune.PlacementGroupFactory):
    """What a trial asks for; what is made of it is remembered."""

    def to_placement_group(self) -> PlacementGroup:
        """Make a group."""
        group: PlacementGroup = super().to_placement_group()  # type: ignore[no-untyped-call]
        _made.append(group)
        return group


@contextmanager
def removed_when_interrupted() -> Iterator[None]:
    """Remove the groups made in this context where an exception ends it, and with each all that runs there."""
    _made.clear()
    try:
        yield
    except BaseException:
        for group in _made:
            remove_placement_group(group)
        raise
    finally:
        _made.clear()
