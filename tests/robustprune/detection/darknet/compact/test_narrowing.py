"""Detectors without idle filters: they answer, are trained and are attacked as the masked ones, of any graph."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from robustprune.attacks import frozen, pgd
from robustprune.detection.darknet import Detector, build, cfg
from robustprune.detection.darknet.compact.narrowing import narrowed
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.data.samples import Samples
from robustprune.detection.task import DetectionTask
from robustprune.structures import masks as masking
from robustprune.structures.narrowing import Narrowed
from robustprune.structures.removal import departing, kept_decisions
from robustprune.studies.detection.training import AdamTraining
from robustprune.task import Batch
from robustprune.training import Objective, train
from tests.robustprune.detection.darknet.random_cfg import cfg_texts
from tests.robustprune.detection.pruned import HEAD, conv, detector_of, masks_by, randomised
from tests.robustprune.training.keeper import Told


class InDoublePrecision(DetectionTask):
    """The same task in float64, without folding."""

    def batches(self, *args: Any, **options: Any) -> Iterator[Batch]:
        for inputs, targets in super().batches(*args, **options):
            yield Batch(inputs.double(), targets)

    def outputs(self, network: nn.Module, inputs: Tensor, weights: Mapping[str, Tensor]) -> list[Tensor]:
        found: list[Tensor] = functional_call(network, dict(weights), (inputs,))
        return found

    @contextmanager
    def held_still(
        self, network: nn.Module, weights: Mapping[str, Tensor]
    ) -> Iterator[Callable[[Tensor], list[Tensor]]]:
        with frozen(network):
            yield lambda images: self.outputs(network, images, weights)


def attacked(detector: Detector, samples: Samples) -> Objective:
    task = InDoublePrecision.of(detector, image_size=samples.image_size, train=samples)
    return Objective(task=task, attack=partial(pgd, epsilon=0.05, step_size=0.02, steps=2), clean_too=True)


def pruned(detector: Detector, ratio: float, seed: int = 0) -> dict[str, Tensor]:
    """Set filters to zero, with what departs with them; return the masks."""
    generator = torch.Generator().manual_seed(seed)
    layers = detector.prunable_layers()
    groups = couplings(detector, layers)
    importance = {name: torch.rand(layer.weight.shape, generator=generator) for name, layer in layers.items()}
    masks = masks_by("structured", importance, ratio, groups)
    held = masks | departing(detector, groups, kept_decisions(groups, masks))
    masking.apply(held, detector)
    return held


def narrow_of(detector: Detector, held: dict[str, Tensor]) -> Narrowed:
    found = narrowed(detector, held)
    assert found is not None
    return found


@settings(deadline=None, max_examples=60)
@given(cfg_texts(), st.sampled_from([0.3, 0.6, 0.9]), st.integers(0, 3))
def test_of_any_graph_the_outputs_are_the_masked_ones(text: str, ratio: float, seed: int) -> None:
    torch.manual_seed(0)
    detector = randomised(build(cfg.parse(text)), seed).double()
    held = pruned(detector, ratio, seed)
    images = torch.rand(2, detector.channels, *detector.image_size, dtype=torch.float64)
    found = narrowed(detector, held)
    if found is None:
        return
    for training in (True, False):
        expected = detector.train(training)(images)
        for output, other in zip(expected, found.network.train(training)(images), strict=True):
            assert torch.allclose(output, other, rtol=1e-9, atol=1e-9)
    # What is in no image any more has left, and everything else is where it was.
    for name, tensor in found.network.state_dict().items():
        if tensor.ndim and not name.endswith(("running_mean", "running_var")):
            wide = detector.state_dict()[name].flatten()[found.places[name].flatten()]
            assert torch.equal(tensor.flatten(), wide), name


@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_twenty_steps_under_attack_take_the_masked_course(samples: Samples, ratio: float) -> None:
    wide = Detector.from_cfg("yolov3-nano", classes=len(samples.split.categories)).double()
    randomised(wide)
    held = pruned(wide, ratio)
    narrow = narrow_of(wide, held)
    assert narrow.masks(held) == {}
    count = len(next(iter(wide.parameters())))
    assert len(next(narrow.network.parameters())) == round((1 - ratio) * count)
    assert isinstance(narrow.network, Detector)
    courses: list[list[float]] = []
    for network, masks in ((wide, held), (narrow.network, {})):
        told = Told()
        train(
            network,
            objective=attacked(network, samples),
            settings=AdamTraining(epochs=10, batch_size=4, learning_rate=0.002, schedule="constant", clip_norm=10.0),
            generator=torch.Generator().manual_seed(0),
            masks=masks,
            progress=told,
        )
        courses.append([said["loss"] for *_, said in told.reports if "loss" in said])
    assert len(courses[0]) >= 20
    assert courses[1] == pytest.approx(courses[0], rel=1e-5)
    back = copy.deepcopy(wide)
    narrow.write_back(back)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    for output, other in zip(wide(images), back(images), strict=True):
        assert torch.allclose(output, other, rtol=1e-4, atol=1e-5)
    for name, mask in held.items():
        tensor = (
            back.get_parameter(name) if name in dict(back.named_parameters()) else back.get_parameter(f"{name}.weight")
        )
        assert not tensor[~mask].any()


def test_what_would_change_the_course_is_left_alone() -> None:
    # A filter of zeros says one half through a logistic activation, and dropout draws a number for each channel.
    logistic = detector_of(conv(8, activation="logistic"), conv(8), HEAD)
    narrow = narrow_of(logistic, pruned(logistic, 0.5))
    assert narrow.network.get_parameter("layers.0.conv.weight").shape[0] == 8
    assert narrow.network.get_parameter("layers.1.conv.weight").shape[0] == 4
    dropping = detector_of(conv(8), "[dropout]\nprobability=.5\n", conv(8), HEAD)
    assert narrowed(dropping, pruned(dropping, 0.5)) is None
