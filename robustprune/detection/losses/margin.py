"""The loss of the margin attack: what would count, as average precision counts, is made to count for less.

The loss that a detector is trained with is a poor stand-in for average precision: an attack on it alone wastes itself
on errors that change no detection. This one looks at the boxes as they are found; it is attacked, never trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustprune.detection.detector import Candidates
from robustprune.detection.image_size import ImageSize, sides

OVERLAP = 0.5
"""A box whose IoU with an object exceeds this would be counted for it, were its class right."""

OVERLAP_WEIGHT = 5.0
"""Of overlap beside logits of classes."""

TRAINING_WEIGHT = 20.0
"""Of the training loss in what the attack ascends: it still leads where objectness is gone, and margins with it."""


def margin(candidates: Sequence[Candidates], objects: Tensor, image_size: ImageSize) -> Tensor:
    """Return, of each image, how little its true detections count and how much false ones do, (N,).

    With o the objectness, a probability, and z the logits of the classes,

        Σ o · (max z(other classes) − z(true class) − 5 IoU) + Σ o,

    the first sum over all pairs of an object and a box that overlaps it, the second over the boxes that overlap none.
    So true detections get other classes and looser boxes; where the class is lost, objectness rises, and what was a
    detection becomes a false alarm. A margin of logits in the place of a cross-entropy is that of Carlini and Wagner
    (2017); its form for detectors is ours, and the weights are those that lowered the AP of three detectors of `shapes`
    most, further than margins of the assigned anchors alone; `benchmarks.attack_strength` shows what it is worth.

    Args:
        candidates: every box that might be found; see `Detector.candidates`.
        objects: (M, 6) image index, class, centre x, centre y, width, height; box units are the image's sides.
        image_size: of the images.
    """
    height, width = sides(image_size)
    of_image, classes = objects[:, 0].long(), objects[:, 1].long()
    truth = _corners(objects[:, 2:] * objects.new_tensor([width, height] * 2))
    total = candidates[0].objectness.new_zeros(len(candidates[0].objectness))
    for found, objectness, every in candidates:
        boxes = _corners(found)
        with torch.no_grad():
            overlapping = _iou(truth[:, None], boxes[of_image]) > OVERLAP
        target, box = overlapping.nonzero(as_tuple=True)
        image, true_class = of_image[target], classes[target, None]
        logits = every[image, box]
        true = logits.gather(1, true_class).squeeze(1)
        # A single class has no rival but its own absence, of logit 0.
        rivals = logits.shape[1] > 1
        other = logits.scatter(1, true_class, -torch.inf).amax(dim=1) if rivals else torch.zeros_like(true)
        overlap = _iou(truth[target], boxes[image, box])
        counted = objectness[image, box] * (other - true - OVERLAP_WEIGHT * overlap)
        false_alarm = torch.ones_like(objectness).index_put((image, box), objectness.new_zeros(()))
        total = total.index_add(0, image, counted) + (objectness * false_alarm).sum(dim=1)
    return total


@dataclass(frozen=True)
class MarginLoss:
    """`margin` + 20 · training loss, image by image, as a function of a batch's images; see `attacks.AttackLoss`.

    Attributes:
        answer: the detector held still: from images (N, C, H, W) to raw outputs.
        objects: as `margin` takes them.
        candidates: from raw outputs and the size of images to what `margin` takes; see `Detector.candidates`.
        training_losses: from raw outputs to the training loss of each image, (N,).
    """

    answer: Callable[[Tensor], Sequence[Tensor]]
    objects: Tensor
    candidates: Callable[[Sequence[Tensor], ImageSize], Sequence[Candidates]]
    training_losses: Callable[[Sequence[Tensor]], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the sum over images."""
        return self._losses(images).sum()

    @torch.no_grad()
    def per_image(self, images: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        return self._losses(images)

    def _losses(self, images: Tensor) -> Tensor:
        outputs = self.answer(images)
        size = (images.shape[-2], images.shape[-1])
        found = margin(self.candidates(outputs, size), self.objects, size)
        return found + TRAINING_WEIGHT * self.training_losses(outputs)


def _iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of pairs of boxes, x1, y1, x2, y2 in the last dimension, broadcast."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = ((box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (first, second))
    return shared / (sum(areas) - shared)


def _corners(boxes: Tensor) -> Tensor:
    from torchvision.ops import box_convert  # see `ciou`

    corners: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return corners
