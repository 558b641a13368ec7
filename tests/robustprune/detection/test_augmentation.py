"""Windows and colours of images: boxes follow what is seen, and settings that change nothing change nothing."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from robustprune.detection.augmentation import Augmentation, augmented, coloured, within
from robustprune.detection.centernet.network import CenterNet
from robustprune.detection.data.letterbox import PADDING
from robustprune.detection.data.samples import Samples
from tests.robustprune.detection.centernet.networks import experienced
from tests.robustprune.detection.tasks import task_of

PUBLISHED = Augmentation(window=[0.6, 1.4], shift=0.4, colour=0.4)

ROWS, COLUMNS = 64, 96


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(*boxes: tuple[float, float, float, float]) -> tuple[Tensor, Tensor]:
    """Return an image for each box, white there and black around it, and the boxes as objects; corners in pixels."""
    images = torch.zeros(len(boxes), 3, ROWS, COLUMNS, dtype=torch.float64)
    objects = torch.zeros(len(boxes), 6, dtype=torch.float64)
    for index, (left, top, right, bottom) in enumerate(boxes):
        images[index, :, int(top) : int(bottom), int(left) : int(right)] = 1
        x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        objects[index] = torch.tensor([index, 0, x / COLUMNS, y / ROWS, width / COLUMNS, height / ROWS])
    return images, objects


def test_settings_that_change_nothing_change_nothing() -> None:
    images, objects = scene((10, 20, 40, 50))
    found, left = augmented(images, objects, Augmentation(), drawn())
    assert torch.equal(found, images)
    assert torch.equal(left, objects)


def test_boxes_follow_what_is_seen() -> None:
    images, objects = scene(*[(30, 20, 66, 44)] * 40)
    found, left = augmented(images, objects, PUBLISHED.model_copy(update={"colour": 0.0}), drawn())
    assert len(left) > 30
    for index, _, x, y, width, height in left.tolist():
        rows, columns = (found[int(index), 0] > 0.75).nonzero().unbind(dim=1)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        told = [(x - width / 2) * COLUMNS, (y - height / 2) * ROWS, (x + width / 2) * COLUMNS, (y + height / 2) * ROWS]
        assert [float(each) for each in seen] == pytest.approx(told, abs=1.5)
    assert 0.6 < left[:, 4].max() / objects[0, 4] < 1 / 0.6
    assert left[:, 4].std() > 0.05


def test_around_the_image_is_grey() -> None:
    images, objects = scene((0, 0, COLUMNS, ROWS))
    found, left = augmented(images, objects, Augmentation(window=[2, 2]), drawn())
    assert found[0, :, :15].unique().tolist() == [PADDING]
    assert (found[0, :, 17:47, 25:71] == 1).all()
    assert left.tolist() == [[0, 0, 0.5, 0.5, 0.5, 0.5]]


def test_an_object_is_cut_at_the_edge_and_leaves_with_its_last_pixel() -> None:
    _, objects = scene((0, 0, 48, 32), (0, 0, 24.4, 16), (80, 50, 90, 60), (47.5, 31.5, 48, 32))
    sides, middles = torch.tensor([0.5]).double().expand(4), torch.tensor([[0.5, 0.5]]).double().expand(4, 2)
    found = within(objects, sides, middles, size=(ROWS, COLUMNS))
    assert found[:, 0].tolist() == [0, 3], "one of .8 pixels is gone, one that was half a pixel is not"
    assert found[0].tolist() == pytest.approx([0, 0, 0.25, 0.25, 0.5, 0.5])
    assert found[1, 4:].tolist() == pytest.approx([1 / COLUMNS, 1 / ROWS])


def test_colours_stay_in_range_and_grey_stays_grey() -> None:
    images = torch.rand(8, 3, 5, 7, generator=drawn())
    found, _ = augmented(images, torch.zeros(0, 6), Augmentation(colour=0.4), drawn(1))
    assert 0 <= found.min() < found.max() <= 1
    assert (found - images).abs().mean(dim=(1, 2, 3)).min() > 0.01
    grey = images[:, :1].expand(-1, 3, -1, -1)
    of_grey, _ = augmented(grey, torch.zeros(0, 6), Augmentation(colour=0.4), drawn(1))
    torch.testing.assert_close(of_grey[:, 0], of_grey[:, 2], rtol=0, atol=1e-6)
    alone, _ = augmented(images[:, :1], torch.zeros(0, 6), Augmentation(colour=0.4), drawn(1))
    torch.testing.assert_close(alone[:, 0], of_grey[:, 0], rtol=0, atol=1e-6)


def test_brightness_contrast_and_saturation_by_hand() -> None:
    image = torch.tensor([0.2, 0.4, 0.6]).reshape(1, 3, 1, 1).expand(1, 3, 1, 2).clone()
    image[..., 1] = 0
    luma = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    torch.testing.assert_close(coloured(image, torch.tensor([[1.5, 1, 1]])), 1.5 * image)
    by_contrast = coloured(image, torch.tensor([[1, 0.5, 1]]))
    torch.testing.assert_close(by_contrast, luma / 2 + 0.5 * (image - luma / 2))
    pale = coloured(image, torch.tensor([[1.0, 1, 0]]))
    torch.testing.assert_close(pale[..., 0], torch.full((1, 3, 1), luma))


def test_a_task_changes_what_is_trained_on_and_nothing_else(samples: Samples) -> None:
    detector = experienced()
    assert isinstance(detector, CenterNet)
    plain, changed = (task_of(detector, samples, augmentation=each) for each in (None, PUBLISHED))
    ((as_they_are, _),) = plain.batches(6, images=6)
    ((untouched, _),) = changed.batches(6, images=6)
    ((also, _),) = changed.batches(6, images=6, generator=drawn(), augmented=False)
    assert torch.equal(untouched, as_they_are)
    assert also.sum() == pytest.approx(as_they_are.sum().item(), rel=1e-5)
    ((one, targets),) = changed.batches(6, images=6, generator=drawn())
    ((again, _),) = changed.batches(6, images=6, generator=drawn())
    ((mirrored, _),) = plain.batches(6, images=6, generator=drawn())
    assert torch.equal(one, again)
    assert not torch.equal(one, mirrored)
    assert targets.heat.shape[0] == 6


@pytest.mark.parametrize("window", [[1.4, 0.6], [0, 1], [1, 20]])
def test_a_window_is_a_range(window: list[float]) -> None:
    with pytest.raises(ValidationError, match=r"expected two numbers of \[0.1, 10\], the smaller first"):
        Augmentation(window=window)
