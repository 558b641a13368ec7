"""The training of ADMM and SLR: where it ends, what it remembers, and that it can be cut off anywhere."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from robustprune.attacks import pgd
from robustprune.classification.classifier import Classifier
from robustprune.core.errors import DivergedError
from robustprune.core.operations import AttackWork, training
from robustprune.core.progress import NOWHERE, Progress
from robustprune.methods import INITIALIZERS, Outcome, Problem
from robustprune.structures import SCOPES
from robustprune.structures import masks as masking
from robustprune.structures.removal import departing, kept_decisions
from robustprune.training import Objective, train
from robustprune.training.batch_norm import statistics_of
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.structures.networks import SIZE, classifier
from tests.robustprune.training.keeper import Keeper, KilledError, killed_after
from tests.support.linear_regression import GradientDescent, LinearRegression

IMAGES = bright_or_dark(12, size=SIZE)
TASK = task_on(IMAGES)
EXAMPLES = 48
METHODS = ("admm", "slr")
ATTACK = partial(pgd, epsilon=0.05, step_size=0.05, steps=1)


@pytest.fixture
def network() -> Classifier:
    return classifier([("projected", 2), ("option A", 3)], hidden=6)


def problem(**others: Any) -> Problem:
    generator = torch.Generator().manual_seed(0)
    attack = partial(ATTACK, generator=generator)
    options: dict[str, Any] = {
        "objective": Objective(task=TASK, attack=attack),
        "structure": "unstructured",
        "scope": "layer",
        "ratio": 0.5,
        "comparable": True,
    }
    return Problem(**{"task": TASK, "generator": generator, **options, **others})


def run(name: str, network: nn.Module, asked: Problem, **settings: Any) -> Outcome:
    method = INITIALIZERS[name]
    chosen = {"epochs": 3, "batch_size": 4, **settings}
    found = method.score(network, asked, method.settings(**chosen))
    assert isinstance(found, Outcome)
    return found


def regression() -> LinearRegression:
    """Return numbers that are nearly linear in vectors, for a network with hidden units to tell."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(EXAMPLES, 5, generator=generator)
    targets = inputs @ torch.randn(5, 1, generator=generator) + 0.1 * torch.randn(EXAMPLES, 1, generator=generator)
    return LinearRegression(inputs=inputs, targets=targets, hidden=12)


