"""What every attack for the least perturbation promises; how near it comes to the optimum of linear networks."""

import warnings
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from robustprune.attacks import LeastSettings, frozen
from robustprune.attacks.adversarial_library.library import library_attack
from robustprune.attacks.norms import distances
from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.attacks import least_attack
from robustprune.classification.measure.minimum_norm import minimum_norm
from robustprune.classification.measure.perturbations import Perturbations
from tests.robustprune.attacks.classifiers.linear import Linear, linear, optimum

CPU = torch.device("cpu")
SETTINGS: TypeAdapter[Any] = TypeAdapter(LeastSettings)

ATTACKS = {
    "l2": {"name": "ddn", "steps": 1000},
    "linf": {"name": "fmn", "norm": "linf", "steps": 200},
    "l1": {"name": "fmn", "norm": "l1", "steps": 200},
    "l0": {"name": "fmn", "norm": "l0", "steps": 200},
}
"""By the norm that they make least."""

every_attack = pytest.mark.parametrize("norm", ATTACKS)


def measured(norm: str, problem: Linear, *, steps: int | None = None, batch_size: int = 100) -> Perturbations:
    settings = ATTACKS[norm] | ({} if steps is None else {"steps": steps})
    attack = least_attack(SETTINGS.validate_python(settings), torch.Generator().manual_seed(0))
    return minimum_norm(problem.classifier, problem.images, attack=attack, batch_size=batch_size, device=CPU)


def attacked(norm: str, classifier: Classifier, pixels: Tensor, labels: Tensor, *, seed: int = 0) -> Tensor:
    settings = SETTINGS.validate_python(ATTACKS[norm] | {"steps": 50})
    with frozen(classifier):
        return least_attack(settings, torch.Generator().manual_seed(seed))(classifier, pixels, labels)


def asked_about(norm: str, classifier: Classifier, pixels: Tensor, labels: Tensor, *, seed: int) -> Tensor:
    """Return all the images that an attack asks a classifier about."""
    seen: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    attacked(norm, classifier, pixels, labels, seed=seed)
    handle.remove()
    return torch.stack(seen)


@pytest.mark.parametrize("saturated", [False, True])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_of_two_classes_every_image_fools_at_the_optimum(norm: str, saturated: bool) -> None:
    problem = linear(saturated=saturated)
    found = measured(norm, problem)
    assert found.success.all()
    ratio = getattr(found, norm) / optimum(problem)[norm]
    assert ratio.max() <= 1.05
    assert ratio.min() >= 1 - 1e-4  # nothing is nearer than the optimum, but for rounding


@pytest.mark.parametrize("saturated", [False, True])
def test_in_l0_at_most_one_value_too_many(saturated: bool) -> None:
    # It changes what has the steepest slope, not what has slope and room.
    problem = linear(saturated=saturated)
    found = measured("l0", problem)
    surplus = found.l0 - optimum(problem)["l0"]
    assert found.success.all()
    assert surplus.min() >= 0
    assert surplus.max() <= 1
    assert surplus.median() == 0


@every_attack
def test_of_several_classes_most_images_find_the_nearest(norm: str) -> None:
    problem = linear(5, saturated=False)
    found = measured(norm, problem)
    ratio = getattr(found, norm) / optimum(problem)[norm]
    assert found.success.all()
    assert ratio.min() >= 1 - 1e-4
    assert ratio.median() <= (1.15 if norm == "l2" else 1.05)


@every_attack
def test_passes_are_counted(norm: str) -> None:
    found = measured(norm, linear(saturated=False, count=7), steps=9, batch_size=3)
    assert found.forwards == 9
    assert found.backwards == 9
    assert found.seconds > 0


@every_attack
def test_an_image_does_not_depend_on_its_neighbours(norm: str) -> None:
    problem = linear(5, saturated=True, count=8)
    together, alone = (getattr(measured(norm, problem, batch_size=size), norm) for size in (8, 1))
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=0)


@every_attack
def test_the_layout_in_memory_changes_nothing(norm: str) -> None:
    problem = linear(saturated=True)
    other = problem.pixels.to(memory_format=torch.channels_last)
    results = [attacked(norm, problem.classifier, pixels, problem.labels) for pixels in (problem.pixels, other)]
    assert torch.equal(*results)
    assert torch.equal(other, problem.pixels)
    assert not torch.equal(results[0], problem.pixels)


