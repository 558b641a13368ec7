"""The embedded set: the same images for the same settings, balanced, and no class told by its background."""

import numpy as np
import pytest
import torch

from robustprune.classification.data import emblems
from robustprune.classification.data.emblems import CLASSES, generate
from robustprune.classification.data.images import LabelledImages


def generated(split: str = "train", *, seed: int = 0, images: int = 30, image_size: int = 32) -> LabelledImages:
    return generate(seed=seed, split=split, images=images, image_size=image_size)  # type: ignore[arg-type]


def rows(images: LabelledImages) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.pixels}


def test_images_are_as_every_part_of_the_study_gets_them() -> None:
    images = generated(image_size=20)
    assert (images.pixels.shape, images.pixels.dtype) == ((30, 3, 20, 20), torch.uint8)
    assert images.pixels.is_contiguous()
    assert images.labels.dtype == torch.int64
    assert images.classes == CLASSES
    assert len(rows(images)) == 30


def test_the_same_settings_give_the_same_images() -> None:
    assert torch.equal(generated().pixels, generated().pixels)


@pytest.mark.parametrize("count", [6, 17, 30])
def test_more_images_never_change_earlier_ones(count: int) -> None:
    few, many = generated(images=count), generated()
    assert torch.equal(few.pixels, many.pixels[:count])
    assert torch.equal(few.labels, many.labels[:count])


def test_classes_are_balanced() -> None:
    counts = generated(images=32).labels.bincount(minlength=len(CLASSES))
    assert counts.tolist() == [6, 6, 5, 5, 5, 5]


def test_splits_and_seeds_share_nothing() -> None:
    sets = [rows(generated()), rows(generated("test")), rows(generated(seed=1))]
    assert len(set().union(*sets)) == 3 * 30


def test_hue_suggests_a_class_and_does_not_decide() -> None:
    hues = [category.hues for category in emblems.CATEGORIES]
    covered = np.zeros(360, dtype=int)
    for low, high in hues:
        covered[np.arange(low, high) % 360] += 1
    assert set(covered) == {1, 2}, "every hue is of one class, or of two neighbours"
    for first in emblems.CATEGORIES:
        for second in emblems.CATEGORIES:
            if first.id < second.id and first.shape is second.shape:
                apart = np.abs(np.subtract(np.mean(first.hues), np.mean(second.hues)))
                assert min(apart, 360 - apart) == 180
