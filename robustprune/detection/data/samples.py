"""A split as a detector sees it: of one size, in a colour, boxes relative to the input's sides; batches and flips.

Files and annotations are read in `coco`, the geometry is in `letterbox`; the order of images is the caller's.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.letterbox import Fit, Letterbox, Pixels, greyscale, paint, place, resize
from robustprune.detection.image_size import ImageSize, sides

Colour = Literal["rgb", "greyscale"]

AHEAD = 2
"""Batches that are prepared while one is used."""


class Sample(NamedTuple):
    """One image with its objects; boxes and classes are possibly kept in memory, so not to be changed in place.

    Attributes:
        image: In [0, 1], float32, shape (C, H, W).
        boxes: Centre x, centre y, width, height in units of the input's sides, float32, shape (K, 4).
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
        images: In [0, 1], float32, shape (N, C, H, W), channels last in memory.
        targets: One row per object: index in the batch, class, centre x, centre y, width, height;
            float32, shape (M, 6).
        image_ids: As in the annotations, one per image.
        letterboxes: Take boxes back to the images, one per image.
    """

    images: Tensor
    targets: Tensor
    image_ids: tuple[int, ...]
    letterboxes: tuple[Letterbox, ...]


class _Resized(NamedTuple):
    """What is kept of an image: a quarter of the memory of its sample, and less where it has padding."""

    pixels: Pixels
    boxes: Tensor
    classes: Tensor
    placement: Letterbox


class _Cache:
    """Resized images by index. The first to come are kept until the memory is used up.

    With each image read once an epoch, that saves more reading than keeping the latest.
    """

    def __init__(self, capacity: int) -> None:
        self._free_bytes = capacity
        self._kept: dict[int, _Resized] = {}
        self._lock = threading.Lock()

    def get(self, index: int) -> _Resized | None:
        return self._kept.get(index)

    def offer(self, index: int, image: _Resized) -> None:
        with self._lock:
            if index not in self._kept and image.pixels.nbytes <= self._free_bytes:
                self._kept[index] = image
                self._free_bytes -= image.pixels.nbytes


class Samples:
    """The images of a split for a detector, in the order of their ids."""

    def __init__(
        self,
        split: CocoSplit,
        *,
        image_size: ImageSize,
        colour: Colour = "rgb",
        fit: Fit = "letterbox",
        channels: int = 3,
        cache_bytes: int = 0,
        workers: int = 4,
    ) -> None:
        """Read nothing yet.

        Args:
            split: What to read.
            image_size: What every image is brought to, in pixels.
            colour: "rgb", or "greyscale": luma copied to three channels.
            fit: How a picture is brought to that size.
            channels: Of the network: 3, or 1 for luma alone, whatever the colour.
            cache_bytes: Memory for resized images, 8 bits per colour.
            workers: Threads of `stream`. Threads, not processes: decoding and resizing release Python's lock, and
                the cache is theirs together.

        Raises:
            InputError: There are no such pictures.
        """
        if channels not in (1, 3):
            raise InputError(
                f"the network's `channels` is {channels}, expected 3, colour, or 1, grey, as pictures have"
            )
        self.split = split
        self.image_size = image_size
        self._colour = colour
        self._fit: Fit = fit
        self._channels = channels
        self._workers = workers
        self._cache = _Cache(cache_bytes)

    def in_colour(self, colour: Colour) -> Samples:
        """Return the same images in another colour; the two share their cache."""
        other = copy.copy(self)
        other._colour = colour
        return other

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample.

        Raises:
            InputError: The image file is damaged.
        """
        return self._draw(self._squares(1)[0], index)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples of `indices` as one batch, in their order."""
        squares = self._squares(len(indices))
        return _join(squares, [self._draw(*task) for task in zip(squares, indices, strict=True)])

    def stream(self, chunks: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """Yield `batch(indices)` for each of `chunks`, prepared by threads while the batches before are used.

        The batches are the same, to the last bit, for any number of workers.
        """
        pool = ThreadPoolExecutor(self._workers)

        def begin(indices: Sequence[int]) -> Callable[[], Batch]:
            squares = self._squares(len(indices))
            drawn = [pool.submit(self._draw, *task) for task in zip(squares, indices, strict=True)]
            return lambda: _join(squares, [future.result() for future in drawn])

        begun: deque[Callable[[], Batch]] = deque()
        try:
            for indices in chunks:
                begun.append(begin(indices))
                if len(begun) > AHEAD:
                    yield begun.popleft()()
            while begun:
                yield begun.popleft()()
        finally:
            pool.shutdown(cancel_futures=True)

    def _squares(self, count: int) -> NDArray[np.float32]:
        return np.empty((count, *sides(self.image_size), self._channels), dtype=np.float32)

    def _draw(self, square: NDArray[np.float32], index: int) -> Sample:
        """Return a sample whose image lies in the memory of `square`."""
        pixels, boxes, classes, placement = self._cache.get(index) or self._read(index)
        coloured = square if self._channels == 3 else np.empty((*square.shape[:2], 3), dtype=np.float32)
        paint(coloured, pixels, placement)
        image = torch.from_numpy(square).permute(2, 0, 1)
        if self._colour == "greyscale" or self._channels == 1:
            image.copy_(greyscale(torch.from_numpy(coloured).permute(2, 0, 1))[: self._channels])
        return Sample(image, boxes, classes, self.split.image_ids[index], placement)

    def _read(self, index: int) -> _Resized:
        image = self.split.image(index)
        placement = place(*image.size, self.image_size, self._fit)
        height, width = sides(self.image_size)
        corners = placement.to_square(torch.from_numpy(self.split.boxes(index)))
        corners = corners / corners.new_tensor([width, height] * 2)
        low, high = corners.clamp(0, 1).tensor_split(2, dim=1)
        boxes = torch.cat([(low + high) / 2, high - low], dim=1)
        read = _Resized(resize(image, placement), boxes, torch.from_numpy(self.split.classes(index)), placement)
        self._cache.offer(index, read)
        return read


def _join(squares: NDArray[np.float32], samples: Sequence[Sample]) -> Batch:
    """Return the batch of samples whose images are `squares`."""
    counts = torch.tensor([len(sample.classes) for sample in samples])
    positions = torch.repeat_interleave(torch.arange(len(samples)), counts)
    classes = torch.cat([sample.classes for sample in samples])
    boxes = torch.cat([sample.boxes for sample in samples])
    return Batch(
        images=torch.from_numpy(squares).permute(0, 3, 1, 2),
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