@every_attack
def test_the_generator_alone_decides(norm: str) -> None:
    # Where no gradient leads anywhere, DDN tries random directions.
    classifier, pixels, labels = dead(4)
    results = []
    for noise, seed in ((1, 0), (2, 0), (3, 1)):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        results.append(asked_about(norm, classifier, pixels, labels, seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2]) == (norm != "l2")


@every_attack
def test_what_cannot_be_fooled_is_not(norm: str) -> None:
    classifier, pixels, labels = dead(4)
    images = LabelledImages(pixels=(255 * pixels).to(torch.uint8), labels=labels, classes=classifier.classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measured(norm, Linear(classifier, images), steps=20)
    assert found.index.tolist() == [0, 1, 2, 3]
    assert not found.success.any()
    assert all(getattr(found, each).isposinf().all() for each in ATTACKS)


@every_attack
def test_a_network_comes_out_as_it_went_in(norm: str) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    classifier = Classifier(nn.Sequential(*layers), CIFAR10, classes=("a", "b")).train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    images = linear(saturated=False).images
    labels = classifier.eval()(images.pixels / 255).argmax(dim=1)
    problem = Linear(classifier.train(), LabelledImages(pixels=images.pixels, labels=labels, classes=("a", "b")))
    found = measured(norm, problem, steps=20)
    assert len(found.index) == len(images)  # judged in eval mode
    assert classifier.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in classifier.parameters())


def test_an_overconfident_network_has_its_gradients_lost_and_is_fooled_all_the_same() -> None:
    problem = linear(saturated=True, scale=500.0)
    margins = problem.classifier(problem.pixels).detach().diff(dim=1).abs()
    assert margins.max() > 100  # exp(-100) is no float32
    found = measured("l2", problem)
    assert found.success.all()
    assert (found.l2 / optimum(problem)["l2"]).max() <= 1.05


def test_where_single_values_fool_the_whole_batch_the_library_stops_and_ours_does_not() -> None:
    problem = linear(saturated=False, count=1)
    assert optimum(problem)["l0"].tolist() == [1]
    with pytest.raises(RuntimeError, match="out of bounds"), frozen(problem.classifier):
        library_attack("fmn")(problem.classifier, problem.pixels, problem.labels, norm=0, steps=100)
    assert measured("l0", problem).l0.tolist() == [1]


@pytest.mark.parametrize(("norm", "order", "saturated"), [("linf", float("inf"), False), ("l1", 1, True)])
def test_without_overshoot_the_library_ends_short_of_the_boundary(norm: str, order: float, saturated: bool) -> None:
    problem = linear(5, saturated=saturated, count=256)
    with frozen(problem.classifier):
        plain = library_attack("fmn")(problem.classifier, problem.pixels, problem.labels, norm=order, steps=200)
    fooled = problem.classifier(plain).argmax(dim=1) != problem.labels
    ours = measured(norm, problem)
    assert fooled.sum() < ours.success.sum()
    # Where both arrive, they arrive at the same place: the overshoot is taken back.
    both = fooled & ours.success
    theirs = distances(plain, problem.pixels)[norm][both]
    assert (getattr(ours, norm)[both] / theirs).median() == pytest.approx(1, abs=1e-3)


def test_quantised_values_are_multiples() -> None:
    problem = linear(saturated=False)
    settings = SETTINGS.validate_python({"name": "ddn", "steps": 100, "levels": 256})
    with frozen(problem.classifier):
        attack = least_attack(settings, torch.Generator())
        levels = 255 * attack(problem.classifier, problem.pixels, problem.labels)
    assert (levels - levels.round()).abs().max() < 1e-4


def dead(count: int) -> tuple[Classifier, Tensor, Tensor]:
    """Return a classifier whose weights are all zero and which is always for the first class, images and labels."""
    layer = nn.Linear(48, 3)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    classifier = Classifier(nn.Sequential(nn.Flatten(), layer), CIFAR10, classes=("a", "b", "c"))
    return classifier, torch.full((count, 3, 4, 4), 0.5), torch.zeros(count, dtype=torch.int64)
