"""The worst of several attacks is not misled by what hides a network's gradients from one of them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import PgdSettings, configured, frozen
from robustprune.attacks.adversarial_library.apgd import ApgdSettings
from robustprune.attacks.adversarial_library.ddn import DdnSettings
from robustprune.attacks.adversarial_library.standard import StandardSettings
from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.losses import difference_of_logits_ratio
from robustprune.classification.measure.attacks import BallAttack, ball_attacks, least_attack
from robustprune.classification.measure.evaluation import Evaluation, evaluate
from robustprune.classification.measure.flags import attacks_disagree, ddn_at_floor, floor_of, is_floor
from robustprune.classification.measure.minimum_norm import minimum_norm
from robustprune.classification.measure.robust_accuracy import RobustAccuracy, robust_accuracy
from robustprune.core.errors import DivergedError
from tests.robustprune.attacks.classifiers.linear import Linear, linear, optimum

CPU = torch.device("cpu")


class Loud(nn.Module):
    """A network with its logits multiplied."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.network(images)
        return logits


def loud(problem: Linear, factor: float = 1000.0) -> Linear:
    classifier = problem.classifier
    return Linear(Classifier(Loud(classifier.network, factor), CIFAR10, classes=classifier.classes), problem.images)


def attacked(problem: Linear, settings: Any, *, blind_queries: int = 0) -> RobustAccuracy:
    return robust_accuracy(
        problem.classifier,
        problem.images,
        attacks=ball_attacks(settings, torch.Generator().manual_seed(0), classes=len(problem.images.classes)),
        blind_queries=blind_queries,
        generator=torch.Generator().manual_seed(0),
        batch_size=25,
        device=CPU,
    )


def middle(problem: Linear) -> float:
    return optimum(problem)["linf"].median().item()


SORTS: dict[str, Callable[[float], Any]] = {
    "apgd": lambda epsilon: ApgdSettings(epsilon=epsilon, steps=20),
    "pgd": lambda epsilon: PgdSettings(epsilon=epsilon, step_size=epsilon / 4, steps=10),
}


def convolutional(count: int) -> Linear:
    """Return a small network with batch norm and a max-pool, and images that are of whatever class it says."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 5)
    classifier = Classifier(nn.Sequential(*layers), CIFAR10, classes=list("abcde")).eval()
    pixels = torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8)
    labels = classifier(pixels / 255).argmax(dim=1)
    return Linear(classifier, LabelledImages(pixels=pixels, labels=labels, classes=classifier.classes))


PROBLEMS: dict[str, Callable[[], Linear]] = {
    "linear": lambda: linear(5, saturated=False, count=64),
    "convolutional": lambda: convolutional(64),
}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_network_whose_logits_are_a_thousandfold_reads_as_robust_as_before(kind: str, sort: str) -> None:
    problem = PROBLEMS[kind]()
    settings = SORTS[sort](middle(problem) if kind == "linear" else 0.01)
    plain, hidden = attacked(problem, settings), attacked(loud(problem), settings)
    assert 0.2 < plain.stays.double().mean() < 0.8
    assert hidden.stays.double().mean() == pytest.approx(plain.stays.double().mean().item(), abs=0.05)
    # The cross-entropy alone is blind, and the row says so.
    assert hidden.alone["ce"] > plain.alone["ce"] + 0.15
    assert plain.zero_gradients is not None
    assert hidden.zero_gradients is not None
    assert plain.zero_gradients < 0.01 < 0.5 < hidden.zero_gradients
    worst = hidden.stays.double().mean().item()
    assert attacks_disagree(plain.alone, plain.stays.double().mean().item()) is None
    assert str(attacks_disagree(hidden.alone, worst)).startswith(
        f"accuracy under attack: ce alone {hidden.alone['ce']:.3f}"
    )


def test_each_figure_is_of_its_attack_alone_and_the_worst_is_taken_image_by_image() -> None:
    problem = linear(5, saturated=False, count=4)

    def fools(*chosen: int) -> BallAttack:
        def run(network: object, pixels: Tensor, labels: Tensor) -> Tensor:
            # Mirrored in grey, where all classes tie, an image is of another class.
            return torch.where(torch.isin(torch.arange(4), torch.tensor(chosen)).view(-1, 1, 1, 1), 1 - pixels, pixels)

        return BallAttack(run, "linf", math.inf)

    found = robust_accuracy(
        problem.classifier,
        problem.images,
        attacks={"ce": fools(0), "dlr": fools(1, 2)},
        blind_queries=0,
        generator=torch.Generator(),
        batch_size=4,
        device=CPU,
    )
    assert found.alone == {"ce": 0.75, "dlr": 0.5}
    assert found.stays.tolist() == [False, False, False, True]


def test_square_takes_the_images_that_no_loss_has_a_gradient_at() -> None:
    problem = linear(2, saturated=False, count=32)
    hidden = loud(problem, 1e5)
    settings = PgdSettings(epsilon=middle(problem), step_size=0.01, steps=5)
    assert attacked(hidden, settings).stays.all()  # of two classes there is no ratio to ascend
    by_answers = attacked(hidden, settings, blind_queries=1000)
    assert by_answers.stays.double().mean() == pytest.approx(0.5, abs=0.1)
    # Where there are gradients it is not asked.
    unasked = attacked(problem, settings, blind_queries=10**9)
    assert unasked.stays.double().mean() == pytest.approx(0.5, abs=0.1)


def test_the_four_attacks_of_standard_find_what_the_ball_allows() -> None:
    problem = linear(5, saturated=True, count=48)
    settings = StandardSettings(epsilon=middle(problem), steps=20, queries=100)
    found = attacked(loud(problem), settings)
    assert set(found.alone) == {"ce", "dlr"}
    distance = optimum(problem)["linf"]
    allowed, clear = distance <= settings.epsilon, (distance / settings.epsilon - 1).abs() > 0.02
    assert torch.equal(found.stays[clear], ~allowed[clear])
    # By itself too, where only what withstands an attack goes on to the next.
    hidden = loud(problem)
    with frozen(hidden.classifier):
        run = configured(settings, torch.Generator().manual_seed(0))
        images = run(hidden.classifier, hidden.pixels, hidden.labels)
    assert torch.equal((hidden.classifier(images).argmax(dim=1) != hidden.labels)[clear], allowed[clear])
    assert clear.double().mean() > 0.8
    assert (images - hidden.pixels).abs().max() <= settings.epsilon + 1e-6


def test_the_ratio_is_that_of_the_paper_and_no_factor_changes_it() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, 0.0], [4.0, 1.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
    labels = torch.tensor([0, 2, 1])
    expected = torch.tensor([-1 / 3, 1 / 3, 0])
    for factor in (1, 1000):
        torch.testing.assert_close(difference_of_logits_ratio(factor * logits, labels), expected)


class NanBelow(nn.Module):
    """A network that answers NaN to whatever is not exactly an image of 256 levels: under attack, that is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in CIFAR10)
        levels = 255 * (images * std + mean)
        broken = ((levels - levels.round()).abs() > 1e-2).flatten(1).any(dim=1)
        logits: Tensor = self.network(images)
        return torch.where(broken[:, None], math.nan, logits)


