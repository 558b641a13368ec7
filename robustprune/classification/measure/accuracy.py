"""How often a classifier is right, on images as they are and under attacks within a ball."""

from __future__ import annotations

import torch
from torch import Tensor

from robustprune.attacks import frozen
from robustprune.attacks.norms import distances
from robustprune.classification.classifier import Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.attacks import BallAttack
from robustprune.core.errors import DivergedError

_ROUNDING = 1e-3
"""What sums of float32 may add to a radius, as a share of it; and a thousandth of that in pixel values."""


def correct(classifier: Classifier, images: LabelledImages, *, batch_size: int, device: torch.device) -> Tensor:
    """Return which images the classifier gets right, in eval mode; bool, shape (N,), on the CPU.

    Raises:
        DivergedError: it answers NaN or infinity, of which the largest would pass for an answer.
    """
    right = []
    with frozen(classifier), torch.no_grad():
        for pixels, labels in images.batches(batch_size, device=device):
            logits = classifier(pixels)
            if not logits.isfinite().all():
                raise DivergedError("the classifier answers NaN or infinity")
            right.append((logits.argmax(dim=1) == labels).cpu())
    return torch.cat(right)


def accuracy(classifier: Classifier, images: LabelledImages, *, batch_size: int, device: torch.device) -> float:
    """Return the share of images that the classifier gets right, in [0, 1]."""
    return correct(classifier, images, batch_size=batch_size, device=device).double().mean().item()


def attacked_accuracy(
    classifier: Classifier,
    images: LabelledImages,
    *,
    attack: BallAttack,
    batch_size: int,
    device: torch.device,
) -> float:
    """Return the share of images, in [0, 1], that the classifier gets right before and under the attack.

    Those it gets wrong by itself are not attacked. That attacked images are in the ball and in [0, 1] is asserted.
    """
    right = correct(classifier, images, batch_size=batch_size, device=device).nonzero().flatten()
    withstood = 0
    with frozen(classifier):
        for pixels, labels in images.take(right).batches(batch_size, device=device):
            attacked = attack.run(classifier, pixels, labels)
            assert attacked.min() >= 0
            assert attacked.max() <= 1
            farthest = float(distances(attacked, pixels)[attack.norm].max())
            assert farthest <= attack.epsilon * (1 + _ROUNDING) + _ROUNDING**2, f"{farthest} from the image"
            with torch.no_grad():
                withstood += int((classifier(attacked).argmax(dim=1) == labels).sum())
    return withstood / len(images)
