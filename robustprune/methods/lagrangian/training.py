"""The training that ADMM and SLR are: weights are drawn to their pruned copy, and from time to time it follows them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robustprune.core.errors import DivergedError
from robustprune.core.operations import AttackWork, Work, training
from robustprune.core.randomness import drawing_from
from robustprune.methods.lagrangian.projection import Projection
from robustprune.methods.lagrangian.settings import LagrangianSettings
from robustprune.methods.lagrangian.splitting import Splitting
from robustprune.methods.lagrangian.updates import Rule, Turns
from robustprune.methods.outcome import Outcome
from robustprune.methods.problem import Problem
from robustprune.task import first_images
from robustprune.training import train
from robustprune.training.batch_norm import statistics_of
from robustprune.training.companion import Companion

TABLES: dict[str, dict[str, type]] = {
    "multipliers": {
        "epoch": np.int32,
        "k": np.int32,
        "s": float,
        "alpha": float,
        "gap": float,
        "c1": bool,
        "c2": bool,
        "loss": float,
        "loss_hard": float,
    },
    "hard_accuracies": {"epoch": np.int32, "accuracy": float},
}

MEANINGS = {
    "multipliers": "one line per update of the multipliers of admm or slr",
    "multipliers.epoch": "after which the update was",
    "multipliers.k": "moves of the multipliers so far",
    "multipliers.s": "step length of the last move",
    "multipliers.alpha": "what that move was shortened by",
    "multipliers.gap": "norm of the difference of the weights and their pruned copy, after the update",
    "multipliers.c1": "whether the weights were better than those of the last update: condition (6)",
    "multipliers.c2": "whether the new copy was better than the last: condition (11)",
    "multipliers.loss": "of the weights, on the images of the conditions",
    "multipliers.loss_hard": "of the weights cut down to what is kept, on the same images, with statistics of theirs",
    "hard_accuracies": "one line per update of admm or slr, where answers are right or wrong",
    "hard_accuracies.epoch": "after which the update was",
    "hard_accuracies.accuracy": "share of the images of the conditions that the weights get right that are kept",
}


def driven(network: nn.Module, problem: Problem, settings: LagrangianSettings, rule: Rule) -> Outcome:
    """Return a network of whose weights few are far from zero, by scores whose support is what pruning keeps.

    The state is the network's as it was trained, all of its weights among it: pruning cuts them down to Π(W).

    Args:
        network: to start from; left as it is.
        problem: with a structure and a ratio.
        settings: of the training.
        rule: how multipliers move.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    network = copy.deepcopy(network).requires_grad_(True)
    projection = Projection(network, problem)
    beside = _Multipliers(network, projection, problem, settings, rule)
    train(
        network,
        objective=problem.objective,
        settings=settings.training(),
        generator=problem.generator,
        companion=beside,
        progress=problem.progress,
    )
    scores = projection.scores({name: weight.detach() for name, weight in projection.parameters.items()})
    return Outcome(scores, state=network.state_dict(), tables=beside.tables())


