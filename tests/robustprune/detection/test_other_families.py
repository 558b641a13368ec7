"""A detector that is not Darknet's is trained, attacked, scored, pruned and measured as those are."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import PgdSettings, pgd
from robustprune.core.arrays import to_arrays
from robustprune.core.timing import TimingSettings
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.anchors.heads import Head
from robustprune.detection.data.samples import Samples
from robustprune.detection.measure.kitti_ap import LEVEL_COLUMNS
from robustprune.detection.measure.pruned import measure_pruned
from robustprune.detection.task import DetectionTask
from robustprune.methods import INITIALIZERS, Problem
from robustprune.methods.deeplift import contributions
from robustprune.methods.hydra import HydraSettings
from robustprune.structures import Masks, draw_masks
from robustprune.structures import masks as masking
from robustprune.structures.removal import kept_decisions
from robustprune.studies.detection.training import AdamTraining
from robustprune.training import Objective, train
from robustprune.training.batch_norm import average_statistics
from tests.robustprune.detection.tasks import batch_of, task_of, under
from tests.robustprune.methods.fitting import FITTING

CLASSES = 6


def convolution(in_channels: int, channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(0.1),
    )


class Toy(AnchorDetector):
    """One head behind a residual sum."""

    stride, image_size = 16, (64, 64)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 6, stride=4), convolution(6, 8, stride=4))
        self.block = convolution(8, 8)
        self.head = nn.Conv2d(8, 2 * (5 + CLASSES), 1)
        self.register_buffer("anchors", torch.tensor([[12.0, 12], [30, 30]]))

    @property
    def heads(self) -> tuple[Head, ...]:
        return (Head(self.get_buffer("anchors"), 16, CLASSES, 1.0, 0.7),)

    @property
    def head_layers(self) -> frozenset[str]:
        return frozenset({"head"})

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        x = self.head(x + self.block(x))
        return [x.unflatten(1, (2, 5 + CLASSES)).movedim(2, -1)]


STEM, MIDDLE, BLOCK = LAYERS = ("stem.0.0", "stem.1.0", "block.0")
robust = partial(under, partial(pgd, epsilon=0.05, step_size=0.05, steps=1))


@pytest.fixture
def toy() -> Toy:
    """Return a detector whose batch norms all do something."""
    torch.manual_seed(0)
    detector = Toy().to(memory_format=torch.channels_last)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.get_buffer("running_mean"), std=0.1)
    return detector.eval()


def state(detector: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in detector.state_dict().items()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    assert list(first) == list(second)
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def drawn(detector: Toy, structure: str, ratio: float = 0.5) -> Masks:
    task = task_of(detector)
    importance = {name: layer.weight.detach().abs() for name, layer in task.prunable_layers(detector).items()}
    groups = task.coupled_groups(copy.deepcopy(detector))
    return draw_masks(structure, importance, ratio, groups=groups, scope="layer", comparable=False)


def test_its_heads_are_spared_and_its_residual_sum_is_coupled(toy: Toy) -> None:
    task = task_of(toy)
    assert tuple(task.prunable_layers(toy)) == LAYERS
    assert tuple(task_of(toy, prune_heads=True).prunable_layers(toy)) == (*LAYERS, "head")
    found = {tuple(group.filters): group.decisions for group in task.coupled_groups(copy.deepcopy(toy))}
    assert found == {(STEM,): 6, (MIDDLE, BLOCK): 8}


@pytest.mark.parametrize("training", [True, False])
def test_an_attack_leaves_no_trace_and_sees_the_batchs_statistics_in_training_alone(
    toy: Toy, samples: Samples, training: bool
) -> None:
    images, targets = batch_of(toy, samples, range(4))
    seen = copy.deepcopy(toy).eval()
    if training:
        average_statistics(seen, task_of(seen), [images])
    expected = robust(toy).attacked(seen, images, targets)
    before = state(toy)
    toy.train(training)
    torch.testing.assert_close(robust(toy).attacked(toy, images, targets), expected, rtol=0, atol=0)
    assert not torch.equal(expected, images)
    assert same(toy.state_dict(), before)
    assert all(module.training is training for module in toy.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in toy.parameters())


def test_given_weights_stand_in_for_its_own(toy: Toy, samples: Samples) -> None:
    batch = batch_of(toy, samples, range(4))
    found = robust(toy)(toy, *batch, {f"{BLOCK}.weight": 0.5 * toy.get_parameter(f"{BLOCK}.weight").detach()})
    with torch.no_grad():
        toy.get_parameter(f"{BLOCK}.weight").mul_(0.5)
    assert torch.equal(found, robust(toy)(toy, *batch))


def test_its_contributions_are_complete(toy: Toy, samples: Samples) -> None:
    images, targets = batch_of(toy, samples, range(4))
    reference = torch.zeros(())
    task = task_of(toy)
    exact = copy.deepcopy(toy).double()
    found = contributions(task, exact, images.double(), targets, reference=reference.double(), layers=[STEM, "head"])
    explained = task.explained(exact)
    with torch.no_grad():
        answers = [
            explained.answer(explained.network(each), targets) for each in (images.double(), 0 * images.double())
        ]
    expected = (answers[0] - answers[1]).sum().item()
    assert abs(expected) > 0.1
    assert all(found[name].sum().item() == pytest.approx(expected) for name in (STEM, "head"))


@pytest.mark.parametrize(("name", "structure"), [pair for pair in FITTING if pair[1] != "channels"])
def test_every_initializer_scores_it(toy: Toy, samples: Samples, name: str, structure: str) -> None:
    entry, objective = INITIALIZERS[name], robust(toy, samples)
    brief = {"images": 3, "batch_size": 3, "epochs": 3, "condition_images": 3}
    options: dict[str, Any] = {option: brief[option] for option in brief if option in entry.settings.model_fields}
    problem = Problem(
        task=objective.task,
        objective=objective,
        generator=torch.Generator().manual_seed(0),
        structure=structure if entry.per_structure else None,
        ratio=0.5 if entry.per_ratio else None,
        comparable=entry.comparable,
    )
    before = state(toy)
    scores = entry.outcome(toy, problem, entry.settings.model_validate(options)).scores
    assert tuple(scores) == LAYERS
    assert all(scores[layer].shape == toy.get_parameter(f"{layer}.weight").shape for layer in LAYERS)
    assert same(toy.state_dict(), before)
    groups = objective.task.coupled_groups(copy.deepcopy(toy))
    masks = draw_masks(structure, scores, 0.5, groups=groups, scope="layer", comparable=entry.comparable)
    if structure == "structured":
        kept = kept_decisions(groups, masks)
        assert [int(stays.sum()) for stays in kept] == [group.decisions // 2 for group in groups]


def test_hydra_masks_what_goes_together_together(toy: Toy, samples: Samples) -> None:
    objective = robust(toy, samples)
    groups = objective.task.coupled_groups(copy.deepcopy(toy))
    (readers,) = [group.readers for group in groups if {MIDDLE, BLOCK} <= group.filters.keys()]

    def watched(network: nn.Module, inputs: Tensor, targets: object, weights: Mapping[str, Tensor]) -> Tensor:
        # Whatever reads the channels that go together reads the same two of them.
        kept = [weights[f"{name}.weight"].transpose(0, 1).flatten(1).any(dim=1) for name in readers]
        assert all(torch.equal(kept[0], other) for other in kept)
        assert int(kept[0].sum()) == 2
        return objective(network, inputs, targets, weights)

    asked: Any = watched
    problem = Problem(
        task=objective.task, objective=asked, generator=torch.Generator(), structure="structured", ratio=0.75
    )
    INITIALIZERS["hydra"].score(toy, problem, HydraSettings(batch_size=3))


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_pruned_weights_stay_zero_while_it_trains(toy: Toy, samples: Samples, structure: str) -> None:
    masks = drawn(toy, structure)
    masking.apply(masks, toy)
    before = copy.deepcopy(toy)
    train(
        toy,
        objective=robust(toy, samples),
        settings=AdamTraining(epochs=1, batch_size=3, learning_rate=0.01),
        generator=torch.Generator().manual_seed(0),
        masks=masks,
    )
    for name, mask in masks.items():
        weight = toy.get_parameter(f"{name}.weight")
        assert not weight[~mask].any()
        assert (weight != before.get_parameter(f"{name}.weight"))[mask].float().mean() > 0.9


def test_it_is_measured_clean_and_under_attack_and_timed_as_it_is(toy: Toy, samples: Samples) -> None:
    task = task_of(toy, val=samples, attack_settings=PgdSettings(steps=1))
    found = task.measure(toy, seed=0)
    attacked = {f"{name}_adv{end}" for name in ("map", "map50") for end in ("", "_low", "_high", "_margin")}
    assert found.keys() == {"map_clean", "map50_clean", *LEVEL_COLUMNS} | attacked
    masks = drawn(toy, "structured")
    pruned = copy.deepcopy(toy)
    masking.apply(masks, pruned)
    row = measure_pruned(
        pruned, masks, dense=toy, image_size=64, timing=TimingSettings(timing_repeats=1, timing_warm_up=0)
    )
    assert row["engine"] in ("dense", "sparse")  # no channel can leave it
    assert row["params_compact"] == row["params_total"]
    assert row["macs"] < row["macs_dense"] == row["macs_compact"]
    assert row["filters_pruned"] == 0.5


def test_a_restored_detector_is_the_one_that_was_kept() -> None:
    task = DetectionTask(build=Toy, image_size=64)
    fresh = task.fresh(seed=3)
    assert same(fresh.state_dict(), task.fresh(seed=3).state_dict())
    assert not torch.equal(fresh.get_parameter("head.weight"), task.fresh(seed=4).get_parameter("head.weight"))
    restored = task.restored(to_arrays(fresh.state_dict()))
    assert same(restored.state_dict(), fresh.state_dict())
    assert not any(module.training for module in restored.modules())


def test_a_task_of_a_detector_at_hand_leaves_its_memory_format(samples: Samples) -> None:
    toy = Toy()
    objective: Objective = robust(toy, samples)
    for images, targets in objective.task.batches(3, images=3):
        objective.attacked(toy, images, targets)
    assert toy.head.weight.is_contiguous()
    assert toy.get_parameter("block.0.weight").is_contiguous()
