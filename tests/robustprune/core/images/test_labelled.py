"""A drawn picture: boxes where they belong, in the colours of their classes, on a small JPEG."""

import io

import numpy as np
import pytest
from PIL import Image

from robustprune.core.images.labelled import SIDE, draw, thumbnail

GREY = (128, 128, 128)
NO_BOXES, NO_CLASSES = np.zeros((0, 4)), np.zeros(0, np.int64)


def pixels(encoded: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(encoded))
    assert image.format == "JPEG"
    return np.asarray(image, dtype=int)


def changed(encoded: bytes) -> np.ndarray:
    """Say of each pixel whether something was drawn there; JPEG rings a little around what is."""
    difference: np.ndarray = np.abs(pixels(encoded) - GREY[0])
    return np.asarray(difference.max(axis=-1) > 40)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (200, 150)), ((480, 640), (150, 200)), ((64, 64), (200, 200)), ((2000, 1), (200, 1))],
)
def test_the_longer_side_is_always_the_same(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert SIDE == 200
    assert thumbnail(Image.new("RGB", size)).size == expected


def test_a_box_is_drawn_at_its_edges_and_nowhere_else() -> None:
    picture = Image.new("RGB", (200, 100), GREY)
    # No label: its place is none of the box.
    drawn = changed(draw(picture, np.array([[0.25, 0.4, 0.75, 0.8]]), np.array([0]), [""]))
    rows, columns = np.nonzero(drawn[42:])
    assert (columns.min(), columns.max()) == (50, 149)
    assert rows.max() + 42 == 79
    assert drawn[60, 50:52].all()
    assert drawn[60, 148:150].all()
    assert not drawn[46:74, 56:144].any()
    assert not changed(draw(picture, NO_BOXES, NO_CLASSES, [])).any(), "the picture itself was drawn on"


def test_boxes_at_the_edges_of_the_picture_are_seen_whole() -> None:
    drawn = changed(draw(Image.new("RGB", (200, 100), GREY), np.array([[0, 0, 1, 1]]), np.array([0]), [""]))
    assert drawn[[0, -1]].mean() > 0.9
    assert drawn[:, [0, -1]].mean() > 0.9


def test_classes_differ_in_colour_and_a_class_has_one() -> None:
    box, picture = np.array([[0.1, 0.4, 0.9, 0.9]]), Image.new("RGB", (200, 200), GREY)
    colours = [pixels(draw(picture, box, np.array([class_]), [""]))[100, 20:22].mean(axis=0) for class_ in (0, 0, 1)]
    assert np.abs(colours[0] - colours[1]).max() == 0
    assert np.abs(colours[0] - colours[2]).max() > 50


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.1, 0.1), (0.9, 0.9, 1.0, 1.0), (0.4, 0.4, 0.6, 0.6), (0, 0, 1, 1)])
def test_a_label_is_written_inside_the_picture(box: tuple[float, ...]) -> None:
    picture, boxes, classes = Image.new("RGB", (200, 200), GREY), np.array([box]), np.array([0])
    plain, labelled = (changed(draw(picture, boxes, classes, [text])) for text in ("", "motorcycle 0.97"))
    # A ground of the height of its letters, long enough for all of them.
    assert (labelled & ~plain).sum() > 60 * 10


def test_a_tiny_box_has_no_label_over_it() -> None:
    picture, classes = Image.new("RGB", (200, 60), GREY), np.array([0])
    for side, is_labelled in ((8, False), (20, True)):
        boxes = np.array([[0.5, 0.5, 0.5 + side / 200, 0.5 + side / 60]])
        columns = np.flatnonzero(changed(draw(picture, boxes, classes, ["Car 0.97"])).any(axis=0))
        # JPEG rings a pixel far.
        assert abs(columns[0] - 100) <= 1
        assert (columns[-1] > 100 + side + 1) == is_labelled, "the letters are wider than either box"


def test_labels_of_neighbours_do_not_hide_each_other() -> None:
    picture, classes = Image.new("RGB", (200, 200), GREY), np.array([0, 1])
    boxes = np.array([[0.2, 0.4, 0.8, 0.8], [0.21, 0.41, 0.81, 0.81]])
    one, both = (
        changed(draw(picture, boxes[:count], classes[:count], ["zebra 0.97"] * count))[20:180].sum() for count in (1, 2)
    )
    assert both > 1.5 * one
