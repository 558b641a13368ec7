"""Every task as its study makes it, with a network and a batch: what parts compare, time and fill memory with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.gpu.figures import Sizes
from robustprune.attacks import attack_work
from robustprune.core.arrays import to_arrays
from robustprune.core.operations import training_passes
from robustprune.core.randomness import generator_for
from robustprune.inference.cost import size
from robustprune.studies.classification.study import ClassificationStudy
from robustprune.studies.detection.study import DetectionStudy
from robustprune.studies.pruning_study import PruningStudy
from robustprune.training import Objective


class Problem(NamedTuple):
    """A network to train adversarially.

    Attributes:
        name: of the network and its images' size.
        study: whose settings say how.
        cell: a point of its grid.
        task: a `robustprune.task.Task`, on a device.
        image_size: side of its square images.
        clean_too: training sees clean images beside the attacked ones.
    """

    name: str
    study: PruningStudy
    cell: dict[str, Any]
    task: Any
    image_size: int
    clean_too: bool

    def on(self, device: str | torch.device) -> Problem:
        """Return the same on another device."""
        return self._replace(task=replace(self.task, device=torch.device(device)))

    def network(self) -> nn.Module:
        """Return a network whose batch norms have seen a batch, in eval mode; always the same one."""
        cpu = self.on("cpu").task
        network = cpu.fresh(0)
        with torch.no_grad():
            for _ in range(3):
                cpu.outputs(network.train(), self.on("cpu").batch(8).inputs, {})
        return self.task.restored(to_arrays(network.state_dict()))  # type: ignore[no-any-return]

    def batch(self, count: int) -> Any:
        """Return so many training images with their targets, always the same ones, on the device."""
        return next(iter(self.task.batches(count, generator=generator_for(0, "benchmark"))))

    def objective(self, *, attacked: bool = True) -> Objective:
        """Return what training lowers; random starts are always the same."""
        return self.study.objective(self.task, generator_for(0, "attack"), attacked=attacked)

    def step_operations(self) -> float:
        """Return the floating-point operations of an adversarial training step, per image."""
        with torch.device("meta"):
            network = self.task.build()
            side = self.image_size
            forward = 2.0 * size(network, torch.zeros(1, 3, side, side)).macs
        settings: Any = self.study.settings
        attack = settings.attack if isinstance(self.study, DetectionStudy) else settings.adversary
        return training_passes(attack_work(attack), clean_too=self.clean_too) * forward


class Trainer:
    """A network and its optimizer, one adversarial step at a time, as `training.loop` takes them."""

    def __init__(self, problem: Problem) -> None:
        """Make a network, of random weights."""
        self.network = problem.task.fresh(0)
        self._objective = problem.objective()
        self._settings: Any = problem.study.settings.pretrain
        self._optimizer = self._settings.optimizer(self.network.parameters())

    def step(self, batch: Any) -> torch.Tensor:
        """Train on a batch; return its loss, for which nobody has waited."""
        self.network.train()
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._objective(self.network, *batch)
        loss.backward()
        if self._settings.largest_gradient is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._settings.largest_gradient)
        self._optimizer.step()
        return loss.detach()


def problems(sizes: Sizes, device: str) -> Iterator[Problem]:
    """Yield a small problem of every task, and of classification one per network."""
    yield detection(sizes.small_detector, sizes.small_image_size, sizes, device)
    for model in sizes.models:
        yield classification(model, sizes, device)


def detection(config: str, image_size: int, sizes: Sizes, device: str) -> Problem:
    """Return a detector's problem, with the reference study's training and attack; images are generated."""
    training = {"epochs": 1, "batch_size": sizes.batch, "learning_rate": 1e-4, "schedule": "constant"}
    settings = DetectionStudy.Settings.model_validate(
        {
            "dataset": {"name": "shapes", "train_images": sizes.images, "val_images": 4, "image_size": 64},
            "detector": {"config": config, "image_size": image_size},
            "attack": {"steps": sizes.attack_steps},
            "base": training,
            "pretrain": training,
            "finetune": training,
            "initializers": {name: {"images": 4} for name in ("hydra", "deeplift", "taylor")},
            "threads": torch.get_num_threads(),
        }
    )
    study = DetectionStudy(settings)
    cell: dict[str, Any] = {
        "structure": "unstructured",
        "initializer": "hydra",
        "colour": "rgb",
        "seed": 0,
        "ratio": 0.5,
    }
    found = Problem(f"{config} {image_size}", study, cell, study.task(cell), image_size, clean_too=True)
    return found.on(device)


def classification(model: str, sizes: Sizes, device: str) -> Problem:
    """Return a classifier's problem; images of 32 pixels are generated."""
    training = {"epochs": 1, "batch_size": sizes.model_batch, "learning_rate": 0.01, "schedule": "constant"}
    settings = ClassificationStudy.Settings.model_validate(
        {
            "dataset": {"name": "emblems", "train_images": 3 * sizes.images, "test_images": 6, "image_size": 32},
            "normalisation": "cifar10",
            "pretrain": training,
            "retrain": training,
            "adversary": {"steps": sizes.attack_steps, "epsilon": 0.03, "step_size": 0.01},
            "initializers": {name: {"images": 4} for name in ("hydra", "deeplift", "taylor")},
            "evaluation": {"attack": {"name": "fgsm"}, "distances": [{"name": "ddn", "steps": 2}]},
            "threads": torch.get_num_threads(),
        }
    )
    study = ClassificationStudy(settings)
    cell: dict[str, Any] = {"model": model, "training": "adversarial", "structure": "channels", "initializer": "hydra"}
    cell |= {"scope": "layer", "seed": 0, "ratio": 0.5}
    return Problem(f"{model} 32", study, cell, study.task(cell), 32, clean_too=False).on(device)
