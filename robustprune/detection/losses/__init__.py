"""Training losses of a detector, by name.

A loss is a function `loss(outputs, assignments, heads)` of raw head outputs, see `ciou`, that returns a scalar. One
that also takes `per_image=True`, and then returns the loss of each image as if it were the whole batch, (N,), is
attacked in one pass; another is asked image by image.
"""

from robustprune.detection.losses.ciou import ciou
from robustprune.plugins import task_registry

LOSSES = task_registry("robustprune.losses", kind="loss", task="detection", bundled={"ciou": ciou})

__all__ = ["LOSSES", "ciou"]
