"""Labelled images in memory, all of one size, as every part of the study gets them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustprune.core.images.sharing import Contents


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """A split of a data set.

    Attributes:
        pixels: uint8, shape (N, 3, S, S), on the CPU.
        labels: int64, shape (N,), indices of `classes`.
        classes: their names, in the order of a classifier's logits.
        remarks: sentences on their files that a user should know.
        contents: of their files, where each has one.
        files: width and height of each picture as its file has it; empty where there are no files.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    contents: Contents | None = None
    files: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def take(self, indices: Tensor | Sequence[int]) -> LabelledImages:
        """Return some of the images, in the order given."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return dataclasses.replace(
            self,
            pixels=self.pixels[chosen],
            labels=self.labels[chosen],
            contents=None if self.contents is None else self.contents.take(chosen.tolist()),
            files=tuple(self.files[index] for index in chosen.tolist()) if self.files else (),
        )

    def batches(
        self, batch_size: int, *, device: torch.device, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once: pixels (N, 3, S, S) in [0, 1], float32, contiguous, and labels (N,).

        Args:
            batch_size: of all but the last batch.
            device: where to put them.
            generator: on the CPU; shuffles them. Without one they come in order.
        """
        count = len(self)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        for start in range(0, count, batch_size):
            chosen = order[start : start + batch_size]
            yield self.pixels[chosen].to(device).float().div_(255), self.labels[chosen].to(device)
