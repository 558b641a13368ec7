"""Linear classifiers and images, and the least perturbations that fool them: known exactly, in every norm."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.data.images import LabelledImages


class Linear(NamedTuple):
    """A linear classifier that is right about all of its images."""

    classifier: Classifier
    images: LabelledImages

    @property
    def pixels(self) -> Tensor:
        return self.images.pixels.float() / 255

    @property
    def labels(self) -> Tensor:
        return self.images.labels


def linear(classes: int = 2, *, saturated: bool, count: int = 32, size: int = 4, scale: float = 5.0) -> Linear:
    """Return grey images, or such that a third of the values is black or white, so that they have room one way only."""
    generator = torch.Generator().manual_seed(classes)
    layer = nn.Linear(3 * size**2, classes)
    classifier = Classifier(nn.Sequential(nn.Flatten(), layer), CIFAR10, classes=[str(c) for c in range(classes)])
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale / layer.in_features**0.5)
        layer.bias.zero_()
        layer.bias.sub_(classifier(torch.full((1, 3, size, size), 0.5))[0])  # grey is a tie of all classes
    values = torch.rand(count, 3, size, size, generator=generator)
    values = (1.6 * values - 0.3).clamp(0, 1) if saturated else 0.3 + 0.4 * values
    pixels = (255 * values).round().to(torch.uint8)
    labels = classifier(pixels / 255).argmax(dim=1)
    return Linear(classifier, LabelledImages(pixels=pixels, labels=labels, classes=classifier.classes))


def optimum(problem: Linear) -> dict[str, Tensor]:
    """Return by norm the least distance of each image within [0, 1] to another class, float64, shape (N,)."""
    classifier = problem.classifier
    pixels = problem.images.pixels.double() / 255
    zero = torch.zeros(1, *pixels.shape[1:], dtype=torch.float64)
    network = Classifier(classifier.network, CIFAR10, classes=classifier.classes).double()
    slopes = torch.autograd.functional.jacobian(network, zero).squeeze().flatten(1)
    logits = network(pixels).detach()
    classifier.float()
    least = [
        [
            to_half_space(slopes[other] - slopes[label], float(scores[label] - scores[other]), image)
            for other in range(len(slopes))
            if other != label
        ]
        for image, label, scores in zip(pixels.flatten(1), problem.labels.tolist(), logits, strict=True)
    ]
    norms = ("l0", "l1", "l2", "linf")
    return {norm: torch.tensor([min(each[i] for each in image) for image in least]) for i, norm in enumerate(norms)}


def to_half_space(slope: Tensor, gain: float, image: Tensor) -> tuple[float, float, float, float]:
    """Return the least L0, L1, L2 and L∞ norm of a `d` with `slope @ d >= gain > 0` and `image + d` within [0, 1].

    Each value moves along its slope's sign, at most to 0 or 1. L0 moves those to the end that gain most, L1 those that
    are steepest, L2 each by as much as it is steep, L∞ each alike.
    """
    steepness, room = slope.abs().double(), torch.where(slope > 0, 1 - image, image).double()
    if steepness @ room < gain:
        return (math.inf,) * 4
    gains = (steepness * room).sort(descending=True).values.cumsum(0)
    order = steepness.argsort(descending=True)
    steepest, rooms = steepness[order], room[order]
    before = torch.cat([torch.zeros(1).double(), (steepest * rooms).cumsum(0)])
    last = int((before[1:] < gain).sum())
    l1 = rooms[:last].sum() + (gain - before[last]) / steepest[last]
    l2 = _filled(steepness, steepness, room, gain).norm()
    linf = _filled(torch.ones_like(room), steepness, room, gain).max()
    return int((gains < gain).sum()) + 1.0, l1.item(), l2.item(), linf.item()


def _filled(direction: Tensor, steepness: Tensor, room: Tensor, gain: float) -> Tensor:
    """Return the shortest way along `direction`, cut at `room`, that gains enough: by bisection."""
    short, long = 0.0, (room / direction.clamp_min(1e-12)).max().item()
    for _ in range(100):
        middle = (short + long) / 2
        enough = steepness @ torch.minimum(middle * direction, room) >= gain
        short, long = (short, middle) if enough else (middle, long)
    return torch.minimum(long * direction, room)
