"""Training losses of detectors, by name, each for the detectors of a family.

Of detectors with anchors, a loss is a function `loss(outputs, assignments, heads)` of raw head outputs, see `ciou`,
that returns a scalar. One that also takes `per_image=True`, and then returns the loss of each image as if it were the
whole batch, (N,), is attacked in one pass; another is asked image by image. A loss for another family has its name as
an attribute, `family`, and the arguments that detectors of that family call it with.
"""

from robustprune.detection.centernet.loss import FOCAL, FOCAL_EXACT
from robustprune.detection.losses.ciou import ciou
from robustprune.plugins import task_registry

ANCHORS = "anchors"
"""The family of losses that do not tell theirs."""

LOSSES = task_registry(
    "robustprune.losses",
    kind="loss",
    task="detection",
    bundled={"ciou": ciou, "focal": FOCAL, "focal-exact-radius": FOCAL_EXACT},
)


def family_of(name: str) -> str:
    """Return the family of the detectors that a loss is of."""
    return str(getattr(LOSSES[name].provides, "family", ANCHORS))


__all__ = ["ANCHORS", "LOSSES", "ciou", "family_of"]
