"""In-train pruning of classifiers and detectors: what it trains is what is left, and it ends with the same bits."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from robustprune.attacks.fgsm import fgsm
from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.core.errors import InputError
from robustprune.core.operations import AttackWork
from robustprune.core.progress import NOWHERE
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.data.samples import Samples
from robustprune.inference.cost import size
from robustprune.methods import INITIALIZERS, Outcome, Problem
from robustprune.methods.intrain import intrain
from robustprune.methods.intrain.channel_masks import ChannelMasks
from robustprune.methods.intrain.operations import Operations
from robustprune.methods.intrain.settings import IntrainSettings
from robustprune.structures import STRUCTURES, CoupledGroup
from robustprune.structures import masks as masking
from robustprune.structures.groups import decided_layers
from robustprune.structures.removal import departing, kept_decisions, remove
from robustprune.structures.spread import spread
from robustprune.training import Objective, train
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.detection.tasks import task_of
from tests.robustprune.structures.networks import SIZE, classifier, groups_of, images
from tests.robustprune.training.keeper import Keeper, KilledError

STEP = partial(fgsm, epsilon=0.05, step_size=0.0625)
CLASSIFICATION = task_on(bright_or_dark(12, size=SIZE))
KINDS = [("option A", 3), ("option A", 2), ("depthwise", 2), ("projected", 1)]
"""Whose second shortcut copies on what the first one brings."""

Ask = Callable[..., tuple[nn.Module, Problem]]


def network() -> Classifier:
    return classifier(KINDS, hidden=6)


def problem(task: Any = CLASSIFICATION, *, ratio: float = 0.5, structure: str = "channels", **others: Any) -> Problem:
    generator = torch.Generator().manual_seed(0)
    given: dict[str, Any] = {"objective": Objective(task=task, attack=partial(STEP, generator=generator))}
    return Problem(task=task, generator=generator, structure=structure, ratio=ratio, **(given | others))


def settings(**options: Any) -> IntrainSettings:
    return IntrainSettings(**{"epochs": 4, "batch_size": 4, "learning_rate": 0.01, **options})


@pytest.fixture(params=["classifier", "detector"])
def asked(request: pytest.FixtureRequest, nano: Detector, samples: Samples) -> Ask:
    """Return a function that returns a network of a task, and the problem."""

    def ask(**options: Any) -> tuple[nn.Module, Problem]:
        if request.param == "classifier":
            return network(), problem(**options)
        detector = nano.to(memory_format=torch.channels_last)
        return detector.eval(), problem(task_of(detector, samples), **{"structure": "structured", **options})

    return ask


def equal(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(np.asarray(first[name]), np.asarray(second[name])) for name in first
    )


@pytest.mark.filterwarnings("ignore:intrain")
def test_without_pull_and_decay_it_is_training_as_ever_bit_for_bit(asked: Ask) -> None:
    network, question = asked()
    own = settings(strength=0.0, mask_decay=0.0, epochs=2)
    found = intrain(network, question, own)
    plainly, again = asked()
    train(
        plainly.requires_grad_(True),
        objective=again.objective,
        settings=own.training(),
        generator=again.generator,
    )
    assert equal(found.state, plainly.state_dict())
    assert found.columns == {"operations_asked": 0.5, "operations_reached": 0.0}


@pytest.mark.filterwarnings("ignore:intrain")
def test_it_takes_what_was_asked_for_and_says_so(asked: Ask) -> None:
    network, question = asked(ratio=0.6)
    before = copy.deepcopy(network.state_dict())
    found = intrain(network, question, settings())
    assert equal(before, network.state_dict())
    assert found.columns["operations_asked"] == 0.6
    assert found.columns["operations_reached"] >= 0.6
    # Whole filters of every layer that is decided on, as pruning by scores would draw them.
    assert found.masks is not None
    layers = question.layers(network)
    assert found.scores.keys() == found.masks.keys() == layers.keys()
    for name, mask in found.masks.items():
        assert mask.shape == found.scores[name].shape == layers[name].weight.shape
        assert mask.flatten(1).all(dim=1).equal(mask.flatten(1).any(dim=1))
        assert mask.any()
    rows = found.tables["masks_over_epochs"]
    assert rows["epoch"].tolist() == [1, 2, 3, 4]
    assert rows["operations"][-1] == pytest.approx(1 - found.columns["operations_reached"])
    assert rows["loss_hw"][-1] == 0.0
    entry = INITIALIZERS["intrain"]
    assert {table: columns.keys() for table, columns in found.tables.items()} == {
        table: columns.keys() for table, columns in entry.tables.items()
    }
    assert found.columns.keys() == entry.columns.keys()


def test_what_was_reached_is_counted_on_what_is_left() -> None:
    dense = network()
    found = intrain(dense, problem(ratio=0.6), settings())
    smaller = copy.deepcopy(dense)
    smaller.load_state_dict(dict(found.state))
    assert found.masks is not None
    groups = groups_of(smaller)
    kept = kept_decisions(groups, found.masks)
    remove(groups, kept)
    example = images(count=1)
    assert found.columns["operations_reached"] == pytest.approx(
        1 - size(smaller, example).macs / size(dense, example).macs, abs=1e-12
    )
    assert found.tables["masks_over_epochs"]["channels"][-1] == sum(int(stays.sum()) for stays in kept)


def test_a_ratio_of_0_is_training_as_ever() -> None:
    question, own = problem(ratio=0.0), settings()
    found = intrain(network(), question, own)
    plainly, again = network().requires_grad_(True), problem()
    train(plainly, objective=again.objective, settings=own.training(), generator=again.generator)
    assert equal(found.state, plainly.state_dict())
    assert found.masks is not None
    assert all(mask.all() for mask in found.masks.values())
    assert found.columns["operations_reached"] == 0


def pulled(
    network: nn.Module, groups: list[CoupledGroup], example: Tensor, *, removes: bool, frozen: bool
) -> ChannelMasks:
    """Return masks of which some are below the threshold."""
    masks = ChannelMasks(
        network,
        groups,
        Operations(network, groups, size(network, example).layer_macs),
        target=0.5,
        settings=settings(),
        steps_per_epoch=3,
        removes=removes,
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        masks.masks.copy_(torch.rand(len(masks.masks), generator=generator) - 0.3)
    masks.before_epoch(settings().end)
    masks.after_epoch(settings().end)
    masks.before_epoch(settings().end + 1 if frozen else 1)
    assert masks.penalty() is None or not frozen
    return masks


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
def test_what_is_trained_is_the_network_without_the_channels_that_went(*, frozen: bool, training: bool) -> None:
    network, example = classifier(KINDS, hidden=6), images(count=5)
    groups = groups_of(network)
    masks = pulled(network, groups, example[:1], removes=True, frozen=frozen)
    smaller = copy.deepcopy(network)
    remove(groups_of(smaller), [stays.cpu() for stays in masks.by_group])
    assert masks.left < 0.9
    network.train(training)
    with masks.on_shortcuts():
        seen = CLASSIFICATION.outputs(network, example, masks.weights())
    torch.testing.assert_close(seen, smaller.train(training)(example), rtol=0, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
def test_where_filters_are_masked_as_such_it_is_the_masked_network(*, frozen: bool) -> None:
    network, example = classifier(KINDS, hidden=6), images(count=5)
    groups = groups_of(network)
    masks = pulled(network, groups, example[:1], removes=False, frozen=frozen)
    with masks.on_shortcuts():
        seen = CLASSIFICATION.outputs(network, example, masks.weights())
    assert_masked_alike(network, groups, masks, example, [seen])


@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
@pytest.mark.parametrize("heads", [False, True])
def test_of_detectors_too(nano: Detector, *, frozen: bool, heads: bool) -> None:
    example = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    groups = couplings(nano.eval(), nano.prunable_layers(heads=heads))
    masks = pulled(nano, groups, example[:1], removes=False, frozen=frozen)
    seen = task_of(nano).outputs(nano, example, masks.weights())
    assert_masked_alike(nano, groups, masks, example, seen)


def assert_masked_alike(
    network: nn.Module, groups: list[CoupledGroup], masks: ChannelMasks, example: Tensor, seen: list[Tensor]
) -> None:
    """The network answers as one that a study masks by what stays."""
    kept = [stays.cpu() for stays in masks.by_group]
    masked = copy.deepcopy(network)
    layers = decided_layers(network, groups)
    flags = {name: mask > 0 for name, mask in spread([stays.float() for stays in kept], groups, layers).items()}
    masking.apply(flags | departing(network, groups, kept), masked)
    answer = masked(example)
    for one, other in zip(seen, answer if isinstance(answer, list) else [answer], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:intrain")
@pytest.mark.parametrize("how", ["batch", "epoch"])
def test_killed_anywhere_it_ends_with_the_same_bits(how: str) -> None:
    own = settings(step=how, epochs=3)

    def work(progress: Any = NOWHERE) -> Outcome:
        return intrain(network(), problem(ratio=0.4, progress=progress), own)

    undisturbed = work().to_arrays()
    for last in (2, 4, 7, 11):  # within epochs, at the end of one, and after the masks were frozen
        before = Keeper(last=last, is_due=True)
        with pytest.raises(KilledError):
            work(before)
        assert equal(undisturbed, work(Keeper(before.kept, is_due=True)).to_arrays()), last


def test_a_target_that_is_not_met_is_said() -> None:
    own = settings(strength=0.001, mask_learning_rate=0.001)
    with pytest.warns(UserWarning, match=r"^intrain: 0\.0% of the operations are gone at the end, where 50\.0% were"):
        found = intrain(network(), problem(), own)
    assert found.columns == {"operations_asked": 0.5, "operations_reached": 0.0}
    assert found.masks is not None
    assert all(mask.all() for mask in found.masks.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.0}, r"^grid.ratio: found 1 with the initializer 'intrain', expected less than 1: it is the share"),
        (
            {"structure": "unstructured"},
            r"^intrain: found no channels that can go .* in the structure 'unstructured', exp",
        ),
    ],
)
def test_what_it_cannot_do_is_refused_before_training(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        intrain(network(), problem(objective=None, **options), settings())


def test_a_network_of_which_nothing_can_go_is_refused() -> None:
    task = task_on(bright_or_dark(4, size=SIZE))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2))
    single = Classifier(linear, CIFAR10, classes=("a", "b"))
    with pytest.raises(InputError, match="^intrain: found no channels that can go from this network"):
        intrain(single, problem(task), settings())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_epoch": 3, "end_epoch": 3}, "start_epoch is 3, expected less than end_epoch, 3"),
        ({"end_epoch": 5}, "end_epoch is 5, expected at most epochs, 4"),
        ({"threshold": 1.0}, "threshold is 1.0, expected less than initial_mask, 1.0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**options)


def test_masks_have_the_published_shares_of_the_epochs() -> None:
    assert [(own.start, own.end) for own in (settings(epochs=epochs) for epochs in (1, 2, 10, 300))] == [
        (0, 1),
        (0, 2),
        (1, 8),
        (20, 240),
    ]


def test_the_learning_rate_falls_to_a_tenth_in_steps() -> None:
    own = settings(epochs=300, learning_rate=0.1, schedule="steps").training()
    rates = [own.learning_rate_at(epoch * 5 + 4, 5) for epoch in (0, 79, 80, 159, 160, 299)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.0001])


def test_its_work_is_that_of_one_training() -> None:
    entry = INITIALIZERS["intrain"]
    assert entry.work is not None
    found = entry.work(
        IntrainSettings(epochs=10), forward=2.0, images=100, attack=AttackWork(2, "1 attack step"), clean_too=False
    )
    assert found == ("intrain's training: 10 epochs of 100 images, 1 attack step", 10 * 100 * (2 + 1 + 3) * 2.0)
    assert entry.from_scratch
    assert all(entry.refuses is not None and STRUCTURES[name].coupled for name in ("structured", "channels"))
