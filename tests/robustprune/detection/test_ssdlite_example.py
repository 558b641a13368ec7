"""A detector of a family that nobody here knows enters by its `targets`, `loss` and `decode` alone: the example's."""

from __future__ import annotations

import copy
import importlib.util
from functools import partial
from pathlib import Path

import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from robustprune.attacks import PgdSettings, pgd
from robustprune.core.errors import InputError
from robustprune.detection import networks
from robustprune.detection.data.samples import Samples
from robustprune.detection.detector import Detector
from robustprune.detection.measure.pruned import smaller
from robustprune.detection.networks import NETWORKS, network_identity, own_loss
from robustprune.inference.cost import size
from robustprune.methods import INITIALIZERS, Problem
from robustprune.methods.first_order.taylor import TaylorSettings
from robustprune.structures import draw_masks
from robustprune.structures import masks as masking
from robustprune.studies.detection.settings import DetectorSettings
from robustprune.studies.detection.training import AdamTraining
from robustprune.training import train
from tests.robustprune.detection.centernet.networks import filters_masked
from tests.robustprune.detection.tasks import clean, task_of, under
from tests.support import batch_norms

FILE = Path(__file__).parents[3] / "examples/plugin/robust_pruning_example/ssdlite.py"
robust = partial(under, partial(pgd, epsilon=0.05, step_size=0.05, steps=1))


@pytest.fixture(scope="module", autouse=True)
def _installed() -> object:
    """Know the example's network by its name, as if its package were installed."""
    specification = importlib.util.spec_from_file_location("ssdlite_example", FILE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS._entries, "ssdlite", module.SSDLITE)
        patch.setitem(NETWORKS._origins, "ssdlite", "robust-pruning-example==1.0.0")
        yield


@pytest.fixture(scope="module")
def untrained() -> Detector:
    torch.manual_seed(0)
    return networks.build("ssdlite", classes=6, image_size=64).eval()


@pytest.fixture
def ssdlite(untrained: Detector) -> Detector:
    return copy.deepcopy(untrained)


def test_its_default_boxes_and_its_loss_are_torchvisions(ssdlite: Detector, samples: Samples) -> None:
    batch = samples.batch(range(3))
    height, width = batch.images.shape[-2:]
    targets = ssdlite.targets(batch.targets, 64, images=3)
    model = ssdlite.get_submodule("ssd")
    maps = list(model.backbone(batch.images * 2 - 1).values())  # type: ignore[operator]
    expected = model.anchor_generator(ImageList(batch.images, [(height, width)] * 3), maps)  # type: ignore[operator]
    assert torch.equal(targets.defaults, expected[0])
    outputs = ssdlite(batch.images)
    alone = [
        ssdlite.loss([output[index : index + 1] for output in outputs], ssdlite.targets(own, 64, images=1))
        for index in range(3)
        for own in [batch.targets[batch.targets[:, 0] == index] * torch.tensor([0, 1, 1, 1, 1, 1])]
    ]
    torch.testing.assert_close(ssdlite.loss(outputs, targets, per_image=True), torch.stack(alone))


def test_it_has_a_loss_of_its_own_and_no_other() -> None:
    assert own_loss("ssdlite") is None
    assert DetectorSettings(config="ssdlite", image_size=64).loss is None
    assert network_identity("ssdlite")["network"] == "ssdlite"
    with pytest.raises(
        InputError, match="found 'ciou', which is for detectors with anchors, expected null: a SsdLite has"
    ):
        networks.build("ssdlite", classes=6, image_size=64, loss="ciou")


def test_it_is_attacked_by_pgd_and_by_margins_and_measured(ssdlite: Detector, samples: Samples) -> None:
    task = task_of(ssdlite, val=samples, attack_settings=PgdSettings(steps=1))
    found = task.measure(ssdlite, seed=0)
    assert all(found[name] is not None for name in ("map_clean", "map_adv", "map_adv_margin"))


def test_it_is_scored_pruned_and_trained(ssdlite: Detector, samples: Samples) -> None:
    objective = robust(ssdlite, samples)
    problem = Problem(task=objective.task, objective=objective, generator=torch.Generator().manual_seed(0))
    scores = INITIALIZERS["taylor"].outcome(ssdlite, problem, TaylorSettings(images=2, batch_size=2)).scores
    spared = ssdlite.prunable_layers(heads=True).keys() - scores.keys()
    assert spared == ssdlite.head_layers
    masks = draw_masks("unstructured", scores, 0.5, groups=[], scope="layer", comparable=False)
    masking.apply(masks, ssdlite)
    ((images, targets),) = objective.task.batches(6)
    before = ssdlite.train().loss(ssdlite(images), targets).item()
    train(
        ssdlite,
        objective=clean(ssdlite, samples),
        settings=AdamTraining(epochs=8, learning_rate=0.01),
        generator=torch.Generator().manual_seed(0),
        masks=masks,
    )
    assert ssdlite.train().loss(ssdlite(images), targets).item() < 0.7 * before
    for name, mask in masks.items():
        assert not ssdlite.get_parameter(f"{name}.weight")[~mask].any()


def test_deeplift_says_that_it_cannot_explain_it(ssdlite: Detector, samples: Samples) -> None:
    task = task_of(ssdlite, samples)
    with pytest.raises(InputError, match="deeplift cannot explain the activation Hardswish of"):
        task.explained(ssdlite)


def test_its_masked_filters_leave_for_real(ssdlite: Detector) -> None:
    batch_norms.draw(ssdlite)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    filters_masked(ssdlite, 0.5)
    left = smaller(ssdlite, image)
    assert size(left, image).params < 0.35 * size(ssdlite, image).params
    with torch.no_grad():
        for found, expected in zip(left(image), ssdlite(image), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
