"""Which anchors answer for which objects, on a grid small enough to do by hand."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustprune.detection.darknet import Head
from robustprune.detection.losses.assignment import assign

IMAGE_SIZE = 64


def head(anchors: list[list[float]], stride: int = 16) -> Head:
    return Head(torch.tensor(anchors), stride, classes=3, scale_x_y=1.0, ignore_thresh=0.7)


def target(*, image: int = 0, class_: int = 0, box: list[float]) -> Tensor:
    """Return one object, its box in pixels."""
    return torch.tensor([[image, class_, *(side / IMAGE_SIZE for side in box)]])


def test_an_object_goes_to_the_cell_of_its_centre_and_keeps_its_box() -> None:
    targets = target(image=5, class_=2, box=[25.5, 43.25, 20, 12])
    (found,) = assign(targets, [head([[16, 16]])], IMAGE_SIZE)
    assert [index.tolist() for index in found[:5]] == [[5], [0], [2], [1], [2]]
    assert found.boxes.tolist() == [[25.5 / 16, 43.25 / 16, 20 / 16, 12 / 16]]


def test_anchors_answer_below_four_times_the_side() -> None:
    anchors: list[list[float]] = [[16, 16], [63, 16], [64, 16], [16, 4], [16, 4.25], [4.25, 63]]
    (found,) = assign(target(box=[32, 32, 16, 16]), [head(anchors)], IMAGE_SIZE)
    assert found.anchor.tolist() == [0, 1, 4, 5]


def test_every_head_answers_by_itself() -> None:
    targets = target(box=[40, 24, 16, 16])
    coarse, fine, unfit = assign(targets, [head([[16, 16]]), head([[16, 16]], stride=8), head([[1, 1]])], IMAGE_SIZE)
    assert (coarse.column.tolist(), coarse.row.tolist()) == ([2], [1])
    assert (fine.column.tolist(), fine.row.tolist()) == ([5], [3])
    assert torch.equal(fine.boxes, 2 * coarse.boxes)
    assert unfit.image.shape == (0,)
    assert unfit.boxes.shape == (0, 4)


def test_no_objects_no_positives() -> None:
    (found,) = assign(torch.zeros(0, 6), [head([[16, 16]])], IMAGE_SIZE)
    assert all(len(column) == 0 for column in found)


@given(centre=st.tuples(st.floats(0, IMAGE_SIZE), st.floats(0, IMAGE_SIZE)))
def test_a_centre_lies_in_its_cell_or_on_the_far_edge(centre: tuple[float, float]) -> None:
    (found,) = assign(target(box=[*centre, 16, 16]), [head([[16, 16]])], IMAGE_SIZE)
    cell = torch.stack([found.column, found.row], dim=1)
    within = found.boxes[:, :2] - cell
    assert (cell >= 0).all()
    assert (cell <= 3).all()
    assert ((within >= 0) & ((within < 1) | (found.boxes[:, :2] == 4))).all()


def test_rows_and_columns_of_an_oblong_have_their_own_units() -> None:
    # 64 pixels high and 160 wide, a box of 20 x 12 pixels at (105.5, 43.25).
    targets = torch.tensor([[0.0, 1, 105.5 / 160, 43.25 / 64, 20 / 160, 12 / 64]])
    (found,) = assign(targets, [head([[16, 16]])], (64, 160))
    assert (found.column.tolist(), found.row.tolist()) == ([6], [2])
    torch.testing.assert_close(found.boxes, torch.tensor([[105.5, 43.25, 20, 12]]) / 16)
