"""What scoring costs beside training: a step of hydra, and an image that deeplift explains.

Two networks on random images: the detector of a .cfg, trained by Adam on loss(clean) + loss(attacked), and ResNet-18 on
images of 32 px, by SGD on the loss under attack, both under PGD. `hydra` is a step of its scores over a step of that
training, `clean` a step of training without an attack over the same, and `deeplift` what an image takes that is
explained (against zeros, in batches, the reference passed through anew in each) over what it takes in a clean step.
All take turns in one process, on the same batch: each figure is the ratio of medians. `control` is the training step
over that of a copy.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.adversarial_training import random_batch
from benchmarks.output import parser, write
from robustprune.attacks import pgd
from robustprune.classification import networks
from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.task import ClassificationTask
from robustprune.core.devices import device_name
from robustprune.core.memory import reuse_freed_memory
from robustprune.core.timing import take_turns
from robustprune.detection.darknet import Detector
from robustprune.detection.losses.assignment import assign
from robustprune.detection.task import DetectionTask
from robustprune.methods import Problem
from robustprune.methods.deeplift import contributions
from robustprune.methods.hydra import HydraSettings, Search
from robustprune.task import Task
from robustprune.training import Objective

ADAM = partial(torch.optim.Adam, lr=1e-4, weight_decay=5e-4)
SGD = partial(torch.optim.SGD, lr=1e-2, momentum=0.9, weight_decay=5e-4)


class Subject(NamedTuple):
    """A network to train and to score, and a batch of its task."""

    task: Task
    network: nn.Module
    inputs: Tensor
    targets: Any
    optimizer: Callable[..., torch.optim.Optimizer]
    clean_too: bool


def main() -> None:
    """Time the steps and print a row per structure."""
    arguments = _command_line().parse_args()
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.network == "resnet18":
        subject = classifier(arguments.batch, device)
    else:
        subject = detector(arguments.network, arguments.image_size, arguments.batch, device)
    rows = [measured(subject, structure, arguments) for structure in arguments.structures]
    about = {"network": arguments.network, "image_size": subject.inputs.shape[-1], "batch": arguments.batch}
    write([{**about, "device": device_name(device), **row, "n": arguments.repeats} for row in rows], arguments.format)


def measured(subject: Subject, structure: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the ratios for one structure that hydra scores for."""
    attack = partial(pgd, epsilon=0.05, step_size=0.02, steps=arguments.attack_steps)
    objective = Objective(task=subject.task, attack=attack, clean_too=subject.clean_too)
    problem = Problem(
        task=subject.task,
        objective=objective,
        generator=torch.Generator(),
        structure=structure,
        ratio=arguments.ratio,
        comparable=True,
    )
    search = Search(subject.network, problem, HydraSettings(), steps=1000)
    layers = list(subject.task.prunable_layers(subject.network))
    times = take_turns(
        [
            _training_step(subject, objective),
            _training_step(subject, Objective(task=subject.task)),
            partial(search.step, subject.inputs, subject.targets),
            lambda: contributions(
                subject.task,
                subject.network,
                subject.inputs,
                subject.targets,
                reference=torch.zeros((), device=subject.inputs.device),
                layers=layers,
            ),
            _training_step(subject, objective),
        ],
        repeats=arguments.repeats,
        warm_up=1,
        device=subject.inputs.device,
    )
    adversarial, clean, hydra, deeplift, control = (each.p50 for each in times)
    return {
        "structure": structure,
        "ratio": arguments.ratio,
        "hydra": hydra / adversarial,
        "clean": clean / adversarial,
        "deeplift": deeplift / clean,
        "control": adversarial / control,
    }


def _training_step(subject: Subject, objective: Objective) -> Callable[[], None]:
    network = copy.deepcopy(subject.network).train()
    optimizer = subject.optimizer(network.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objective(network, subject.inputs, subject.targets).backward()
        optimizer.step()

    return step


def detector(config: str, image_size: int, batch: int, device: torch.device) -> Subject:
    """Return a detector of a .cfg, and random objects."""
    network = Detector.from_cfg(config).to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    images, targets = random_batch(batch, image_size, network.heads[0].classes, device)
    assignments = assign(targets, network.heads, image_size)
    images = images.contiguous(memory_format=torch.channels_last)
    return Subject(DetectionTask.of(network, image_size=image_size), network, images, assignments, ADAM, True)


def classifier(batch: int, device: torch.device) -> Subject:
    """Return ResNet-18 for images of 32 px, and random labels."""
    pixels, labels = torch.randint(256, (batch, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (batch,))
    images = LabelledImages(pixels=pixels, labels=labels, classes=tuple("0123456789"))

    def build() -> Classifier:
        return Classifier(networks.build("resnet18", classes=10, image_size=32), CIFAR10, classes=images.classes)

    task = ClassificationTask(build=build, load=lambda _: images, holdout=0.1, image_size=32, device=device)
    network = task.fresh(0).eval()
    inputs = (pixels / 255).to(device, memory_format=torch.channels_last)
    return Subject(task, network, inputs, labels.to(device), SGD, False)


def _command_line() -> argparse.ArgumentParser:
    options = parser(__doc__)
    options.add_argument("--network", default="yolov3-tiny", help="resnet18, a bundled .cfg or a file (%(default)s)")
    options.add_argument("--image-size", type=int, default=416, help="of a detector's images, in pixels (%(default)s)")
    options.add_argument("--batch", type=int, default=8, help="images (%(default)s)")
    options.add_argument("--attack-steps", type=int, default=5, help="of PGD (%(default)s)")
    options.add_argument(
        "--structures", nargs="+", default=["unstructured"], help="that hydra scores for (%(default)s)"
    )
    options.add_argument("--ratio", type=float, default=0.75, help="that hydra prunes (%(default)s)")
    options.add_argument("--repeats", type=int, default=7, help="steps that are timed (%(default)s)")
    options.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    return options


if __name__ == "__main__":
    main()
