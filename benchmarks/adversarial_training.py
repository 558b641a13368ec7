"""Adversarial training: images per second of ours, of a textbook's loop, and of the arithmetic alone.

A step trains on a batch of clean images and on the same images under PGD. The textbook's loop computes every gradient
in every attack step, trains on clean and on attacked images in two passes, and keeps images and weights as PyTorch
makes them. Ours computes gradients of the images alone while it attacks, with batch norms folded into the convolutions,
and trains in one pass in channels-last memory, each convolution in the fastest of the ways there are
(`robustprune.training.convolutions`). Both run in this process, in turns with the two passes that the
arithmetic cannot do without, each alone: the network forward and back to its images, once per attack step, and once
forward and back to its weights, for clean and attacked images. Those add up to the floor.

`speedup_over_textbook` is the ratio of median times, `fraction_of_floor` the floor's time over ours. `loss` is the
objective in float32 after the same training, of `--loss-steps` steps on one batch, in each way: what a setting costs.
With `--settings all`, a row per setting: bfloat16, no channels-last, torch.compile (which takes a minute to compile).
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchmarks.output import parser, write
from robustprune.attacks import pgd
from robustprune.core.devices import device_name
from robustprune.core.memory import reuse_freed_memory
from robustprune.core.precision import Compute
from robustprune.core.timing import take_turns
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.folding import fold
from robustprune.detection.losses import ciou
from robustprune.detection.losses.assignment import assign
from robustprune.detection.task import DetectionTask
from robustprune.training import Objective
from robustprune.training.convolutions import FastConvolutions

EPSILON, STEP_SIZE = 0.05, 0.02
CLIP_NORM = 10.0
OBJECTS = 7
"""Per image, as in COCO."""


def main() -> None:
    """Time the loops and print a row per setting."""
    arguments = _command_line().parse_args()
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    detector = Detector.from_cfg(arguments.detector).to(device)
    images, targets = random_batch(arguments.batch, arguments.image_size, detector.heads[0].classes, device)
    textbook = Textbook(detector, arguments.attack_steps)
    textbook_loss = loss_after(textbook, images, targets, steps=arguments.loss_steps)
    about = {"detector": arguments.detector, "image_size": arguments.image_size, "batch": arguments.batch}
    rows = []
    for compute in _settings(arguments.settings):
        row = compared(
            detector,
            images,
            targets,
            compute,
            attack_steps=arguments.attack_steps,
            repeats=arguments.repeats,
            loss_steps=arguments.loss_steps,
        )
        rows.append({**about, **row, "threads": arguments.threads, "textbook_loss": textbook_loss})
        print(f"{rows[-1]['settings']}: done", file=sys.stderr)
    write(rows, arguments.format)


def compared(
    detector: Detector,
    images: Tensor,
    targets: Tensor,
    compute: Compute,
    *,
    attack_steps: int,
    repeats: int,
    loss_steps: int,
) -> dict[str, Any]:
    """Return one row: a setting of ours against the textbook's loop and the floor.

    Args:
        detector: not changed.
        images: (N, 3, S, S), on the detector's device.
        targets: (M, 6), as `random_batch` returns them.
        compute: the setting.
        attack_steps: of PGD.
        repeats: steps that are timed of each loop.
        loss_steps: of training, before the loss is told.
    """
    ours, textbook = Ours(detector, compute, attack_steps), Textbook(detector, attack_steps)
    floor = Floor(detector, compute, images)
    mine, theirs, attack_pass, full_pass = take_turns(
        [
            lambda: ours.step(images, targets),
            lambda: textbook.step(images, targets),
            floor.attack_pass,
            floor.full_pass,
        ],
        repeats=repeats,
        warm_up=1,
        device=images.device,
    )
    least = attack_steps * attack_pass.p50 + full_pass.p50
    return {
        "attack_steps": attack_steps,
        "settings": _name(compute),
        "device": device_name(images.device),
        "images_per_s": 1000 * len(images) / mine.p50,
        "textbook_images_per_s": 1000 * len(images) / theirs.p50,
        "floor_images_per_s": 1000 * len(images) / least,
        "speedup_over_textbook": theirs.p50 / mine.p50,
        "fraction_of_floor": least / mine.p50,
        "loss": loss_after(Ours(detector, compute, attack_steps), images, targets, steps=loss_steps),
    }


class Loop(Protocol):
    """A way to train a detector adversarially, under so many steps of an attack."""

    detector: Detector
    attack_steps: int

    def step(self, images: Tensor, targets: Tensor) -> None:
        """Train once on a batch."""


class Ours:
    """The step of `robustprune.training.loop`."""

    def __init__(self, detector: Detector, compute: Compute, steps: int) -> None:
        """Copy the detector, to train it under so many steps of an attack."""
        self.detector = _copy(detector, compute.memory_format)
        self._memory_format = compute.memory_format
        self.attack_steps = steps
        self._objective = objective_of(self.detector, compute, steps)
        self._optimizer = torch.optim.Adam(self.detector.parameters(), lr=1e-4, weight_decay=5e-4, fused=True)

    def step(self, images: Tensor, targets: Tensor) -> None:
        """Train once on a batch."""
        self.detector.train()
        self._optimizer.zero_grad(set_to_none=True)
        images = images.contiguous(memory_format=self._memory_format)
        assignments = assign(targets, self.detector.heads, images.shape[-1])
        self._objective(self.detector, images, assignments).backward()
        nn.utils.clip_grad_norm_(self.detector.parameters(), CLIP_NORM)
        self._optimizer.step()


class Textbook:
    """Adversarial training as tutorials write it."""

    def __init__(self, detector: Detector, steps: int) -> None:
        """Copy the detector, to train it under so many steps of an attack."""
        self.detector = _copy(detector, torch.contiguous_format)
        self.attack_steps = steps
        self._optimizer = torch.optim.Adam(self.detector.parameters(), lr=1e-4, weight_decay=5e-4)

    def step(self, images: Tensor, targets: Tensor) -> None:
        """Train once on a batch."""
        images = images.contiguous()
        self.detector.eval()
        attacked = images.clone()
        for _ in range(self.attack_steps):
            attacked.requires_grad_()
            self._loss(attacked, targets).backward()
            assert attacked.grad is not None
            attacked = attacked.detach() + STEP_SIZE * attacked.grad.sign()
            attacked = (images + (attacked - images).clamp(-EPSILON, EPSILON)).clamp(0, 1)
        self.detector.train()
        self._optimizer.zero_grad()
        (self._loss(images, targets) + self._loss(attacked, targets)).backward()
        nn.utils.clip_grad_norm_(self.detector.parameters(), CLIP_NORM)
        self._optimizer.step()

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        heads = self.detector.heads
        return ciou(self.detector(images), assign(targets, heads, images.shape[-1]), heads)


class Floor:
    """The passes of a step of ours, without loss, attack or optimizer."""

    def __init__(self, detector: Detector, compute: Compute, images: Tensor) -> None:
        """Copy the detector, to run passes of it on `images`, (N, 3, S, S)."""
        self._compute = compute
        self._detector = _copy(detector, compute.memory_format).train()
        network, tensors = fold(self._detector)
        self._network, self._tensors = network, compute.narrowed(tensors)
        self._images = images.contiguous(memory_format=compute.memory_format)
        self._both = torch.cat([self._images, self._images])
        self._convolutions = FastConvolutions()

    def attack_pass(self) -> None:
        """Go forward, and back to the images."""
        images = self._images.detach().requires_grad_()
        with self._convolutions:
            outputs = self._compute.outputs(self._network, self._tensors, images)
        torch.autograd.grad(_sum(outputs), images)

    def full_pass(self) -> None:
        """Go forward, and back to the weights, of twice as many images."""
        self._detector.zero_grad(set_to_none=True)
        with FastConvolutions():
            outputs = self._compute.outputs(self._detector, {}, self._both)
        _sum(outputs).backward()


def _sum(outputs: list[Tensor]) -> Tensor:
    return torch.stack([output.sum() for output in outputs]).sum()


def _copy(detector: Detector, memory_format: torch.memory_format) -> Detector:
    return copy.deepcopy(detector).to(memory_format=memory_format)


def loss_after(loop: Loop, images: Tensor, targets: Tensor, *, steps: int) -> float:
    """Return the robust objective, in float32, after so many steps of training."""
    for _ in range(steps):
        loop.step(images, targets)
    objective = objective_of(loop.detector, Compute(), loop.attack_steps)
    return float(objective(loop.detector, images, assign(targets, loop.detector.heads, images.shape[-1])).item())


def objective_of(detector: Detector, compute: Compute, steps: int) -> Objective:
    """Return loss(clean) + loss(attacked)."""
    task = DetectionTask.of(detector, image_size=detector.image_size[0], compute=compute)
    attack = partial(pgd, epsilon=EPSILON, step_size=STEP_SIZE, steps=steps)
    return Objective(task=task, attack=attack, clean_too=True)


def random_batch(count: int, image_size: int, classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return random images (N, 3, S, S) and targets (N · OBJECTS, 6)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, image_size, image_size, generator=generator)
    positions = torch.arange(count).repeat_interleave(OBJECTS)
    labels = torch.randint(classes, positions.shape, generator=generator)
    sides = 0.05 + 0.4 * torch.rand(len(positions), 2, generator=generator)
    centres = sides / 2 + (1 - sides) * torch.rand(len(positions), 2, generator=generator)
    targets = torch.cat([torch.stack([positions, labels], dim=1).float(), centres, sides], dim=1)
    return images.to(device), targets.to(device)


def _settings(which: str) -> Iterator[Compute]:
    yield Compute()
    if which == "all":
        yield Compute(channels_last=False)
        yield Compute(precision="bfloat16")
        yield Compute(compile=True)
        yield Compute(precision="bfloat16", compile=True)


def _name(compute: Compute) -> str:
    flags = {"channels_last": compute.channels_last, "compile": compute.compile}
    return " ".join([compute.precision, *(flag for flag, is_on in flags.items() if is_on)])


def _command_line() -> argparse.ArgumentParser:
    command_line = parser(__doc__)
    command_line.add_argument("--detector", default="yolov3-tiny", help="a Darknet .cfg, or the name of a bundled one")
    command_line.add_argument("--image-size", type=int, default=416, help="side of the images in pixels")
    command_line.add_argument("--batch", type=int, default=4, help="images of a step")
    command_line.add_argument("--attack-steps", type=int, default=5, help="of PGD")
    command_line.add_argument("--settings", choices=["default", "all"], default="default", help="what to measure")
    command_line.add_argument("--repeats", type=int, default=7, help="steps timed of each loop")
    command_line.add_argument("--loss-steps", type=int, default=10, help="of training, before the loss is compared")
    command_line.add_argument("--threads", type=int, default=1, help="of the CPU")
    return command_line


if __name__ == "__main__":
    main()
