"""A CenterNet is attacked, scored, explained and measured as any detector is, through the task alone."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch

from robustprune.attacks import PgdSettings, pgd
from robustprune.core.errors import InputError
from robustprune.detection import networks
from robustprune.detection.centernet.network import CenterNet
from robustprune.detection.data.samples import Samples
from robustprune.detection.measure.evaluation import Evaluation, MarginSettings
from robustprune.detection.task import DetectionTask
from robustprune.methods import INITIALIZERS, NoSettings, Problem
from robustprune.methods.deeplift import contributions
from robustprune.structures import draw_masks
from robustprune.structures.removal import kept_decisions
from robustprune.studies.detection.training import AdamTraining
from robustprune.training import train
from tests.robustprune.detection.centernet.networks import CLASSES, experienced, state
from tests.robustprune.detection.tasks import clean, task_of, under

robust = partial(under, partial(pgd, epsilon=0.05, step_size=0.05, steps=1))


def test_a_batch_has_the_targets_of_its_images(samples: Samples) -> None:
    detector = experienced()
    ((images, targets),) = task_of(detector, samples).batches(6)
    boxes = samples.batch(range(6)).targets
    assert targets.heat.shape == (len(images), CLASSES, 16, 16)
    assert targets.image.tolist() == boxes[:, 0].long().tolist()
    assert targets.classes.tolist() == boxes[:, 1].long().tolist()


def test_losses_of_images_are_those_of_each_alone(samples: Samples) -> None:
    detector = experienced()
    task = task_of(detector, samples)
    ((images, targets),) = task.batches(4, images=4)
    with torch.no_grad():
        together = task.losses(detector(images), targets)
        for index, (image, own) in enumerate(task.batches(1, images=4)):
            torch.testing.assert_close(task.loss(detector(image), own), together[index])
        assert task.attack_loss(detector(images), targets).item() == pytest.approx(together.sum().item())


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_initializer_scores_it(samples: Samples, name: str, structure: str) -> None:
    detector, entry = experienced(), INITIALIZERS[name]
    if entry.structures not in ("any", "coupled" if structure == "structured" else "uncoupled"):
        pytest.skip("it does not fit the structure")
    objective = robust(detector, samples)
    options: dict[str, Any] = {"images": 2, "batch_size": 2} if entry.settings is not NoSettings else {}
    options = {key: value for key, value in options.items() if key in entry.settings.model_fields}
    problem = Problem(
        task=objective.task,
        objective=objective,
        generator=torch.Generator().manual_seed(0),
        structure=structure if entry.per_structure else None,
        ratio=0.5 if entry.per_ratio else None,
        comparable=entry.comparable,
    )
    before = state(detector)
    scores = entry.outcome(detector, problem, entry.settings.model_validate(options)).scores
    assert {*scores} == {*detector.prunable_layers()}
    assert state(detector) == before
    groups = objective.task.coupled_groups(copy.deepcopy(detector))
    masks = draw_masks(structure, scores, 0.5, groups=groups, scope="layer", comparable=entry.comparable)
    if structure == "structured":
        kept = kept_decisions(groups, masks)
        assert [int(stays.sum()) for stays in kept] == [group.decisions // 2 for group in groups]


@pytest.mark.parametrize("name", ["centernet-small", "centernet-resnet18", "centernet-dla34"])
def test_contributions_are_complete_to_the_logits_at_centres(samples: Samples, name: str) -> None:
    if name == "centernet-dla34":
        pytest.importorskip("timm")
    detector = experienced(name)
    task, first = task_of(detector, samples), next(iter(detector.prunable_layers()))
    ((images, targets),) = task.batches(2, images=2)
    found = contributions(task, detector, images, targets, reference=torch.zeros(()), layers=[first, "heat.2"])
    with torch.no_grad():
        exact = copy.deepcopy(detector).double()
        answer, without = (
            detector.answers(exact(each.double()), targets) for each in (images, torch.zeros_like(images))
        )
        logits = exact(images.double())[0]
    of_centres = logits[targets.heat == 1]  # no two objects of a class share a cell here
    assert of_centres.sum().item() == pytest.approx(answer.sum().item())
    expected = (answer - without).sum().item()
    assert abs(expected) > 1e-2
    for layer in (first, "heat.2"):
        assert found[layer].sum().item() == pytest.approx(expected, rel=1e-4)


def test_it_is_measured_clean_and_under_both_attacks(samples: Samples) -> None:
    detector = experienced()
    found = task_of(detector, val=samples, attack_settings=PgdSettings(steps=1)).measure(detector, seed=0)
    assert all(found[name] is not None for name in ("map_clean", "map_adv", "map_adv_margin"))


def test_it_is_trained_with_the_losses_of_its_family_alone() -> None:
    detector = networks.build("centernet-small", classes=2, image_size=64, loss="focal-exact-radius")
    assert detector.loss_name == "focal-exact-radius"
    with pytest.raises(InputError) as refused:
        networks.build("centernet-small", classes=2, image_size=64, loss="ciou")
    assert str(refused.value) == (
        "detector.loss: found 'ciou', which is for detectors with anchors, expected focal or focal-exact-radius"
    )
    with pytest.raises(InputError, match="found 'focal', which is for detectors with points, expected ciou"):
        networks.build("yolov3-nano", classes=2, image_size=64, loss="focal")


def test_images_may_be_oblong_and_have_a_size_by_default() -> None:
    detector = networks.build("centernet-small", classes=2, image_size=(64, 96))
    assert [tuple(output.shape) for output in detector(torch.zeros(1, 3, 64, 96))] == [
        (1, 2, 16, 24),
        (1, 2, 16, 24),
        (1, 2, 16, 24),
    ]
    assert networks.input_of("centernet-small", classes=2, image_size=None, fit=None).size == 64
    assert networks.input_of("centernet-resnet18", classes=2, image_size=(384, 1280), fit=None).size == (384, 1280)


def test_a_mistyped_name_is_told() -> None:
    with pytest.raises(InputError, match="'centernet-smal' is no readable .cfg file and no network; the nearest"):
        networks.network_identity("centernet-smal")


@pytest.mark.slow
def test_it_learns_shapes_and_loses_them_under_attack(samples: Samples) -> None:
    detector = networks.build("centernet-small", classes=CLASSES, image_size=64)
    assert isinstance(detector, CenterNet)
    torch.manual_seed(0)
    train(
        detector,
        objective=clean(detector, samples),
        settings=AdamTraining(epochs=60, learning_rate=0.004, flip=False),
        generator=torch.Generator().manual_seed(0),
    )
    attack, evaluation = PgdSettings(epsilon=0.02, step_size=0.008), Evaluation(margin=MarginSettings(steps=5))
    task: DetectionTask = task_of(detector, val=samples, attack_settings=attack, evaluation=evaluation)
    found = task.detections(detector, seed=0)
    assert found.attacked is not None
    assert found.margin is not None
    assert found.clean.ap50 > 0.5
    assert found.attacked.ap < 0.5 * found.clean.ap
    assert found.margin.ap < 0.5 * found.clean.ap
