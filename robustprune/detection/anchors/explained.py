"""What DeepLIFT explains of a detector: the logits that answer for its objects, of a copy that Captum follows."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.darknet.layers import MaxPool, Product
from robustprune.detection.losses.assignment import Assignment
from robustprune.methods.explaining.contributions import EXPLAINED
from robustprune.methods.explaining.max_as_relu import MaxAsReLU, replace


def explainable(detector: AnchorDetector) -> AnchorDetector:
    """Return a copy in eval mode and float64 that DeepLIFT explains; layers keep their names.

    Raises:
        InputError: the detector has an activation without a Rescale rule, or multiplies layers.
    """
    copied = copy.deepcopy(detector).double().eval().requires_grad_(False)
    replace(copied, MaxPool, lambda pool: MaxAsReLU(size=pool.size, stride=pool.stride, padding=pool.padding))
    for name, module in copied.named_modules():
        if isinstance(module, Product):
            raise InputError(f"deeplift cannot explain the product of two layers that is {name}")
        if "activation" in type(module).__module__ and not isinstance(module, EXPLAINED):
            raise InputError(
                f"deeplift cannot explain the activation {type(module).__name__} of {name}: "
                "expected leaky, relu, logistic or linear throughout"
            )
    return copied


class AssignedLogits(nn.Module):
    """F of `methods.deeplift`, for a batch that holds images and their references in turn: (2N, …) to (2N,).

    F is the sum of the objectness and true-class logits, before any sigmoid, of the anchors that the objects in the
    images are assigned to; the same anchors for an image and its reference.
    """

    def __init__(self, detector: AnchorDetector, assignments: Sequence[Assignment]) -> None:
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
