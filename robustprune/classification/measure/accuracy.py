"""How often a classifier is right, on images as they are and under attacks within a ball."""

from __future__ import annotations

import torch
from torch import Tensor

from robustprune.attacks import ZeroGradients, frozen
from robustprune.attacks.adversarial_library.library import Network
from robustprune.attacks.norms import distances
from robustprune.classification.classifier import Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.attacks import BallAttack
from robustprune.core.errors import DivergedError

_ROUNDING = 1e-3
"""What sums of float32 may add to a radius, as a share of it; and a thousandth of that in pixel values."""


def answers(classifier: Network, images: Tensor, *, attacked: bool = True) -> Tensor:
    """Return the logits of a batch.

    Raises:
        DivergedError: they are NaN or infinite, of which the largest would pass for an answer.
    """
    logits = classifier(images)
    if not logits.isfinite().all():
        raise DivergedError("the classifier answers NaN or infinity" + " to attacked images" * attacked)
    return logits


def correct(classifier: Classifier, images: LabelledImages, *, batch_size: int, device: torch.device) -> Tensor:
    """Return which images the classifier gets right, in eval mode; bool, shape (N,), on the CPU.

    Raises:
        DivergedError: it answers NaN or infinity.
    """
    right = []
    with frozen(classifier), torch.no_grad():
        for pixels, labels in images.batches(batch_size, device=device):
            right.append((answers(classifier, pixels, attacked=False).argmax(dim=1) == labels).cpu())
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

    Those it gets wrong by itself are not attacked.
    """
    right = correct(classifier, images, batch_size=batch_size, device=device).nonzero().flatten()
    stays = withstood(classifier, images.take(right), attack=attack, batch_size=batch_size, device=device)
    return int(stays.sum()) / len(images)


def withstood(
    classifier: Classifier,
    images: LabelledImages,
    *,
    attack: BallAttack,
    batch_size: int,
    device: torch.device,
    zeros: ZeroGradients | None = None,
) -> Tensor:
    """Return which images the classifier gets right under the attack; bool, shape (N,), on the CPU.

    That attacked images are in the ball and in [0, 1] is asserted.

    Args:
        classifier: on `device`; held still in eval mode meanwhile.
        images: to attack, all of them.
        attack: on one batch.
        batch_size: of all but the last batch.
        device: where to attack.
        zeros: counts the attack's gradients, if given.

    Raises:
        DivergedError: attacked images, or the answers to them, are NaN or infinite.
    """
    found = [torch.zeros(0, dtype=torch.bool)]
    with frozen(classifier):
        for pixels, labels in images.batches(batch_size, device=device):
            attacked = attack.run(classifier if zeros is None else zeros.watch_network(classifier), pixels, labels)
            if attacked.isnan().any():
                raise DivergedError("the classifier's gradients are NaN under attack")
            assert attacked.min() >= 0
            assert attacked.max() <= 1
            farthest = float(distances(attacked, pixels)[attack.norm].max())
            assert farthest <= attack.epsilon * (1 + _ROUNDING) + _ROUNDING**2, f"{farthest} from the image"
            with torch.no_grad():
                found.append((answers(classifier, attacked).argmax(dim=1) == labels).cpu())
    return torch.cat(found)
