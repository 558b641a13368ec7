import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robustprune.detection.data.letterbox import PADDING, Fit, greyscale, letterbox, paint, place, resize
from robustprune.detection.image_size import ImageSize, sides

SIDES = st.integers(min_value=1, max_value=300)
LARGE_SIDES = st.integers(min_value=1, max_value=100_000)
SIZES = st.sampled_from([32, 64, 96])


@given(
    width=LARGE_SIDES,
    height=LARGE_SIDES,
    size=SIZES,
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=5),
)
def test_boxes_go_to_the_square_and_back(width: int, height: int, size: int, corners: list[tuple[float, ...]]) -> None:
    placement = place(width, height, size)
    boxes = torch.tensor(corners, dtype=torch.float64) * torch.tensor([width, height] * 2)
    moved = placement.to_square(boxes)
    assert moved.min() >= -1e-9
    assert moved.max() <= size + 1e-9
    torch.testing.assert_close(placement.to_image(moved), boxes, rtol=1e-12, atol=1e-9)
    # Sides differ by less than a pixel from the one scale that keeps the aspect.
    scale = size / max(width, height)
    assert abs(placement.scale_x * width - scale * width) < 1
    assert abs(placement.scale_y * height - scale * height) < 1


@given(width=SIDES, height=SIDES, size=SIZES)
def test_the_image_fills_one_side_and_is_centred(width: int, height: int, size: int) -> None:
    square, placement = letterbox(Image.new("RGB", (width, height), (255, 0, 255)), size)
    assert square.shape == (3, size, size)
    assert square.dtype == torch.float32
    covered = square[1] != PADDING
    rows, columns = covered.any(dim=1), covered.any(dim=0)
    assert max(rows.sum(), columns.sum()) == size
    assert covered.sum() == rows.sum() * columns.sum()
    left, top, right, bottom = placement.to_square(torch.tensor([0, 0, width, height]).double()).round().int()
    assert (int(columns.sum()), int(rows.sum())) == (right - left, bottom - top)
    assert int(columns.int().argmax()) == left
    assert int(rows.int().argmax()) == top
    assert abs(left - (size - right)) <= 1
    assert abs(top - (size - bottom)) <= 1


@given(
    width=LARGE_SIDES,
    height=LARGE_SIDES,
    size=st.sampled_from([32, (32, 96), (160, 64)]),
    fit=st.sampled_from(["letterbox", "stretch"]),
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=5),
)
def test_boxes_go_to_any_input_and_back(
    width: int, height: int, size: ImageSize, fit: Fit, corners: list[tuple[float, ...]]
) -> None:
    placement = place(width, height, size, fit)
    boxes = torch.tensor(corners, dtype=torch.float64) * torch.tensor([width, height] * 2)
    moved = placement.to_square(boxes)
    outer_height, outer_width = sides(size)
    assert moved.min() >= -1e-9
    assert moved[:, 0::2].max() <= outer_width + 1e-9
    assert moved[:, 1::2].max() <= outer_height + 1e-9
    torch.testing.assert_close(placement.to_image(moved), boxes, rtol=1e-12, atol=1e-9)


def test_a_stretched_picture_fills_the_input() -> None:
    # Twice as wide and a third as high: in closed form.
    placement = place(100, 90, (30, 200), "stretch")
    assert placement == (100, 90, 2.0, 30 / 90, 0, 0)
    assert placement.to_square(torch.tensor([10.0, 30.0, 50.0, 90.0])).tolist() == [20, 10, 100, 30]
    square = np.zeros((30, 200, 3), dtype=np.float32)
    paint(square, resize(Image.new("RGB", (100, 90), (255, 255, 255)), placement), placement)
    assert square.min() == 1


def test_a_letterboxed_picture_is_centred_in_an_oblong() -> None:
    # As high as it may be: 40 of 90 pixels, so 2.25 for one, and 90 of 300 pixels wide.
    placement = place(40, 40, (90, 300))
    assert placement == (40, 40, 2.25, 2.25, 105, 0)
    assert placement.to_square(torch.tensor([0.0, 0.0, 40.0, 40.0])).tolist() == [105, 0, 195, 90]


def test_an_image_of_the_right_size_is_not_changed() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    square, placement = letterbox(Image.fromarray(pixels), 64)
    assert torch.equal(square, torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
    assert placement == (64, 64, 1.0, 1.0, 0, 0)


def test_shrinking_is_bilinear_without_antialiasing() -> None:
    # At a quarter of the size, a pixel's centre lies between the middle 2 x 2 of its 4 x 4 pixels.
    pixels = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    square, _ = letterbox(Image.fromarray(pixels), 4)
    expected = (pixels / 255).reshape(4, 4, 4, 4, 3)[:, 1:3, :, 1:3].mean(axis=(1, 3)).transpose(2, 0, 1)
    # Both directions round to 8 bits per colour.
    np.testing.assert_allclose(square, expected, atol=1.001 / 255)
    assert abs(square.numpy() - expected).mean() < 0.5 / 255


def test_boxes_and_pixels_move_together() -> None:
    pixels = np.zeros((90, 160, 3), dtype=np.uint8)
    pixels[20:60, 40:120] = 255
    square, placement = letterbox(Image.fromarray(pixels), 320)
    left, top, right, bottom = placement.to_square(torch.tensor([40.0, 20.0, 120.0, 60.0])).int().tolist()
    assert (square[:, top + 1 : bottom - 1, left + 1 : right - 1] == 1).all()
    square[:, top - 1 : bottom + 1, left - 1 : right + 1] = 0
    assert square[:, placement.top : 320 - placement.top].max() == 0


def test_boxes_are_cut_at_the_image() -> None:
    _, placement = letterbox(Image.new("RGB", (100, 50)), 100)
    boxes = torch.tensor([[-10.0, 0.0, 110.0, 100.0], [10.0, 30.0, 20.0, 40.0]])
    assert placement.to_image(boxes).tolist() == [[0, 0, 100, 50], [10, 5, 20, 15]]


def test_greyscale_is_luma_on_every_channel() -> None:
    primaries = torch.eye(3).reshape(3, 3, 1, 1).expand(3, 3, 2, 5)
    grey = greyscale(primaries)
    assert grey.shape == primaries.shape
    for image, luma in zip(grey, (0.299, 0.587, 0.114), strict=True):
        torch.testing.assert_close(image, torch.full((3, 2, 5), luma))


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5)])
def test_greyscale_of_greyscale_is_the_same_to_the_last_bit(shape: tuple[int, ...]) -> None:
    grey = greyscale(torch.rand(shape, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(greyscale(grey), grey)
    assert torch.equal(grey[..., 0, :, :], grey[..., 2, :, :])
