"""Networks for classification, by name; weights given by the user are loaded in `checkpoints`."""

from robustprune.classification.networks.by_name import build, check_image_size

__all__ = ["build", "check_image_size"]
