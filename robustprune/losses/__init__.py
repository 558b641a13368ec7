"""Training losses of a detector, by name."""

from robustprune.losses.ciou import ciou

LOSSES = {"ciou": ciou}

__all__ = ["LOSSES", "ciou"]
