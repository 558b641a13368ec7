"""Accuracy, and under attacks within a ball: of linear networks, which images can be fooled there is known."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from robustprune.attacks import BallSettings
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.accuracy import accuracy, attacked_accuracy, correct
from robustprune.classification.measure.attacks import BallAttack, ball_attacks
from tests.robustprune.attacks.classifiers.linear import Linear, linear, optimum

CPU = torch.device("cpu")
SETTINGS: TypeAdapter[Any] = TypeAdapter(BallSettings)

ATTACKS = [
    ("linf", {"name": "pgd", "steps": 4}),
    ("linf", {"name": "pgd", "steps": 8, "random_start": True}),
    ("linf", {"name": "fgsm", "random_start": False}),
    ("linf", {"name": "apgd", "norm": "linf"}),
    ("l2", {"name": "apgd", "norm": "l2"}),
    ("l2", {"name": "apgd", "norm": "l2", "restarts": 2}),
    ("linf", {"name": "fab", "steps": 20}),
    ("linf", {"name": "square", "queries": 1000}),
]

every_attack = pytest.mark.parametrize(("norm", "settings"), ATTACKS)


def attack(settings: dict[str, Any], epsilon: float, *, seed: int = 0) -> BallAttack:
    steps = {"step_size": epsilon} if settings["name"] in ("pgd", "fgsm") else {}
    validated = SETTINGS.validate_python(settings | steps | {"epsilon": epsilon})
    made = ball_attacks(validated, torch.Generator().manual_seed(seed), classes=5 if settings.get("loss") else 2)
    return made[settings.get("loss", next(iter(made)))]


def within(problem: Linear, norm: str) -> tuple[float, float]:
    """Return a radius far from all optima, and the share of images that it does not allow to fool."""
    optima = optimum(problem)[norm].sort().values
    middle = slice(len(optima) // 4, 3 * len(optima) // 4)
    place = middle.start + int((optima[1:] / optima[:-1])[middle].argmax())
    return float(optima[place] * optima[place + 1]) ** 0.5, 1 - (place + 1) / len(optima)


@every_attack
@pytest.mark.parametrize("saturated", [False, True])
def test_of_two_classes_all_fool_that_the_ball_allows(norm: str, settings: dict[str, Any], saturated: bool) -> None:
    problem = linear(saturated=saturated)
    epsilon, expected = within(problem, norm)
    found = attacked_accuracy(
        problem.classifier, problem.images, attack=attack(settings, epsilon), batch_size=10, device=CPU
    )
    assert found == pytest.approx(expected)


@every_attack
def test_an_attack_tells_its_ball(norm: str, settings: dict[str, Any]) -> None:
    found = attack(settings, 0.25)
    assert (found.norm, found.epsilon) == (norm, 0.25)


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_of_several_classes_most_fool_and_no_others(norm: str, loss: str) -> None:
    problem = linear(5, saturated=True, count=64)
    epsilon, expected = within(problem, norm)
    strongest = attack({"name": "apgd", "norm": norm, "loss": loss}, epsilon)
    found = attacked_accuracy(problem.classifier, problem.images, attack=strongest, batch_size=64, device=CPU)
    assert expected <= found <= expected + 0.1


@every_attack
def test_the_generator_alone_decides(norm: str, settings: dict[str, Any]) -> None:
    problem = linear(saturated=False)
    results = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        results.append(attack(settings, 0.02).run(problem.classifier, problem.pixels, problem.labels))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)
    assert not torch.equal(results[0], problem.pixels)


def half_right() -> Linear:
    """Return a problem whose classifier is wrong about every other image."""
    problem = linear(saturated=False)
    labels = torch.where(torch.arange(32) % 2 == 0, problem.labels, 1 - problem.labels)
    images = LabelledImages(pixels=problem.images.pixels, labels=labels, classes=problem.images.classes)
    return Linear(problem.classifier, images)


def test_accuracy_without_attack() -> None:
    problem = half_right()
    right = correct(problem.classifier, problem.images, batch_size=5, device=CPU)
    assert right.tolist() == [True, False] * 16
    assert accuracy(problem.classifier, problem.images, batch_size=5, device=CPU) == 0.5


def test_what_is_wrong_by_itself_is_not_attacked_and_stays_wrong() -> None:
    problem = half_right()
    seen: list[Tensor] = []

    def mends_all(classifier: object, images: Tensor, labels: Tensor) -> Tensor:
        seen.append(labels)
        return images

    harmless = BallAttack(mends_all, "linf", 0.1)
    assert attacked_accuracy(problem.classifier, problem.images, attack=harmless, batch_size=5, device=CPU) == 0.5
    assert torch.equal(torch.cat(seen), problem.labels[::2])


def test_where_nothing_is_right_nothing_is_attacked() -> None:
    problem = half_right()
    wrong = problem.images.take(range(1, 32, 2))
    unneeded = attack({"name": "apgd"}, 0.1)
    assert attacked_accuracy(problem.classifier, wrong, attack=unneeded, batch_size=5, device=CPU) == 0


@pytest.mark.parametrize(
    ("norm", "moved"), [("linf", 0.11), ("l2", 0.11), ("l1", 0.01), ("l0", 0.01)], ids=["linf", "l2", "l1", "l0"]
)
def test_an_attack_that_leaves_its_ball_is_found_out(norm: str, moved: float) -> None:
    problem = linear(saturated=False)
    broken = BallAttack(lambda classifier, images, labels: images + moved, norm, 0.1)
    with pytest.raises(AssertionError, match="from the image"):
        attacked_accuracy(problem.classifier, problem.images, attack=broken, batch_size=32, device=CPU)


def test_an_attack_that_leaves_the_range_is_found_out() -> None:
    problem = linear(saturated=True)
    broken = BallAttack(lambda classifier, images, labels: images + 0.01, "linf", 0.1)
    with pytest.raises(AssertionError):
        attacked_accuracy(problem.classifier, problem.images, attack=broken, batch_size=32, device=CPU)
