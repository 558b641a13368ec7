"""DeepLIFT on classifiers: completeness at the first convolution, whatever the network and the reference."""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from robustprune.classification import networks
from robustprune.classification.classifier import CIFAR10, IMAGENET, Classifier
from robustprune.classification.networks import cifar, torchvision_networks
from robustprune.classification.task import ClassificationTask
from robustprune.core.errors import InputError
from robustprune.methods import INITIALIZERS, Problem
from robustprune.methods.deeplift import DeepLiftSettings, contributions, deeplift
from robustprune.structures.groups import decided_layers
from robustprune.training import Objective
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.structures.networks import SIZE, classifier, drawn, experienced, groups_of, images, pruned

pytestmark = pytest.mark.filterwarnings("error")

ZEROS = torch.zeros(())
TASK = task_on(bright_or_dark(6, size=SIZE))


def vgg_like() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(inplace=True), nn.Dropout()),
        nn.Linear(16, 10),
    )


def torchvision(name: str, image_size: int) -> Callable[[], nn.Module]:
    return lambda: getattr(torchvision_networks, name)(classes=10, image_size=image_size)


class Shared(nn.Module):
    """What a ReLU takes in is read by others too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, bias=False), nn.Conv2d(6, 10, 3)
        self.relu, self.relu6 = nn.ReLU(), nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.second(self.relu(x) + 0.3 * x + self.relu6(3 * x) + self.relu6(x))
        rest: Tensor = self.relu(x) - x
        return rest.mean((2, 3))


NETWORKS = {
    "shared": Shared,
    "resnet20": lambda: cifar.resnet(20, classes=10),
    "wrn-10-1": lambda: cifar.wide_resnet(10, 1, classes=10),
    "vgg-like": vgg_like,
    "resnet18": torchvision("resnet18", 32),
    "resnet18 with its max-pool": torchvision("resnet18", 224),
}
LARGE = {name: torchvision(name, 32) for name in ("resnet50", "vgg19", "mobilenet_v2")}


def named(name: str) -> Classifier:
    torch.manual_seed(0)
    return loud(experienced(Classifier((NETWORKS | LARGE)[name](), CIFAR10, classes=tuple("0123456789"))))


def loud(classifier: Classifier) -> Classifier:
    """Let what goes in make a difference to what comes out."""
    for module in classifier.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return classifier


def layers(classifier: Classifier, *, size: int) -> list[str]:
    """Return the layers whose channels can be pruned: a cut of the graph each, unless it has branches."""
    classifier = copy.deepcopy(classifier)
    return list(decided_layers(classifier, groups_of(classifier, size=size)))


def explained(classifier: Classifier, images: Tensor, labels: Sequence[int]) -> float:
    """Return F, the logits of the true classes, summed in plain Python."""
    with torch.no_grad():
        logits = copy.deepcopy(classifier).double().eval()(images.double())
    return sum(float(row[label]) for row, label in zip(logits, labels, strict=True))


def assert_complete(classifier: Classifier, images: Tensor, reference: Tensor) -> None:
    labels = [2, 0, 1][: len(images)]
    names = layers(classifier, size=images.shape[-1])
    exact = copy.deepcopy(classifier).double()
    found = contributions(
        TASK, exact, images.double(), torch.tensor(labels), reference=reference.double(), layers=names
    )
    assert list(found) == names
    for name, contribution in found.items():
        assert contribution.shape == classifier.get_submodule(name).weight.shape
        assert contribution.isfinite().all()
        assert contribution.any()
    expected = explained(classifier, images, labels)
    expected -= explained(classifier, reference.expand_as(images), labels)
    assert abs(expected) > 1e-3
    assert found[names[0]].sum().item() == pytest.approx(expected, rel=1e-7)  # what is left is rounding
    found = contributions(TASK, classifier, images, torch.tensor(labels), reference=reference, layers=names)
    assert all(each.dtype == torch.float32 for each in found.values())
    assert found[names[0]].double().sum().item() == pytest.approx(expected, rel=1e-4)  # which is promised


@pytest.mark.parametrize("name", [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_contributions_are_complete(name: str) -> None:
    assert_complete(named(name), images(size=32), ZEROS)


@pytest.mark.parametrize("reference", [torch.full((3, 1, 1), 0.4), torch.rand(3, SIZE, SIZE)], ids=["grey", "image"])
@pytest.mark.parametrize("blocks", [[("projected", 2)], [("depthwise", 2)], [("option A", 2), ("plain", 0)]])
def test_contributions_are_complete_against_any_reference(blocks: list[tuple[str, int]], reference: Tensor) -> None:
    assert_complete(loud(classifier(blocks, hidden=16)), images(count=3), reference)


def test_a_pruned_network_is_explained_as_well() -> None:
    network = named("resnet20")
    pruned(network, ratio=0.5, scope="global", scores=drawn(), size=32)
    assert_complete(network, images(size=32), ZEROS)


def test_the_last_convolution_of_a_chain_is_a_cut_too() -> None:
    network = classifier([("plain", 2), ("plain", 3)])
    exact, pixels = copy.deepcopy(network).double(), images().double()
    found = contributions(
        TASK, exact, pixels, torch.tensor([0, 1]), reference=ZEROS.double(), layers=["network.1.0", "network.2.0"]
    )
    expected = explained(network, images(), [0, 1]) - explained(network, torch.zeros(2, 3, SIZE, SIZE), [0, 1])
    for contribution in found.values():
        assert contribution.sum().item() == pytest.approx(expected, rel=1e-9)


def test_a_linear_network_by_hand() -> None:
    # A contribution is the weight times the normalised difference of the pixel it meets.
    torch.manual_seed(0)
    network = Classifier(nn.Sequential(nn.Conv2d(3, 2, 2), nn.Flatten()), IMAGENET, classes=("a", "b"))
    x = torch.rand(1, 3, 2, 2)
    (found,) = contributions(
        TASK, network, x, torch.tensor([1]), reference=torch.tensor(0.25), layers=["network.0"]
    ).values()
    expected = torch.zeros(2, 3, 2, 2)
    weight = network.get_parameter("network.0.weight").detach()
    expected[1] = weight[1] * (x[0] - 0.25) / torch.tensor(IMAGENET.std).view(3, 1, 1)
    torch.testing.assert_close(found.float(), expected)


def problem(task: ClassificationTask = TASK) -> Problem:
    return Problem(task=task, objective=Objective(task=task), generator=torch.Generator())


@pytest.mark.parametrize("reference", ["zeros", "mean"])
def test_importance_is_the_mean_magnitude_over_micro_batches(reference: Literal["zeros", "mean"]) -> None:
    assert not INITIALIZERS["deeplift"].per_ratio
    assert not INITIALIZERS["deeplift"].per_structure
    network = classifier([("projected", 1)], hidden=4)
    found = deeplift(network, problem(), DeepLiftSettings(images=5, batch_size=2, reference=reference))
    ((pixels, labels),) = TASK.batches(5, images=5)
    against = ZEROS if reference == "zeros" else pixels.mean(dim=0)
    expected = dict.fromkeys(found, ZEROS)
    for chosen in ([0, 1], [2, 3], [4]):
        signed_by_layer = contributions(
            TASK, network, pixels[chosen], labels[chosen], reference=against, layers=list(found)
        )
        for name, signed in signed_by_layer.items():
            expected[name] = expected[name] + signed.abs() / 3
    assert list(found) == layers(network, size=SIZE) == list(TASK.prunable_layers(network))
    for name, scores in found.items():
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, expected[name].float(), rtol=1e-4, atol=1e-7)


def test_the_classifier_is_left_alone() -> None:
    network = named("resnet18").train()
    before, description = copy.deepcopy(network.state_dict()), str(network)
    contributions(TASK, network, images(size=32), torch.tensor([0, 1]), reference=ZEROS, layers=["network.conv1"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert str(network) == description
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


class Hidden(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(x)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.GELU(), "cannot explain the activation GELU of network.1: expected ReLU"),
        (nn.Softmax(dim=1), "cannot explain the activation Softmax of network.1"),
        (Squared(), "cannot explain the function mul that"),
        (Hidden(), "cannot explain the function gelu that"),
    ],
)
def test_what_has_no_rule_is_refused(module: nn.Module, message: str) -> None:
    network = Classifier(nn.Sequential(nn.Conv2d(3, 2, SIZE), module, nn.Flatten()), CIFAR10, classes=("a", "b"))
    with pytest.raises(InputError, match=message):
        contributions(TASK, network, images(), torch.tensor([0, 1]), reference=ZEROS, layers=["network.0"])


@pytest.mark.parametrize(
    ("name", "where"), [("swin_t", "network.features.1.0.mlp.1"), ("mlp-mixer-tiny", "network.blocks.0.mlp_tokens.act")]
)
def test_networks_of_tokens_are_refused(name: str, where: str) -> None:
    network = Classifier(networks.build(name, classes=10, image_size=32), CIFAR10, classes=tuple("0123456789"))
    with pytest.raises(InputError, match=f"cannot explain the activation GELU of {where}"):
        contributions(TASK, network, images(size=32), torch.tensor([0, 1]), reference=ZEROS, layers=[])


def test_nobodys_warnings_are_swallowed() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        deeplift(classifier([("plain", 0)]), problem(task_on(bright_or_dark(1, size=SIZE))), DeepLiftSettings())
        warnings.warn("still heard", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["still heard"]
