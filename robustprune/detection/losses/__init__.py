"""Training losses of a detector, by name.

A loss is a function `loss(outputs, assignments, heads)` of raw head outputs, see `ciou`, that returns a scalar.
"""

from robustprune.detection.losses.ciou import ciou
from robustprune.plugins import task_registry

LOSSES = task_registry("robustprune.losses", kind="loss", task="detection", bundled={"ciou": ciou})

__all__ = ["LOSSES", "ciou"]