def fitted(task: LinearRegression) -> nn.Module:
    network = task.fresh(0)
    settings = GradientDescent(epochs=400, batch_size=EXAMPLES, learning_rate=0.1, weight_decay=0, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    train(network, objective=Objective(task=task), settings=settings, generator=generator)
    return network


def filled(found: Outcome, network: nn.Module) -> nn.Module:
    """Return a copy of a network with the state of an outcome."""
    network = copy.deepcopy(network)
    network.load_state_dict(dict(found.state))
    return network


def pruned(found: Outcome, network: nn.Module, asked: Problem) -> nn.Module:
    """Return what pruning leaves of the network of an outcome."""
    network = filled(found, network)
    groups = asked.groups(network)
    masks = asked.masks(found.scores, groups)
    masking.apply(masks | departing(network, groups, kept_decisions(groups, masks)), network)
    return network


def error(task: LinearRegression, network: nn.Module) -> float:
    return float(task.measure(network, seed=0)["error"])


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def same(first: Outcome, second: Outcome) -> bool:
    assert first.tables.keys() == second.tables.keys()
    for table, columns in first.tables.items():
        for column, values in columns.items():
            np.testing.assert_array_equal(values, second.tables[table][column], err_msg=f"{table}.{column}")
    return equal(first.scores, second.scores) and equal(first.state, second.state)


@pytest.mark.parametrize("name", METHODS)
def test_without_epochs_weights_stay_and_their_magnitudes_are_the_scores(name: str, network: Classifier) -> None:
    found = run(name, network, problem(), epochs=0)
    assert equal(found.state, network.state_dict())
    weights = {layer: module.weight.detach() for layer, module in TASK.prunable_layers(network).items()}
    assert equal(found.scores, {layer: weight.abs() for layer, weight in weights.items()})
    assert all(len(column) == 0 for columns in found.tables.values() for column in columns.values())


@pytest.mark.parametrize("structure", ["unstructured", "structured", "channels"])
@pytest.mark.parametrize("name", METHODS)
def test_the_network_is_left_alone_and_the_state_is_whole(name: str, structure: str, network: Classifier) -> None:
    before = {entry: value.clone() for entry, value in network.state_dict().items()}
    found = run(name, network, problem(structure=structure))
    assert equal(network.state_dict(), before)
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert found.state.keys() == before.keys()
    assert not equal(found.state, before)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("structure", ["unstructured", "structured"])
@pytest.mark.parametrize("name", METHODS)
def test_it_brings_weights_to_where_pruning_changes_nothing_and_is_worth_more_than_their_magnitudes(
    name: str, structure: str, scope: str
) -> None:
    task = regression()
    start = fitted(task)
    asked = problem(task=task, objective=Objective(task=task), structure=structure, scope=scope)
    steps: dict[str, Any] = {"learning_rate": 0.1, "schedule": "constant", "momentum": 0.0, "weight_decay": 0.0}
    steps |= {"batch_size": EXAMPLES, "rho": 1.0}
    found = run(name, start, asked, epochs=150, every_epochs=5, **steps)
    gaps = found.tables["multipliers"]["gap"]
    assert gaps[-1] < 0.03 * gaps[0]
    reached = error(task, filled(found, start))
    assert error(task, pruned(found, start, asked)) == pytest.approx(reached, rel=0.05)
    assert reached < 0.85 * error(task, pruned(run(name, start, asked, epochs=0), start, asked))


SETTINGS: dict[str, dict[str, Any]] = {"admm": {"rho_growth": 1.5}, "slr": {"s0": 0.3}}


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
@pytest.mark.parametrize("name", METHODS)
def test_killed_after_any_epoch_it_ends_at_the_same_bits(name: str, structure: str, network: Classifier) -> None:
    def work(progress: Progress) -> Outcome:
        return run(name, network, problem(structure=structure, progress=progress), **SETTINGS[name])

    undisturbed = work(NOWHERE)
    for epoch in (1, 2, 3):
        assert same(undisturbed, killed_after(epoch, work, epochs=3)), epoch


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", METHODS)
def test_killed_within_an_epoch_it_ends_at_the_same_bits(name: str, optimizer: str, network: Classifier) -> None:
    def work(progress: Progress) -> Outcome:
        return run(name, network, problem(progress=progress), optimizer=optimizer, **SETTINGS[name])

    undisturbed = work(NOWHERE)
    for saved in (2, 5, 6):  # of 3 steps and an end of each epoch: within the first, and the second
        before = Keeper(last=saved, is_due=True)
        with pytest.raises(KilledError):
            work(before)
        assert same(undisturbed, work(Keeper(before.kept))), saved


def test_conditions_are_taken_beside_the_training_and_change_nothing_of_it(network: Classifier) -> None:
    # ADMM asks nothing of them, so that its weights are the same whatever they are taken on.
    few, many = (run("admm", network, problem(), condition_images=images) for images in (3, 12))
    assert equal(few.state, many.state)
    assert few.tables["multipliers"]["loss"].tolist() != many.tables["multipliers"]["loss"].tolist()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["clean", "attacked", "both"])
