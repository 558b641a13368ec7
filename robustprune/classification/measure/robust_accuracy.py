"""How often a classifier is right under attacks within a ball: under each, and under the worst for every image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from robustprune.attacks import ZeroGradients, frozen
from robustprune.attacks.square import square
from robustprune.classification.classifier import Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.accuracy import correct, withstood
from robustprune.classification.measure.attacks import LOSSES, BallAttack


class RobustAccuracy(NamedTuple):
    """What attacks within a ball left of a classifier's answers to N images.

    Attributes:
        right: before any attack; bool, (N,).
        stays: right before and under every attack; bool, (N,).
        alone: accuracy under `ce`, `dlr` or the one attack chosen, by name, as if it were the only one; in [0, 1].
        zero_gradients: share of pixels whose gradient was exactly zero, in all steps of the first attack; None where it
            asks for none.
    """

    right: Tensor
    stays: Tensor
    alone: dict[str, float]
    zero_gradients: float | None


def robust_accuracy(
    classifier: Classifier,
    images: LabelledImages,
    *,
    attacks: Mapping[str, BallAttack],
    blind_queries: int,
    generator: torch.Generator,
    batch_size: int,
    device: torch.device,
) -> RobustAccuracy:
    """Attack the images that a classifier gets right, and tell of which it is fooled by none.

    Those of `LOSSES` attack all of these images, so that their figures can be told apart; any further attacks only what
    is left. Images that are left although no loss has a gradient at them are attacked by Square, in L∞.

    Args:
        classifier: on `device`.
        images: a split.
        attacks: see `ball_attacks`.
        blind_queries: of Square; 0 leaves it out.
        generator: of Square's, on the CPU.
        batch_size: of all but the last batch.
        device: where to attack.

    Raises:
        DivergedError: the classifier answers NaN or infinity, attacked or not.
    """
    right = correct(classifier, images, batch_size=batch_size, device=device)
    stays, zeros = right.clone(), ZeroGradients()
    alone: dict[str, float] = {}

    def under(attack: BallAttack, among: Tensor, *, counted: ZeroGradients | None = None) -> Tensor:
        """Return which images of a mask (N,) withstand."""
        found = among.clone()
        found[among] = withstood(
            classifier,
            images.take(among.nonzero()[:, 0]),
            attack=attack,
            batch_size=batch_size,
            device=device,
            zeros=counted,
        )
        return found

    for name, attack in attacks.items():
        is_first = not alone
        if is_first or name in LOSSES:
            found = under(attack, right, counted=zeros if is_first else None)
            alone[name] = found.double().mean().item()
            stays &= found
        else:
            stays = under(attack, stays)
    ascended = [name for name in attacks if name in LOSSES]
    if ascended and blind_queries and "square" not in attacks and attacks[ascended[0]].norm == "linf":
        blind = without_gradient(classifier, images, stays, losses=ascended, batch_size=batch_size, device=device)
        epsilon = attacks[ascended[0]].epsilon
        by_answers = BallAttack(
            lambda network, pixels, labels: square(
                network, pixels, labels, epsilon=epsilon, queries=blind_queries, generator=generator
            ),
            "linf",
            epsilon,
        )
        stays = under(by_answers, blind) | (stays & ~blind)
    return RobustAccuracy(right, stays, alone, zeros.share if zeros.pixels else None)


def without_gradient(
    classifier: Classifier,
    images: LabelledImages,
    among: Tensor,
    *,
    losses: list[str],
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Return which of some images none of `losses` has any gradient at; bool, (N,), as the mask `among` them is."""
    found = []
    with frozen(classifier):
        for pixels, labels in images.take(among.nonzero()[:, 0]).batches(batch_size, device=device):
            pixels.requires_grad_()
            logits = classifier(pixels)
            blind = torch.ones_like(labels, dtype=torch.bool)
            for name in losses:
                (gradient,) = torch.autograd.grad(LOSSES[name](logits, labels).sum(), pixels, retain_graph=True)
                blind &= (gradient == 0).flatten(1).all(dim=1)
            found.append(blind.cpu())
    result = among.clone()
    result[among] = torch.cat([torch.zeros(0, dtype=torch.bool), *found])
    return result
