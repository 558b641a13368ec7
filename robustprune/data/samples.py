"""A split as a detector sees it: letterboxed, in a colour, boxes relative to the square; batches and flips.

Files and annotations are read in `coco`, the geometry is in `letterbox`; the order of images is the caller's.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from robustprune.data.coco import CocoSplit
from robustprune.data.letterbox import Letterbox, greyscale, letterbox

Colour = Literal["rgb", "greyscale"]


class Sample(NamedTuple):
    """One image with its objects; possibly kept in memory, so not to be changed in place.

    Attributes:
        image: In [0, 1], float32, shape (3, S, S).
        boxes: Centre x, centre y, width, height in units of the square's side, float32, shape (K, 4).
        classes: From 0, int64, shape (K,).
        image_id: As in the annotations.
        letterbox: Takes boxes back to the image.
    """

    image: Tensor
    boxes: Tensor
    classes: Tensor
    image_id: int
    letterbox: Letterbox


class Batch(NamedTuple):
    """Several samples.

    Attributes:
        images: In [0, 1], float32, shape (N, 3, S, S).
        targets: One row per object: index in the batch, class, centre x, centre y, width, height;
            float32, shape (M, 6).
        image_ids: As in the annotations, one per image.
        letterboxes: Take boxes back to the images, one per image.
    """

    images: Tensor
    targets: Tensor
    image_ids: tuple[int, ...]
    letterboxes: tuple[Letterbox, ...]


class Samples(Dataset[Sample]):
    """The images of a split for a detector, in the order of their ids."""

    def __init__(self, split: CocoSplit, *, image_size: int, colour: Colour = "rgb", cache_bytes: int = 0) -> None:
        """Read nothing yet.

        Args:
            split: What to read.
            image_size: Side S of the square in pixels.
            colour: "rgb", or "greyscale": luma copied to three channels.
            cache_bytes: Memory for letterboxed images. The first to come are kept until it is full: with each
                image read once an epoch, that saves more reading than keeping the latest.
        """
        self.split = split
        self._image_size = image_size
        self._colour = colour
        self._capacity = cache_bytes // (3 * image_size * image_size * torch.float32.itemsize)
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample.

        Raises:
            InputError: The image file is damaged.
        """
        sample = self._kept.get(index)
        if sample is None:
            sample = self._read(index)
            if len(self._kept) < self._capacity:
                self._kept[index] = sample
        return sample

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples of `indices` as one batch, in their order."""
        return collate([self[index] for index in indices])

    def _read(self, index: int) -> Sample:
        image, placement = letterbox(self.split.image(index), self._image_size)
        if self._colour == "greyscale":
            image = greyscale(image)
        corners = placement.to_square(torch.from_numpy(self.split.boxes(index))) / self._image_size
        low, high = corners.clamp(0, 1).tensor_split(2, dim=1)
        return Sample(
            image,
            boxes=torch.cat([(low + high) / 2, high - low], dim=1),
            classes=torch.from_numpy(self.split.classes(index)),
            image_id=self.split.image_ids[index],
            letterbox=placement,
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Join samples of one size; also the `collate_fn` of a `torch.utils.data.DataLoader` over `Samples`."""
    counts = torch.tensor([len(sample.classes) for sample in samples])
    positions = torch.repeat_interleave(torch.arange(len(samples)), counts)
    classes = torch.cat([sample.classes for sample in samples])
    boxes = torch.cat([sample.boxes for sample in samples])
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        targets=torch.cat([torch.stack([positions, classes], dim=1).float(), boxes], dim=1),
        image_ids=tuple(sample.image_id for sample in samples),
        letterboxes=tuple(sample.letterbox for sample in samples),
    )


def flip_horizontally(images: Tensor, targets: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror some images of a batch, left to right, with their boxes.

    Args:
        images: Shape (N, C, H, W).
        targets: As in `Batch`, shape (M, 6).
        which: The images to mirror, bool, shape (N,).

    Returns:
        New images and targets.
    """
    flipped_images = torch.where(which[:, None, None, None], images.flip(-1), images)
    x = targets[:, 2]
    flipped_targets = targets.clone()
    flipped_targets[:, 2] = torch.where(which[targets[:, 0].long()], 1 - x, x)
    return flipped_images, flipped_targets
