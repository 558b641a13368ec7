"""What is said of weights given by the user before anything runs: their normalisation, and how often they are right.

A wrong normalisation, or classes in another order, is no error that anything could find; it is a low accuracy.
"""

from __future__ import annotations

import torch

from robustprune.classification.classifier import Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.accuracy import accuracy
from robustprune.classification.measure.evaluation import drawn
from robustprune.core.errors import DivergedError
from robustprune.inference.cost import size

MOST_IMAGES = 300

MOST_OPERATIONS = 3e11
"""Seconds of one core: large networks are asked about fewer images, not about fewer than `LEAST_IMAGES`."""

LEAST_IMAGES = 20


def given_weights(classifier: Classifier, images: LabelledImages) -> str:
    """Return the normalisation of a classifier, and its accuracy on some of the images, in words.

    Args:
        classifier: on the CPU, in any mode.
        images: the test images.
    """
    forward = 2 * size(classifier, torch.zeros(1, *images.pixels.shape[1:])).macs
    affordable = max(LEAST_IMAGES, min(MOST_IMAGES, int(MOST_OPERATIONS / max(1, forward))))
    some = images.take(drawn(images, affordable))
    mean, std = (
        ", ".join(f"{each:.4g}" for each in values.flatten().tolist()) for values in (classifier.mean, classifier.std)
    )
    told = f"normalised by mean ({mean}) and std ({std})"
    try:
        right = accuracy(classifier, some, batch_size=50, device=torch.device("cpu"))
    except DivergedError as error:
        return f"{told}: {error}"
    told += f": right about {right:.1%} of {len(some)} test images"
    # Twice as often as one who guesses: less is no weights that anybody would publish.
    if right < 2 / len(images.classes) and len(images.classes) > 2:
        told += ", hardly more than by chance: is that its normalisation, and the order of its classes?"
    return told