@pytest.mark.parametrize("settings", [PgdSettings(epsilon=0.1), ApgdSettings(epsilon=0.1, steps=3)])
def test_nan_only_under_attack_is_a_failure(settings: Any) -> None:
    problem = linear(3, saturated=False, count=8)
    broken = Classifier(NanBelow(problem.classifier.network), CIFAR10, classes=problem.images.classes)
    with pytest.raises(DivergedError, match="NaN.*attack"):
        attacked(Linear(broken, problem.images), settings)
    with pytest.raises(DivergedError, match="NaN.*attacked images"):
        minimum_norm(
            broken,
            problem.images,
            attack=least_attack(DdnSettings(steps=5), torch.Generator()),
            batch_size=8,
            device=CPU,
        )


def test_ddn_says_where_it_could_not_look_nearer() -> None:
    problem = linear(2, saturated=False)

    def measured(settings: DdnSettings) -> str | None:
        attack = least_attack(settings, torch.Generator().manual_seed(0))
        return ddn_at_floor(
            settings, minimum_norm(problem.classifier, problem.images, attack=attack, batch_size=32, device=CPU)
        )

    far = optimum(problem)["l2"].max().item()
    stuck = DdnSettings(steps=10, init_norm=20 * far)
    assert str(measured(stuck)).startswith("32 of 32 at ")
    assert f"{20 * far * 1.05 * 0.95**8:.3g}, the least that 10 steps" in str(measured(stuck))
    assert measured(DdnSettings(steps=200, init_norm=far)) is None


def test_least_distances_that_contradict_the_ball_are_told() -> None:
    beyond, stays = torch.tensor([True] * 8 + [False] * 2), torch.tensor([True] * 2 + [False] * 8)
    told = attacks_disagree({"ce": 0.2, "dlr": 0.2}, 0.2, beyond=beyond, stays=stays)
    assert "by least distances 0.800 and by attacks in the ball 0.200" in str(told)
    assert attacks_disagree({"ce": 0.2, "dlr": 0.25}, 0.2, beyond=stays, stays=stays) is None


def test_a_row_of_a_network_with_large_logits_carries_both_figures_and_why_they_are_doubtful() -> None:
    problem = loud(linear(5, saturated=False, count=40))
    epsilon = middle(linear(5, saturated=False, count=40))
    settings = Evaluation(
        attack=ApgdSettings(epsilon=epsilon, steps=10), distances=[DdnSettings(steps=3, init_norm=30)], images=20
    )
    columns = evaluate(problem.classifier, problem.images, settings=settings, seed=0).columns
    assert columns["accuracy_clean"] == 1
    assert float(columns["accuracy_adv_ce"] or 0) > float(columns["accuracy_adv"] or 0) + 0.2
    assert float(columns["accuracy_adv"] or 0) == pytest.approx(float(columns["accuracy_adv_dlr"] or 0), abs=0.05)
    assert "ce alone" in str(columns["attacks_disagree"])


@pytest.mark.parametrize(("stuck", "is_doubted"), [(0, False), (8, False), (20, True)])
def test_a_median_is_in_doubt_where_it_is_the_floor_itself(stuck: int, is_doubted: bool) -> None:
    settings = DdnSettings(steps=10, init_norm=2.0)
    least = floor_of(settings)
    norms_found = torch.tensor([least] * stuck + [least * 3] * (20 - stuck), dtype=torch.float64)
    assert is_floor(float(norms_found.median()), settings) == is_doubted
    assert not is_floor(0.0, settings)
    assert not is_floor(None, settings)
    assert not is_floor(least, None)
