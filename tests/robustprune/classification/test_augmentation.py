"""How images are changed at random while a classifier is trained."""

import torch

from robustprune.classification.augmentation import augmented


def test_augmented_images_are_mirrored_and_shifted_copies() -> None:
    images = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    moved = augmented(images, torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(images, [2] * 4)
    found = set()
    for image, original in zip(moved, padded, strict=True):
        matches = [
            (mirrored, top, left)
            for mirrored in (False, True)
            for top in range(5)
            for left in range(5)
            if torch.equal(image.flip(-1) if mirrored else image, original[:, top : top + 16, left : left + 16])
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert {mirrored for mirrored, _, _ in found} == {False, True}
    assert {top for _, top, _ in found} == {left for _, _, left in found} == set(range(5))
