"""Small classifiers and images that tests of classification share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.task import ClassificationTask
from robustprune.core.randomness import generator_for

CLASSES = ("dark", "bright")


def bright_or_dark(count: int, *, size: int = 8, seed: int = 0) -> LabelledImages:
    """Images of noise around one of two levels, which a linear network can tell apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    levels = 90 + 70 * labels.view(-1, 1, 1, 1)
    noise = torch.randint(-60, 61, (count, 3, size, size), generator=generator)
    return LabelledImages(pixels=(levels + noise).to(torch.uint8), labels=labels, classes=CLASSES)


def task_on(images: LabelledImages, *, held_out: LabelledImages | None = None, **options: Any) -> ClassificationTask:
    """Return classification that trains on these images, in this order, and chooses epochs by those held out."""
    held_out = held_out or images.take([0])
    count = len(images) + len(held_out)
    both = LabelledImages(
        pixels=torch.cat([held_out.pixels, images.pixels]),
        labels=torch.cat([held_out.labels, images.labels]),
        classes=images.classes,
    )
    # The task shuffles before it parts them; so they are shuffled back beforehand.
    shuffled = both.take(torch.randperm(count, generator=generator_for(0, "holdout")).argsort())
    load: Callable[[str], LabelledImages] = {"train": shuffled, "test": images}.__getitem__
    defaults: dict[str, Any] = {"build": convolutional, "image_size": images.pixels.shape[-1]}
    return ClassificationTask(**{**defaults, "load": load, "holdout": len(held_out) / count, **options})


def convolutional(*, seed: int = 0, width: int = 4) -> Classifier:
    """A convolution with batch norm before a linear layer."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, len(CLASSES)),
    )
    return Classifier(network, CIFAR10, classes=CLASSES)


class ByBrightness(nn.Module):
    """Logits that say `bright` where the mean of an image is above `threshold`, by `slope` of the difference."""

    def __init__(self, threshold: float = 0.5, slope: float = 10.0) -> None:
        super().__init__()
        self.threshold, self.slope = nn.Parameter(torch.tensor(threshold)), slope

    def forward(self, images: Tensor) -> Tensor:
        evidence = self.slope * (images.mean(dim=(1, 2, 3)) - self.threshold)
        return torch.stack([-evidence, evidence], dim=1)
