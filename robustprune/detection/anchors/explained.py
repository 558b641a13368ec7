"""What DeepLIFT explains of a detector: the logits that answer for its objects, of a copy that it can follow."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor

from robustprune.core.errors import InputError
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.darknet.layers import MaxPool, Product
from robustprune.detection.losses.assignment import Assignment
from robustprune.methods.explaining.contributions import EXPLAINED
from robustprune.methods.explaining.max_as_relu import MaxAsReLU, replace


def explainable(detector: AnchorDetector) -> AnchorDetector:
    """Return a copy in eval mode that DeepLIFT explains; layers keep their names.

    Raises:
        InputError: the detector has an activation without a Rescale rule, or multiplies layers.
    """
    copied = copy.deepcopy(detector).eval().requires_grad_(False)
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


def assigned_logits(outputs: Sequence[Tensor], assignments: Sequence[Assignment]) -> Tensor:
    """Return the sums of the objectness and true-class logits of the anchors that each image's objects are assigned to.

    Args:
        outputs: of each head, before any sigmoid, for N images.
        assignments: of each head.

    Returns:
        (N,)
    """
    total = outputs[0].new_zeros(len(outputs[0]))
    for output, positive in zip(outputs, assignments, strict=True):
        logits = output[positive.image, positive.anchor, positive.row, positive.column]
        true_class = logits[:, 5:].gather(1, positive.classes[:, None])[:, 0]
        total = total.index_add(0, positive.image, logits[:, 4] + true_class)
    return total
