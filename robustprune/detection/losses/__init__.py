"""Training losses of a detector, by name."""

from robustprune.detection.losses.ciou import ciou

LOSSES = {"ciou": ciou}

__all__ = ["LOSSES", "ciou"]
