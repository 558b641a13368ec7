"""Training: one loop for every task, its objective, its settings and schedules, and its state between epochs."""

from robustprune.training.loop import train
from robustprune.training.objective import Objective
from robustprune.training.renewal import Renewal
from robustprune.training.settings import Training

__all__ = ["Objective", "Renewal", "Training", "train"]
