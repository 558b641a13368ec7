"""DeepLIFT on a detector; how contributions are carried on to weights is told in `importance.contributions`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.layers import MaxPool, Product
from robustprune.detection.losses.assignment import Assignment, assign
from robustprune.initializers.problem import Problem
from robustprune.methods.contributions import EXPLAINED, DeepLiftSettings, contributions_to, mean_magnitude
from robustprune.methods.max_as_relu import MaxAsReLU, replace


def deeplift(detector: Detector, problem: Problem, settings: DeepLiftSettings) -> dict[str, Tensor]:
    """Return importance per prunable layer: the mean over micro-batches of |contribution|, in the weights' shape."""
    samples = problem.samples
    images_used = min(settings.images or len(samples), len(samples))
    device = next(detector.parameters()).device
    chunks = [chunk.tolist() for chunk in torch.arange(images_used).split(settings.batch_size)]
    reference = torch.zeros(())
    if settings.reference == "mean":
        sums = [batch.images.sum(dim=0) for batch in samples.stream(chunks)]
        reference = torch.stack(sums).sum(dim=0) / images_used
    reference, layers = reference.to(device), list(problem.layers(detector))

    def by_batch() -> Iterator[dict[str, Tensor]]:
        for batch in samples.stream(chunks):
            images, targets = batch.images.to(device), batch.targets.to(device)
            yield contributions(detector, images, targets, reference=reference, layers=layers)

    return mean_magnitude(by_batch(), batches=len(chunks))


def contributions(
    detector: Detector, images: Tensor, targets: Tensor, *, reference: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Return the signed contribution of every weight of `layers` to F(images) − F(reference), summed over images.

    F is the sum of the objectness and true-class logits, before any sigmoid, of the anchors that the objects in the
    images are assigned to; the same anchors for an image and its reference.

    Computed and returned in float64: F is a small difference of large numbers, and a GPU would round the products
    of float32 to TF32.

    Args:
        detector: not changed.
        images: (N, 3, S, S) in [0, 1].
        targets: (M, 6) as for `assign`.
        reference: broadcast against `images`.
        layers: names of convolutions.

    Raises:
        InputError: the detector has an activation without a Rescale rule, or multiplies layers.
    """
    assignments = assign(targets, detector.heads, images.shape[-1])
    detector = copy.deepcopy(detector).double().eval().requires_grad_(False)
    replace(detector, MaxPool, lambda pool: MaxAsReLU(size=pool.size, stride=pool.stride, padding=pool.padding))
    _check_explained(detector)
    return contributions_to(
        AssignedLogits(detector, assignments),
        images.double(),
        reference.double(),
        layers={name: detector.get_submodule(name) for name in layers},
    )


class AssignedLogits(nn.Module):
    """F of `contributions`, for a batch that holds images and their references in turn: (2N, …) to (2N,)."""

    def __init__(self, detector: Detector, assignments: Sequence[Assignment]) -> None:
        """Explain `detector` at the anchors of `assignments`, made for N images."""
        super().__init__()
        self.detector = detector
        self.assignments = assignments

    def forward(self, images: Tensor) -> Tensor:
        """Return one value per image and per reference."""
        count = images.shape[0] // 2
        total = images.new_zeros(images.shape[0])
        for output, positive in zip(self.detector(images), self.assignments, strict=True):
            for first in (0, count):
                image = positive.image + first
                logits = output[image, positive.anchor, positive.row, positive.column]
                true_class = logits[:, 5:].gather(1, positive.classes[:, None])[:, 0]
                total = total.index_add(0, image, logits[:, 4] + true_class)
        return total


def _check_explained(detector: Detector) -> None:
    for name, module in detector.named_modules():
        if isinstance(module, Product):
            raise InputError(f"deeplift cannot explain the product of two layers that is {name}")
        if "activation" in type(module).__module__ and not isinstance(module, EXPLAINED):
            raise InputError(
                f"deeplift cannot explain the activation {type(module).__name__} of {name}: "
                "expected leaky, relu, logistic or linear throughout"
            )