class _Multipliers(Companion):
    """Adds the pull to every step's gradients, and lets copy and multipliers follow every so many epochs."""

    def __init__(
        self,
        network: nn.Module,
        projection: Projection,
        problem: Problem,
        settings: LagrangianSettings,
        rule: Rule,
    ) -> None:
        self._parameters = projection.parameters
        self._every = settings.every_epochs
        self._tells_accuracy = problem.task.has_logits
        self._projection = projection
        self._measured = _FixedImages(network, problem, settings)
        loss = self._measured({}).loss
        self._splitting = Splitting(self._parameters, projection, rho=rule.rho(0))
        self._turns = Turns(self._splitting, rule, loss=loss)
        lines = settings.epochs // settings.every_epochs
        # Of both tables, in turn.
        self._lines = torch.zeros(lines, sum(map(len, TABLES.values())), dtype=torch.float64)
        self.tensors = {**self._splitting.tensors, **self._turns.tensors, "lines": self._lines}

    def after_backward(self) -> None:
        gradients = []
        for parameter in self._parameters.values():
            if parameter.grad is None:  # of a layer that no output reads
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        self._splitting.add_pull(gradients)

    def after_epoch(self, epoch: int) -> None:
        if epoch % self._every:
            return
        loss = self._measured({}).loss
        update = self._turns.turn(loss)
        hard = self._measured(self._projection(self._splitting.weights))
        line = [epoch, *update, loss, hard.loss, epoch, hard.accuracy]
        self._lines[epoch // self._every - 1] = torch.tensor(line, dtype=torch.float64)

    def tables(self) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        columns = iter(self._lines.numpy().T)
        found = {
            table: {name: next(columns).astype(kind) for name, kind in kinds.items()} for table, kinds in TABLES.items()
        }
        if not self._tells_accuracy:
            del found["hard_accuracies"]
        return found


class _Reached(NamedTuple):
    """What some weights reach: the objective, and the share of right answers, NaN where the task has no such thing."""

    loss: float
    accuracy: float


class _FixedImages:
    """The first images of the training, as they are, on which weights are compared: in eval mode, and under an attack
    that starts alike every time.
    """

    def __init__(self, network: nn.Module, problem: Problem, settings: LagrangianSettings) -> None:
        self._network, self._problem = network, problem
        self._images = first_images(problem.task, settings.condition_images)
        self._batch_size = settings.batch_size

    def __call__(self, weights: Mapping[str, Tensor]) -> _Reached:
        """Return what the network reaches with these weights in place of its own, batch norm then taking its statistics
        from the images.

        Raises:
            DivergedError: the loss is NaN or infinite.
        """
        network, task = self._network, self._problem.task
        was_training = network.training
        network.eval()
        loss, right = 0.0, 0
        with self._drawing_alike():
            for inputs, targets in task.batches(self._batch_size, images=self._images):
                # Cut down, a network has other statistics; of one image there are none.
                is_cut = bool(weights) and len(inputs) > 1
                with statistics_of(inputs, network, task, weights) if is_cut else nullcontext():
                    mean, answers = self._loss_and_outputs(inputs, targets, weights)
                loss += mean * len(inputs)
                right += int((answers.argmax(dim=1) == targets).sum()) if task.has_logits else 0
        network.train(was_training)
        if not np.isfinite(loss):
            raise DivergedError(f"the loss became {loss} on the images that conditions are taken on")
        return _Reached(loss / self._images, right / self._images if task.has_logits else np.nan)

    def _loss_and_outputs(self, inputs: Tensor, targets: Any, weights: Mapping[str, Tensor]) -> tuple[float, Any]:
        """Return the objective of a batch, and what the network answers to it, attacked where it is."""
        network, objective = self._network, self._problem.objective
        seen = inputs if objective.attack is None else objective.attacked(network, inputs, targets, weights)
        with torch.no_grad():
            answers = objective.task.outputs(network, seen, weights)
        if objective.attack is None:
            return float(objective.task.loss(answers, targets)), answers
        return objective.of_attacked(network, inputs, seen, targets, weights).item(), answers

    @contextmanager
    def _drawing_alike(self) -> Iterator[None]:
        """Let attacks draw the same numbers every time, and the training none the fewer."""
        generator = self._problem.generator
        state = generator.get_state()
        generator.manual_seed(0)
        with drawing_from(generator, self._problem.task.device):
            yield
        generator.set_state(state)


def driven_work(
    kind: str,
    settings: LagrangianSettings,
    *,
    forward: float,
    images: int,
    attack: AttackWork | None,
    clean_too: bool = True,
) -> Work:
    """Return the work of such a training; that of conditions is small beside it."""
    return training(kind, forward=forward, images=images, epochs=settings.epochs, attack=attack, clean_too=clean_too)
