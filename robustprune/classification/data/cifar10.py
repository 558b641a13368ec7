"""CIFAR-10 as torchvision keeps it on disk; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from robustprune.classification.data.images import LabelledImages
from robustprune.core.errors import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGE_SIZE = 32
_SOURCE = "CIFAR-10's python version from https://www.cs.toronto.edu/~kriz/cifar.html (nothing is downloaded)"


def load(root: Path, split: Literal["train", "test"]) -> LabelledImages:
    """Return a split: 50,000 images to train, 10,000 to test.

    Args:
        root: folder that holds `cifar-10-batches-py`.
        split: which.

    Raises:
        InputError: a file is missing or damaged.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    # The files are pickles: torchvision reads them, and none whose checksum is not the published one.
    checksums = dict((*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])))
    for name, checksum in checksums.items():
        path = root / CIFAR10.base_folder / name
        if not check_integrity(path, checksum):
            found = "another file than the one published" if path.is_file() else "no such file"
            raise InputError(f"{path}: found {found}, expected a file of {_SOURCE}")
    dataset = CIFAR10(root, train=split == "train", download=False)
    return LabelledImages(
        pixels=torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor(dataset.targets),
        classes=CLASSES,
    )
