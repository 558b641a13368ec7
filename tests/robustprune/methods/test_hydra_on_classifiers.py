"""HYDRA on classifiers: its masks are those of pruning, and its gradient passes straight through them."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from robustprune.attacks import pgd
from robustprune.classification.classifier import Classifier
from robustprune.core.errors import DivergedError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.methods import INITIALIZERS, Problem
from robustprune.methods.hydra import HydraSettings, hydra, initial_scores
from robustprune.structures import SCOPES, STRUCTURES
from robustprune.structures.group_scores import group_scores
from robustprune.structures.groups import decided_layers
from robustprune.structures.masks import apply
from robustprune.structures.removal import departing, kept_decisions, remove
from robustprune.structures.spread import spread
from robustprune.training import Objective
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.structures.networks import SIZE, classifier, given, groups_of, masks
from tests.robustprune.training.keeper import killed_after

IMAGES = bright_or_dark(6, size=SIZE)
TASK = task_on(IMAGES)
PLAIN = Objective(task=TASK)
ROBUST = Objective(task=TASK, attack=partial(pgd, epsilon=0.05, step_size=0.05, steps=1))


@pytest.fixture
def network() -> Classifier:
    return classifier([("projected", 2), ("depthwise", 2), ("option A", 3)], hidden=6)


def problem(**others: Any) -> Problem:
    options: dict[str, Any] = {
        "task": TASK,
        "objective": ROBUST,
        "structure": "channels",
        "scope": "layer",
        "ratio": 0.5,
    }
    return Problem(**({"generator": torch.Generator().manual_seed(0)} | options | others))


def settings(epochs: int = 1, batch_size: int = 3, **others: Any) -> HydraSettings:
    return HydraSettings(epochs=epochs, batch_size=batch_size, **others)


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    assert list(first) == list(second)
    return all(torch.equal(first[name], second[name]) for name in first)


def layers_of(network: Classifier, structure: str = "channels") -> dict[str, Any]:
    if STRUCTURES[structure].coupled:
        return decided_layers(network, groups_of(network))
    return TASK.prunable_layers(network)


def test_before_any_epoch_scores_are_the_initial_magnitudes_of_weights_or_of_channels_on_average(
    network: Classifier,
) -> None:
    for structure in STRUCTURES:
        layers = layers_of(network, structure)
        expected = {name: initial_scores(layer).abs() for name, layer in layers.items()}
        if STRUCTURES[structure].coupled:
            groups = groups_of(network)
            expected = spread(group_scores(expected, groups, comparable=True), groups, layers)
        assert equal(hydra(network, problem(structure=structure), settings(epochs=0)), expected)


PLAIN_STEP = settings(learning_rate=1.0, momentum=0.0, weight_decay=0.0, images=3)


def test_every_step_is_taken_with_n_of_m_weights(network: Classifier) -> None:
    steps = 0

    def watched(classifier: Classifier, images: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        nonlocal steps
        steps += 1
        of_four = [weight for weight in weights.values() if weight.ndim == 4 and weight.shape[1] % 4 == 0]
        assert of_four
        for weight in of_four:
            left = (weight != 0).flatten(2).transpose(1, 2).unflatten(-1, (-1, 4)).sum(dim=-1)
            assert (left == 1).all()
        return PLAIN(classifier, images, labels, weights)

    found = hydra(network, problem(objective=watched, structure="1:4", ratio=0.75), settings(epochs=2))
    assert steps > 2
    assert found.keys() == layers_of(network, "unstructured").keys()


class Gradients:
    """The plain objective, which keeps the gradient of every parameter that takes part."""

    def __init__(self) -> None:
        self.of: dict[str, Tensor] = {}

    def __call__(self, classifier: Classifier, images: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        for name, weight in weights.items():
            weight.register_hook(partial(self.of.__setitem__, name))
        return PLAIN(classifier, images, labels, weights)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("ratio", [0.3, 0.75, 1.0])
def test_the_first_step_follows_the_exact_gradient(network: Classifier, scope: str, ratio: float) -> None:
    seen = Gradients()
    asked = problem(objective=seen, scope=scope, ratio=ratio, structure="unstructured")
    stepped = hydra(network, asked, PLAIN_STEP)
    pruned = 0
    for name, layer in layers_of(network, "unstructured").items():
        first, weight = initial_scores(layer), layer.weight.detach()
        # The gradient with respect to the weights that took part, and with it to the scores of all.
        gradient = first.sign() * weight * seen.of[f"{name}.weight"]
        torch.testing.assert_close(stepped[name], (first - gradient).abs(), rtol=1e-5, atol=1e-6)
        pruned += int((gradient != 0).sum())
    assert pruned > 0


@pytest.mark.parametrize("structure", ["structured", "channels"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("ratio", [0.3, 0.75])
def test_the_first_step_of_channels_follows_the_exact_gradient_of_their_gates(
    scope: str, ratio: float, structure: str
) -> None:
    network = classifier([("projected", 2), ("depthwise", 2)], hidden=6)
    seen = Gradients()
    asked = problem(objective=seen, scope=scope, ratio=ratio, structure=structure)
    stepped = hydra(network, asked, PLAIN_STEP)
    groups, layers, parameters = groups_of(network), layers_of(network), dict(network.named_parameters())
    first = group_scores({name: initial_scores(layer).abs() for name, layer in layers.items()}, groups, comparable=True)
    learning = 0
    for group, scores in zip(groups, first, strict=True):
        gradient = torch.zeros(group.decisions)
        for layer, members in group.readers.items():
            products = parameters[f"{layer}.weight"].detach() * seen.of[f"{layer}.weight"]
            by_input = products.transpose(0, 1).flatten(1).sum(dim=1)
            gradient.index_add_(0, members.decisions, by_input[members.indices])
        learning += int((gradient != 0).sum())
        found = group_scores(stepped, [group], comparable=True)[0]
        torch.testing.assert_close(found, (scores - gradient).abs(), rtol=1e-4, atol=1e-6)
    # Channels of both kinds learn: those that are kept for the moment, and those that are not.
    assert learning > (1 - ratio) * sum(group.decisions for group in groups)


@pytest.mark.parametrize("scope", SCOPES)
def test_every_step_sees_the_channels_that_pruning_would_leave(network: Classifier, scope: str) -> None:
    calls = 0
    groups = groups_of(network)

    def watched(classifier: Classifier, images: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        nonlocal calls
        kept = []
        for group in groups:
            stays = torch.zeros(group.decisions, dtype=torch.bool)
            # Where a shortcut copies them, filters are masked themselves.
            places = group.filters if group.copied else group.readers
            for layer, members in places.items():
                read = weights[f"{layer}.weight"].transpose(0, 0 if group.copied else 1).flatten(1).any(dim=1)
                stays[members.decisions] |= read[members.indices]
            kept.append(stays)
        if calls == 0:
            initial = hydra(network, problem(), settings(epochs=0))
            expected = masks(network, groups, ratio=0.6, scope=scope, scores=given(initial))
            for own, wanted in zip(kept, kept_decisions(groups, expected), strict=True):
                assert torch.equal(own, wanted)
        # What is seen is the network without those channels.
        without = copy.deepcopy(classifier)
        remove(groups_of(without), kept)
        answers = (TASK.outputs(classifier, images, weights), TASK.outputs(without.train(), images, {}))
        torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-5)
        calls += 1
        return ROBUST(classifier, images, labels, weights)

    hydra(network, problem(objective=watched, scope=scope, ratio=0.6), settings(epochs=2))
    assert calls == 4


@pytest.mark.parametrize("scope", SCOPES)
def test_every_step_sees_the_single_weights_that_pruning_would_leave(network: Classifier, scope: str) -> None:
    calls = 0

    def watched(classifier: Classifier, images: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        nonlocal calls
        layers = layers_of(network, "unstructured")
        found = {name: weights[f"{name}.weight"] != 0 for name in layers}
        if calls == 0:
            initial = {name: initial_scores(layer).abs() for name, layer in layers.items()}
            expected = masks(network, [], ratio=0.6, scope=scope, scores=given(initial), structure="unstructured")
            assert equal(found, expected)
        for name, layer in layers.items():
            assert torch.equal(weights[f"{name}.weight"][found[name]], layer.weight[found[name]])
        calls += 1
        return ROBUST(classifier, images, labels, weights)

    asked = problem(objective=watched, scope=scope, ratio=0.6, structure="unstructured")
    hydra(network, asked, settings(epochs=2))
    assert calls == 4


def test_scores_depend_on_structure_scope_and_ratio(network: Classifier) -> None:
    assert INITIALIZERS["hydra"].per_ratio
    assert INITIALIZERS["hydra"].per_structure
    first = hydra(network, problem(), settings())
    assert not equal(first, hydra(network, problem(ratio=0.75), settings()))
    assert not equal(first, hydra(network, problem(scope="global"), settings()))
    free = hydra(network, problem(structure="unstructured"), settings())
    assert free.keys() == TASK.prunable_layers(network).keys()
    assert not any(torch.equal(first[name], free[name]) for name in first)
    # Where filters are masked or removed is one to their scores.
    assert equal(first, hydra(network, problem(structure="structured"), settings()))


def test_the_same_seed_gives_the_same_bits(network: Classifier) -> None:
    first = hydra(network, problem(), settings())
    torch.manual_seed(99)  # torch's own generator plays no part
    assert equal(first, hydra(network, problem(), settings()))
    assert not equal(first, hydra(network, problem(generator=torch.Generator().manual_seed(1)), settings()))


def test_killed_after_any_epoch_it_ends_with_the_same_bits(network: Classifier) -> None:
    def work(progress: Progress) -> Mapping[str, Tensor]:
        return hydra(network, problem(progress=progress), settings(epochs=3))

    undisturbed = work(NOWHERE)
    for epoch in range(1, 4):
        assert equal(undisturbed, killed_after(epoch, work, epochs=3)), epoch


def test_the_classifier_is_left_alone(network: Classifier) -> None:
    network.eval().requires_grad_(False)
    before = copy.deepcopy(network)
    hydra(network, problem(), settings())
    assert equal(network.state_dict(), before.state_dict())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())


def test_optimised_scores_lose_less_than_initial_ones(network: Classifier) -> None:
    ((images, labels),) = TASK.batches(6)
    optimizer = torch.optim.Adam(network.train().parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        ROBUST(network, images, labels).backward()
        optimizer.step()

    def robust_loss(scores: Mapping[str, Tensor]) -> float:
        without, groups = copy.deepcopy(network), groups_of(network)
        kept = masks(network, groups, ratio=0.5, scope="layer", scores=given(scores))
        apply(kept | departing(without, groups, kept_decisions(groups, kept)), without)
        return ROBUST(without.train(), images, labels).item()

    initial, optimised = (hydra(network, problem(), settings(epochs=epochs, batch_size=6)) for epochs in (0, 15))
    assert robust_loss(optimised) < 0.9 * robust_loss(initial)


def test_a_last_image_by_itself_is_left_out(network: Classifier) -> None:
    counts = []

    def watched(classifier: Classifier, images: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        counts.append(len(images))
        return ROBUST(classifier, images, labels, weights)

    hydra(network, problem(objective=watched), settings(images=4))
    assert counts == [3]


def test_a_loss_that_is_no_number_stops_the_optimisation(network: Classifier) -> None:
    with torch.no_grad():
        network.get_parameter("network.0.1.weight").fill_(torch.nan)
    with pytest.raises(DivergedError, match="the robust loss became nan while hydra optimised its scores"):
        hydra(network, problem(objective=PLAIN), settings())