def test_the_last_line_tells_what_the_network_reaches_in_eval_mode(name: str, kind: str, network: Classifier) -> None:
    objective = Objective(task=TASK, attack=None if kind == "clean" else ATTACK, clean_too=kind == "both")
    asked = problem(objective=objective)
    found = run(name, network, asked, batch_size=12, condition_images=8)
    ((inputs, targets),) = TASK.batches(12, images=8)
    lines, cut = found.tables["multipliers"], pruned(found, network, asked)
    loss = objective(filled(found, network), inputs, targets)
    assert lines["loss"][-1] == pytest.approx(loss.item(), rel=1e-5)
    with statistics_of(inputs, cut, TASK):
        loss = objective(cut, inputs, targets)
        seen = inputs if kind == "clean" else objective.attacked(cut, inputs, targets)
        right = float((cut(seen).argmax(dim=1) == targets).float().mean())
    assert lines["loss_hard"][-1] == pytest.approx(loss.item(), rel=1e-5)
    assert found.tables["hard_accuracies"]["accuracy"][-1] == pytest.approx(right)


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4])])
def test_there_is_a_line_per_update(every: int, epochs: list[int], network: Classifier) -> None:
    for name in METHODS:
        found = run(name, network, problem(), epochs=5, every_epochs=every)
        assert {table: columns["epoch"].tolist() for table, columns in found.tables.items()} == {
            "multipliers": epochs,
            "hard_accuracies": epochs,
        }
        declared = INITIALIZERS[name].tables
        assert {table: list(columns) for table, columns in found.tables.items()} == {
            table: list(columns) for table, columns in declared.items()
        }
        for table, columns in found.tables.items():
            assert all(values.dtype == declared[table][column] for column, values in columns.items())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slr", {"epochs": 2, "every_epochs": 5}, "every_epochs is 5, expected at most epochs, 2"),
        ("slr", {"rho": 1e39}, "rho is 1e\\+39, expected"),
        ("admm", {"epochs": 200, "rho_growth": 2.0}, "rho is 1, expected"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        INITIALIZERS[name].settings(**options)


def test_updates_far_apart_leave_rho_small() -> None:
    INITIALIZERS["admm"].settings.model_validate({"epochs": 200, "every_epochs": 20, "rho_growth": 2.0})
    INITIALIZERS["slr"].settings.model_validate({"epochs": 0, "every_epochs": 5})


def test_admm_moves_once_a_turn_and_slr_as_often_as_conditions_hold(network: Classifier) -> None:
    admm = run("admm", network, problem(), epochs=6, rho=0.2, rho_growth=1.5).tables["multipliers"]
    assert admm["k"].tolist() == [1, 2, 3, 4, 5, 6]
    assert admm["s"].tolist() == pytest.approx([0.2 * 1.5**turn for turn in range(6)])
    slr = run("slr", network, problem(), epochs=6).tables["multipliers"]
    assert np.diff(slr["k"], prepend=0).tolist() == (slr["c1"].astype(int) + slr["c2"]).tolist()
    assert not (slr["c2"] & ~slr["c1"]).any()


def test_where_the_weights_got_worse_slr_leaves_the_multipliers(network: Classifier) -> None:
    # Steps so long that the loss rises.
    lines = run("slr", network, problem(), epochs=6, learning_rate=0.6, rho=1e-6).tables["multipliers"]
    assert not lines["c1"].all()
    assert (np.diff(lines["k"], prepend=0)[~lines["c1"]] == 0).all()


def test_of_a_task_without_right_and_wrong_no_accuracy_is_told() -> None:
    task = regression()
    asked = problem(task=task, objective=Objective(task=task))
    assert list(run("slr", task.fresh(0), asked).tables) == ["multipliers"]


def test_a_loss_that_is_no_number_is_told(network: Classifier) -> None:
    with torch.no_grad():
        network.get_parameter("network.0.0.weight").fill_(torch.nan)
    with pytest.raises(DivergedError, match="the loss became nan on the images that conditions are taken on"):
        run("slr", network, problem())


@pytest.mark.parametrize("attack", [None, AttackWork(4, "2 steps")])
def test_its_work_is_that_of_a_training(attack: AttackWork | None) -> None:
    for name in METHODS:
        method = INITIALIZERS[name]
        assert method.work is not None
        settings: dict[str, Any] = {"epochs": 7}
        told = method.work(method.settings(**settings), forward=3.0, images=50, attack=attack, clean_too=False)
        expected = training("?", forward=3.0, images=50, epochs=7, attack=attack, clean_too=False)
        assert told.operations == expected.operations
        assert told.description.startswith(f"{name}'s training: 7 epochs of 50 images")
