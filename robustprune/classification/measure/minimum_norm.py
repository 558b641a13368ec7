"""Run an attack that looks for the least perturbation, and measure what it finds by our own arithmetic."""

from __future__ import annotations

import math
import time

import torch

from robustprune.attacks import frozen
from robustprune.attacks.norms import NORMS, distances
from robustprune.classification.classifier import Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.accuracy import answers, correct
from robustprune.classification.measure.attacks import LeastAttack
from robustprune.classification.measure.passes import Passes
from robustprune.classification.measure.perturbations import Perturbations


def minimum_norm(
    classifier: Classifier,
    images: LabelledImages,
    *,
    attack: LeastAttack,
    batch_size: int,
    device: torch.device,
) -> Perturbations:
    """Attack the images that a classifier gets right, and measure how little fooled it.

    Args:
        classifier: on `device`; held still in eval mode meanwhile.
        images: a split; those that are misclassified as they are need no attack.
        attack: on one batch.
        batch_size: of all but the last batch.
        device: where to attack.

    Raises:
        DivergedError: the classifier answers NaN or infinity, to images as they are or attacked: its argmax would count
            as fooled, by nothing.
    """
    index = correct(classifier, images, batch_size=batch_size, device=device).nonzero().flatten()
    passes, seconds = Passes(classifier), 0.0
    success = torch.zeros(len(index), dtype=torch.bool)
    least = {norm: torch.full((len(index),), math.inf, dtype=torch.float64) for norm in NORMS}
    done = 0
    with frozen(classifier):
        for pixels, labels in images.take(index).batches(batch_size, device=device):
            start = _now(device)
            attacked = attack(passes, pixels, labels)
            seconds += _now(device) - start
            passes.check_finite()
            assert attacked.isfinite().all()
            attacked = attacked.clamp(0, 1)
            with torch.no_grad():
                fooled = answers(classifier, attacked).argmax(dim=1) != labels
            batch = slice(done, done + len(labels))
            success[batch] = fooled.cpu()
            for norm, distance in distances(attacked, pixels).items():
                least[norm][batch] = distance.where(fooled, math.inf).cpu()
            done += len(labels)
    return Perturbations(
        index=index,
        success=success,
        **least,
        forwards=passes.forwards / max(1, done),
        backwards=passes.backwards / max(1, done),
        seconds=seconds,
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
