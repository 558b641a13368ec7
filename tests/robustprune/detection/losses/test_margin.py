"""The margin attack's loss: by hand on one cell, image by image, and against the training loss as an attack."""

import pytest
import torch
from torch import Tensor

from robustprune.attacks import PgdSettings
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.darknet import Detector, Head
from robustprune.detection.data.samples import Samples
from robustprune.detection.losses.margin import OVERLAP_WEIGHT, margin
from robustprune.detection.measure.evaluation import Evaluation, MarginSettings, Measured
from tests.robustprune.detection.tasks import task_of

SIDE = 32


class Cells(AnchorDetector):
    """A detector with one anchor in each of its 2 × 2 cells of 16 pixels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.of = classes

    @property
    def heads(self) -> tuple[Head, ...]:
        return (Head(torch.tensor([[16.0, 16.0]]), 16, classes=self.of, scale_x_y=1.0, ignore_thresh=0.7),)


def margin_of(output: Tensor, objects: Tensor, *, classes: int = 3) -> Tensor:
    """Return the margin loss of a detector's outputs."""
    return margin(Cells(classes).candidates([output], SIDE), objects, SIDE)


def raw(classes: Tensor, objectness: float) -> Tensor:
    """Return outputs of one image: each cell says a box that fills it, of these logits, (1, 1, 2, 2, 5 + classes)."""
    cell = torch.cat([torch.zeros(4), torch.tensor([objectness]), classes])
    return cell.expand(1, 1, 2, 2, -1).clone()


UPPER_LEFT = torch.tensor([[0.0, 1.0, 0.25, 0.25, 0.5, 0.5]])
"""One object of class 1 that fills the cell."""


def test_one_object_by_hand() -> None:
    output = raw(torch.tensor([1.0, 4.0, 2.5]), objectness=0.7)
    sure = torch.tensor(0.7).sigmoid().item()
    counted, false_alarms = sure * (2.5 - 4.0 - OVERLAP_WEIGHT), 3 * sure
    assert margin_of(output, UPPER_LEFT).item() == pytest.approx(counted + false_alarms, rel=1e-5)


def test_one_class_has_no_rival_but_its_absence() -> None:
    output = raw(torch.tensor([4.0]), objectness=0.7)
    sure = torch.tensor(0.7).sigmoid().item()
    found = margin_of(output, UPPER_LEFT * torch.tensor([1, 0, 1, 1, 1, 1]), classes=1)
    assert found.item() == pytest.approx(sure * (-4.0 - OVERLAP_WEIGHT) + 3 * sure, rel=1e-5)


def test_it_rises_as_class_overlap_and_silence_elsewhere_are_lost() -> None:
    output = raw(torch.tensor([1.0, 4.0, 2.5]), objectness=0.7).requires_grad_()
    (gradient,) = torch.autograd.grad(margin_of(output, UPPER_LEFT).sum(), output)
    own, others = gradient[0, 0, 0, 0], gradient[0, 0].flatten(0, 1)[1:]
    assert own[4] < 0 < others[:, 4].min()
    assert own[5] == 0
    assert own[6] < 0 < own[7]
    assert not others[:, 5:].any()
    wider = output.detach().clone()
    wider[0, 0, 0, 0, 2] = 0.4
    assert margin_of(wider, UPPER_LEFT) > margin_of(output, UPPER_LEFT)


def test_where_the_class_is_lost_objectness_rises() -> None:
    output = raw(torch.tensor([20.0, 4.0, 2.5]), objectness=0.7).requires_grad_()
    (gradient,) = torch.autograd.grad(margin_of(output, UPPER_LEFT).sum(), output)
    assert gradient[0, 0, 0, 0, 4] > 0


def test_without_objects_every_box_is_a_false_alarm() -> None:
    output = raw(torch.zeros(3), objectness=0.7)
    found = margin_of(output, torch.zeros(0, 6))
    assert found.item() == pytest.approx(4 * torch.tensor(0.7).sigmoid().item(), rel=1e-5)


def test_an_image_has_the_same_loss_in_any_batch(trained: Detector, samples: Samples) -> None:
    batch = samples.batch(range(4))
    with torch.no_grad():
        outputs = trained(batch.images)
    together = margin(trained.candidates(outputs, 64), batch.targets, 64)
    for index, loss in enumerate(together):
        targets = batch.targets[batch.targets[:, 0] == index] * torch.tensor([0, 1, 1, 1, 1, 1])
        one = [output[index : index + 1] for output in outputs]
        alone = margin(trained.candidates(one, 64), targets, 64)
        torch.testing.assert_close(alone[0], loss)


def test_it_finds_more_with_more_steps_than_the_loss_of_training(trained: Detector, samples: Samples) -> None:
    def measured(steps: int) -> Measured:
        evaluation = Evaluation(margin=MarginSettings(steps=steps))
        attack = PgdSettings(epsilon=0.02, step_size=0.008)
        return task_of(trained, val=samples, attack_settings=attack, evaluation=evaluation).detections(trained, seed=0)

    equal, longer = measured(5), measured(20)
    assert equal.attacked is not None
    assert equal.margin is not None
    assert longer.margin is not None
    # At equal steps it is the stronger one of most detectors, not of each that a processor's rounding leads to.
    assert longer.margin.ap50 < min(equal.margin.ap50, equal.attacked.ap50)
