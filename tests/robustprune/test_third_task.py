"""A third task runs through every method, structure and loop as it is, to results that are known in closed form."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import PgdSettings, configured, pgd
from robustprune.core.arrays import to_arrays
from robustprune.core.errors import InputError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.settings import Settings
from robustprune.inference.cost import cost
from robustprune.methods import INITIALIZERS, Problem, handed, initializer_settings
from robustprune.structures import SCOPES, STRUCTURES, Masks, draw_masks
from robustprune.structures import masks as masking
from robustprune.structures.groups import decided_layers
from robustprune.structures.masks import keep_count
from robustprune.structures.removal import channel_counts, kept_decisions, remove
from robustprune.studies.pruning.axes import INITIALIZER, RATIO, SCOPE, SEED, STRUCTURE
from robustprune.studies.pruning_study import PruningStudy
from robustprune.task import Task, first_images
from robustprune.training import Objective, train
from tests.robustprune.methods.fitting import FITTING
from tests.robustprune.training.keeper import killed_after
from tests.support.linear_regression import GradientDescent, LinearRegression

EXAMPLES, INPUTS, HIDDEN = 48, 5, 12
EPSILON = 0.05

InitializerSettings = initializer_settings()


def regression(*, hidden: int = 0, outputs: int = 1) -> LinearRegression:
    """Return numbers that are nearly linear in vectors of [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(EXAMPLES, INPUTS, generator=generator)
    slopes = torch.randn(INPUTS, outputs, generator=generator)
    noise = 0.1 * torch.randn(EXAMPLES, outputs, generator=generator)
    return LinearRegression(inputs=inputs, targets=inputs @ slopes + noise, hidden=hidden)


def problem(task: Task, **options: Any) -> Problem:
    defaults: dict[str, Any] = {"objective": Objective(task=task), "generator": torch.Generator().manual_seed(0)}
    return Problem(task=task, **{**defaults, **options})


def score(name: str, network: nn.Module, asked: Problem, **settings: Any) -> dict[str, Tensor]:
    method = INITIALIZERS[name]
    return dict(method.outcome(network, asked, method.settings(**settings)).scores)


def masks_of(name: str, network: nn.Module, task: Task, structure: str, *, ratio: float, scope: str) -> Masks:
    """Score, and return what stays, with a network that may come out requiring gradients."""
    method = INITIALIZERS[name]
    seen = structure if method.per_structure or method.per_ratio else None
    asked = problem(task, structure=seen, scope=scope, ratio=ratio, comparable=method.comparable)
    settings = {"hydra": {"epochs": 30, "learning_rate": 0.05}}.get(name, {})
    scores = score(name, network, asked, **settings)
    groups = task.coupled_groups(network) if STRUCTURES[structure].coupled else []
    if groups:  # of a method that does not look at structures there may be more
        scores = {layer: scores[layer] for layer in decided_layers(network, groups)}
    return draw_masks(structure, scores, ratio, groups=groups, scope=scope, comparable=method.comparable)


def fitted(task: LinearRegression, *, epochs: int = 400, masks: Masks | None = None, **options: Any) -> nn.Module:
    """Return a network after many steps along the whole gradient."""
    network = options.pop("network", None) or task.fresh(0)
    settings = GradientDescent(epochs=epochs, batch_size=EXAMPLES, learning_rate=0.1, weight_decay=0, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    masking.apply(masks or {}, network)
    train(
        network,
        objective=Objective(task=task),
        settings=settings,
        generator=generator,
        masks=masks,
        **options,
    )
    return network


def weight(network: nn.Module, name: str = "0") -> Tensor:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach()


def error(task: LinearRegression, network: nn.Module) -> float:
    return float(task.measure(network, seed=0)["error"])


def test_it_is_a_task() -> None:
    task: Task = regression()
    assert first_images(task, None) == first_images(task, 1000) == EXAMPLES
    assert first_images(task, 7) == 7
    assert len(list(task.batches(10))) == task.steps(EXAMPLES, 10) == 5


# Scores in closed form


@pytest.mark.parametrize("structure", [None, "unstructured"])
def test_the_magnitude_of_single_weights_is_that_of_the_matrix(structure: str | None) -> None:
    task = regression(outputs=3)
    network = task.fresh(0)
    assert torch.equal(score("magnitude", network, problem(task, structure=structure))["0"], weight(network).abs())


@pytest.mark.parametrize("structure", ["structured", "channels"])
def test_the_magnitude_of_a_hidden_unit_is_of_what_it_reads_and_what_reads_it(structure: str) -> None:
    task = regression(hidden=HIDDEN, outputs=2)
    network = task.fresh(0)
    found = score("magnitude", network, problem(task, structure=structure))
    norms = (weight(network).abs().sum(dim=1) + weight(network, "2").abs().sum(dim=0)) / 2
    torch.testing.assert_close(found, {"0": (norms / norms.mean())[:, None].expand(HIDDEN, INPUTS)})


@pytest.mark.parametrize("batch_size", [EXAMPLES, 16, 20])
def test_taylor_is_the_weight_times_the_gradient_of_the_squared_error(batch_size: int) -> None:
    task = regression(outputs=2)
    network = task.fresh(0)
    found = score("taylor", network, problem(task), batch_size=batch_size)
    expected = []
    for inputs, targets in task.batches(batch_size):
        with torch.no_grad():
            residuals = network(inputs) - targets
        expected.append((weight(network) * (2 / len(inputs) * residuals.T @ inputs)).abs())
    torch.testing.assert_close(found["0"], torch.stack(expected).mean(dim=0), rtol=1e-4, atol=1e-6)


def test_taylor_is_what_setting_a_weight_to_zero_adds_but_for_the_curvature() -> None:
    # The loss is quadratic: L(w − w) − L(w) = −w g + w² ⟨x²⟩ for a weight w of one output, exactly.
    task = regression()
    network = task.fresh(0)
    found = score("taylor", network, problem(task), batch_size=EXAMPLES)["0"][0]
    for index in range(INPUTS):
        without = copy.deepcopy(network)
        masking.apply({"0": torch.arange(INPUTS)[None] != index}, without)
        added = error(task, without) - error(task, network)
        curvature = float(weight(network)[0, index] ** 2 * task.inputs[:, index].square().mean())
        assert abs(added - curvature) == pytest.approx(float(found[index]), rel=1e-3, abs=1e-6)


def test_deeplift_is_the_weight_times_the_input() -> None:
    task = regression()
    network = task.fresh(0)
    found = score("deeplift", network, problem(task), images=EXAMPLES, batch_size=EXAMPLES, reference="zeros")
    expected = (weight(network) * task.inputs.sum(dim=0)).abs()
    torch.testing.assert_close(found["0"], expected, rtol=1e-5, atol=1e-6)
    beside_the_mean = score("deeplift", network, problem(task), batch_size=EXAMPLES)
    assert beside_the_mean["0"].abs().max() < 1e-4  # differences from the mean add up to nothing


def test_deeplift_refuses_what_the_task_cannot_explain() -> None:
    task = regression(outputs=2)
    with pytest.raises(InputError, match="found 2 numbers to explain, expected one"):
        score("deeplift", task.fresh(0), problem(task))
    check = INITIALIZERS["deeplift"].check
    assert check is not None
    with pytest.raises(InputError, match="expected one"):
        check(task, task.fresh(0))


def test_hydra_starts_at_the_magnitudes_and_its_first_step_follows_the_gradient() -> None:
    task = regression()
    network = task.fresh(0)
    asked = problem(task, structure="unstructured", ratio=0.4)
    plain: dict[str, Any] = {"learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "batch_size": EXAMPLES}
    start = score("hydra", network, asked, epochs=0, **plain)["0"]
    matrix = weight(network)
    torch.testing.assert_close(start, (6 / INPUTS) ** 0.5 * matrix.abs() / matrix.abs().max())
    kept = matrix * (matrix.abs() >= matrix.abs().flatten().sort().values[-keep_count(0.4, INPUTS)])
    residuals = task.inputs @ kept.T + network.get_parameter("0.bias").detach() - task.targets
    gradient = 2 / EXAMPLES * residuals.T @ task.inputs
    # Straight through the mask: to each score sign(s) W times the gradient of the weights that took part.
    expected = (start * matrix.sign() - matrix.sign() * matrix * gradient).abs()
    torch.testing.assert_close(score("hydra", network, asked, epochs=1, **plain)["0"], expected, rtol=1e-4, atol=1e-5)


# What scores are good for


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_what_hydra_keeps_loses_less_than_what_chance_keeps(structure: str) -> None:
    task = regression(hidden=HIDDEN)
    network = fitted(task)

    def masked(name: str) -> float:
        pruned = copy.deepcopy(network)
        masking.apply(masks_of(name, pruned, task, structure, ratio=0.5, scope="layer"), pruned)
        return error(task, pruned)

    assert error(task, network) < masked("hydra") < 0.5 * masked("random")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("name", "structure"), FITTING)
def test_every_initializer_serves_every_structure_and_scope_and_what_is_pruned_stays_so(
    name: str, structure: str, scope: str
) -> None:
    task = regression(hidden=HIDDEN)
    network = fitted(task, epochs=20)
    before = to_arrays(network.state_dict())
    masks = masks_of(name, network, task, structure, ratio=0.5, scope=scope)
    for entry, array in to_arrays(network.state_dict()).items():
        assert (array == before[entry]).all()
    assert masks.keys() == ({"0"} if STRUCTURES[structure].coupled else {"0", "2"})
    groups = task.coupled_groups(network)
    if STRUCTURES[structure].removes:
        kept = kept_decisions(groups, masks)
        remove(groups, kept)
        assert channel_counts(kept) == (HIDDEN, HIDDEN // 2, HIDDEN // 2, 0)
        assert network.get_submodule("2").in_features == len(weight(network)) == HIDDEN // 2
        return
    dropped = sum(int((~mask).sum()) for mask in masks.values())
    assert dropped == sum(mask.numel() for mask in masks.values()) // 2
    start = error(task, fitted(task, network=copy.deepcopy(network), epochs=0, masks=masks))
    fitted(task, network=network, epochs=20, masks=masks)
    for layer, mask in masks.items():
        assert torch.equal(weight(network, layer) != 0, mask)
    assert error(task, network) < start
    counted = cost(network, masks, torch.zeros(1, INPUTS))
    assert counted.macs_dense == HIDDEN * (INPUTS + 1)
    assert counted.macs == counted.macs_dense - dropped


def test_hidden_units_that_leave_take_what_reads_them_along() -> None:
    task = regression(hidden=HIDDEN)
    network = task.fresh(0)
    groups = task.coupled_groups(network)
    assert list(decided_layers(network, groups)) == ["0"]
    masks = {"0": (torch.arange(HIDDEN) % 3 == 0)[:, None].expand(HIDDEN, INPUTS)}
    masked = copy.deepcopy(network)
    with torch.no_grad():
        masked.get_parameter("2.weight")[:, torch.arange(HIDDEN) % 3 != 0] = 0
    remove(groups, kept_decisions(groups, masks))
    torch.testing.assert_close(network(task.inputs), masked(task.inputs))
    assert cost(network, {}, torch.zeros(1, INPUTS)).macs == HIDDEN // 3 * (INPUTS + 1)


# Training


def least_squares(task: LinearRegression, kept: list[int]) -> Tensor:
    """Return slopes, of the inputs that are kept, and intercept."""
    inputs = torch.cat([task.inputs[:, kept], torch.ones(EXAMPLES, 1)], dim=1)
    solution: Tensor = torch.linalg.lstsq(inputs.double(), task.targets.double()).solution
    return solution.float()


@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4], [1, 4]], ids=["all", "masked"])
def test_training_ends_at_the_least_squares_solution_of_the_weights_that_are_kept(kept: list[int]) -> None:
    task = regression(outputs=2)
    mask = torch.zeros(2, INPUTS, dtype=torch.bool)
    mask[:, kept] = True
    network = fitted(task, masks={"0": mask})
    solution = least_squares(task, kept)
    torch.testing.assert_close(weight(network)[:, kept].T, solution[:-1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(network.get_parameter("0.bias").detach(), solution[-1], rtol=1e-3, atol=1e-3)
    assert torch.equal(weight(network) != 0, mask)
    assert not network.training


def test_masks_hold_after_every_epoch() -> None:
    task = regression(hidden=HIDDEN)
    masks = masks_of("random", task.fresh(0), task, "unstructured", ratio=0.7, scope="global")
    seen: list[bool] = []

    def holds(network: nn.Module) -> float:
        seen.append(all(torch.equal(weight(network, name) != 0, mask) for name, mask in masks.items()))
        return float(len(seen))

    fitted(task, epochs=10, masks=masks, chosen_by=holds)
    assert seen == [True] * 10


def test_the_best_epoch_is_kept() -> None:
    task = regression()
    errors: list[float] = []

    def reached(network: nn.Module) -> float:
        errors.append(error(task, network))
        return -errors[-1] if len(errors) < 6 else -10.0

    network = fitted(task, epochs=10, chosen_by=reached)
    assert error(task, network) == min(errors[:5])


def test_a_training_that_was_cut_off_ends_at_the_same_bits() -> None:
    task = regression(hidden=HIDDEN)

    def work(progress: Progress) -> Tensor:
        return weight(fitted(task, epochs=4, progress=progress))

    assert torch.equal(killed_after(2, work, epochs=4), work(NOWHERE))


# Under attack


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_finds_the_worst_vector_of_the_ball(random_start: bool) -> None:
    # The residual r = w x + b − y only grows along sign(r) sign(w): a corner of the box, cut at 0 and 1, is the worst.
    task = regression()
    network = task.fresh(0)
    generator = torch.Generator().manual_seed(0)
    restarts = 5 if random_start else 1
    settings = PgdSettings(epsilon=EPSILON, step_size=EPSILON, steps=4, random_start=random_start, restarts=restarts)
    objective = Objective(task=task, attack=configured(settings, generator))
    attacked = objective.attacked(network, task.inputs, task.targets)
    corners = [(task.inputs + sign * EPSILON * weight(network).sign()).clamp(0, 1) for sign in (-1, 1)]
    with torch.no_grad():
        residuals = [network(corner) - task.targets for corner in corners]
        clean = network(task.inputs) - task.targets
        worst = torch.maximum(*[residual.abs() for residual in residuals])
        found = (network(attacked) - task.targets).abs()
    assert attacked.shape == task.inputs.shape
    if not random_start:
        # From the vector itself, on the side that it is on.
        expected = torch.where(clean > 0, corners[1], corners[0])
        torch.testing.assert_close(attacked, expected)
    else:
        torch.testing.assert_close(found, worst)
    assert (found >= clean.abs()).all()


def test_the_objective_under_attack_is_the_loss_of_the_worst_vectors() -> None:
    task = regression()
    network = task.fresh(0)
    attack = partial(pgd, epsilon=EPSILON, step_size=EPSILON, steps=1)
    attacked = Objective(task=task, attack=attack).attacked(network, task.inputs, task.targets)
    with torch.no_grad():
        clean, robust = (task.loss(network(inputs), task.targets) for inputs in (task.inputs, attacked))
    for clean_too, expected in ((False, robust), (True, clean + robust)):
        objective = Objective(task=task, attack=attack, clean_too=clean_too)
        torch.testing.assert_close(objective(network, task.inputs, task.targets).detach(), expected)
    assert robust > clean


def test_taylor_under_attack_is_of_the_loss_under_attack() -> None:
    task = regression()
    network = task.fresh(0)
    objective = Objective(task=task, attack=partial(pgd, epsilon=EPSILON, step_size=EPSILON, steps=1))
    found = score("taylor", network, problem(task, objective=objective), batch_size=EXAMPLES)["0"]
    attacked = objective.attacked(network, task.inputs, task.targets)
    with torch.no_grad():
        residuals = network(attacked) - task.targets
    expected = (weight(network) * (2 / EXAMPLES * residuals.T @ attacked)).abs()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


# A study of it


class RegressionSettings(Settings):
    initializers: InitializerSettings = InitializerSettings()  # type: ignore[valid-type]


class RegressionStudy(PruningStudy):
    """All that a third task has to say to be scored and pruned in a sweep."""

    Settings = RegressionSettings
    axes = (STRUCTURE, INITIALIZER, SCOPE, SEED, RATIO)

    def task(self, cell: Mapping[str, Any]) -> LinearRegression:
        return regression(hidden=HIDDEN)

    def objective(self, task: Task, generator: torch.Generator, *, attacked: bool) -> Objective:
        attack = configured(PgdSettings(epsilon=EPSILON, step_size=EPSILON, steps=1), generator)
        return Objective(task=task, attack=attack, clean_too=True) if attacked else Objective(task=task)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("name", "structure"), FITTING)
def test_a_study_of_it_scores_and_prunes_with_what_all_studies_share(name: str, structure: str, scope: str) -> None:
    study = RegressionStudy(RegressionSettings())
    cell: dict[str, Any] = {"structure": structure, "initializer": name, "scope": scope, "seed": 0, "ratio": 0.5}
    task = study.task(cell)
    network = fitted(task, epochs=5)
    checkpoint = to_arrays(network.state_dict())
    scores = study.score(cell, checkpoint)
    assert all(np.array_equal(scores[layer], again) for layer, again in study.score(cell, checkpoint).items())
    pruned = study.prune(network, cell, scores, task=task)
    left = HIDDEN // 2
    if INITIALIZERS[name].prunes == "operations":  # of which each hidden unit has as many
        left = round(HIDDEN * (1 - handed(scores).columns["operations_reached"]))
        assert left <= HIDDEN // 2
    assert pruned.channels == ((HIDDEN, left, left, 0) if STRUCTURES[structure].coupled else None)
    if STRUCTURES[structure].removes:
        assert pruned.masks == {}
        assert len(weight(network)) == left
    for layer, mask in pruned.masks.items():
        before = handed(scores).state or checkpoint  # of a network that the method has trained, its own
        assert torch.equal(weight(network, layer), torch.tensor(before[f"{layer}.weight"]) * mask)
