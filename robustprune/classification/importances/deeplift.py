"""DeepLIFT on a classifier; how contributions are carried on to weights is told in `importance.contributions`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from robustprune.classification.importances.problem import Problem
from robustprune.classification.networks.classifier import Classifier
from robustprune.classification.networks.explainable import explainable
from robustprune.classification.pruning import channel_groups, prunable_layers
from robustprune.methods.contributions import DeepLiftSettings, contributions_to, mean_magnitude


def deeplift(classifier: Classifier, problem: Problem, settings: DeepLiftSettings) -> dict[str, Tensor]:
    """Return importance per prunable layer: the mean over micro-batches of |contribution|, in the weights' shape.

    Raises:
        InputError: the classifier computes what DeepLIFT cannot explain.
    """
    groups = channel_groups(copy.deepcopy(classifier), image_size=problem.image_size)
    layers = list(prunable_layers(classifier, groups))
    images = problem.images.take(range(min(settings.images or len(problem.images), len(problem.images))))
    device = classifier.mean.device
    reference = torch.zeros((), device=device)
    if settings.reference == "mean":
        reference = images.pixels.double().mean(dim=0).div(255).to(device)

    def by_batch() -> Iterator[dict[str, Tensor]]:
        for pixels, labels in images.batches(settings.batch_size, device=device):
            yield contributions(classifier, pixels, labels, reference=reference, layers=layers)

    return mean_magnitude(by_batch(), batches=-(-len(images) // settings.batch_size))


def contributions(
    classifier: Classifier, images: Tensor, labels: Tensor, *, reference: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Return the signed contribution of every weight of `layers` to F(images) − F(reference), summed over images.

    F is the logit of an image's true class, before any softmax; the same class for an image and its reference.
    Computed and returned in float64: F is a small difference of large numbers.

    Args:
        classifier: not changed.
        images: (N, 3, S, S) in [0, 1].
        labels: (N,), the true classes.
        reference: broadcast against `images`, and in [0, 1] like them: the normalisation is the classifier's.
        layers: names of convolutions and fully connected layers.

    Raises:
        InputError: the classifier computes what DeepLIFT cannot explain.
    """
    network = explainable(classifier).double().requires_grad_(False)
    return contributions_to(
        TrueClassLogit(network, labels),
        images.double(),
        reference.double(),
        layers={name: network.get_submodule(name) for name in layers},
    )


class TrueClassLogit(nn.Module):
    """F of `contributions`, for a batch that holds images and their references in turn: (2N, …) to (2N,)."""

    def __init__(self, network: nn.Module, labels: Tensor) -> None:
        """Explain `network` at the classes of N images."""
        super().__init__()
        self.network = network
        self.labels = labels

    def forward(self, images: Tensor) -> Tensor:
        """Return one value per image and per reference."""
        logits: Tensor = self.network(images)
        return logits.gather(1, self.labels.repeat(2)[:, None])[:, 0]
