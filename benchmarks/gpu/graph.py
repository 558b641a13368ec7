"""A training step that is recorded once as a CUDA graph and replayed: what launching its kernels one by one costs.

A graph has static inputs, and nothing in it may wait for the GPU. So images and the anchors that answer for their
objects are those of one batch, the attack does not check that pixels are in [0, 1], and Adam keeps its count of steps
on the device. On the CPU, which has no graphs, the same step runs as it is.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from benchmarks.adversarial_training import CLIP_NORM, EPSILON, STEP_SIZE
from robustprune.attacks.loss import AttackLoss
from robustprune.core.precision import Compute
from robustprune.detection.darknet import Detector
from robustprune.detection.losses.assignment import assign
from robustprune.detection.task import DetectionTask
from robustprune.training import Objective

WARM_UP = 3
"""Steps before a recording, so that libraries have chosen their kernels and taken their memory."""


class GraphedStep:
    """The step of `benchmarks.adversarial_training.Ours`, of one batch for ever."""

    def __init__(
        self, detector: Detector, images: Tensor, targets: Tensor, compute: Compute, *, attack_steps: int
    ) -> None:
        """Copy the detector, and record a step where there are graphs; the copy is as good as untrained after."""
        self.detector = copy.deepcopy(detector).to(memory_format=compute.memory_format)
        self.attack_steps = attack_steps
        self.is_graph = images.device.type == "cuda"
        self._images = images.contiguous(memory_format=compute.memory_format)
        self._assignments = assign(targets, detector.heads, images.shape[-1])
        task = DetectionTask.of(self.detector, image_size=images.shape[-1], compute=compute)
        self._objective = Objective(task=task, attack=self._attack, clean_too=True)
        self._optimizer = torch.optim.Adam(
            self.detector.parameters(), lr=1e-4, weight_decay=5e-4, capturable=self.is_graph
        )
        if self.is_graph:
            self._record()

    def step(self, images: Tensor, targets: Tensor) -> None:
        """Train once on the batch, which the arguments are expected to be."""
        if self.is_graph:
            self._graph.replay()
        else:
            self._optimizer.zero_grad(set_to_none=True)
            self._step()

    def _record(self) -> None:
        before = {name: tensor.clone() for name, tensor in self.detector.state_dict().items()}
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._optimizer.zero_grad(set_to_none=True)
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        self._optimizer.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step()
        # In place: the graph reads and writes the very memory it was recorded with.
        with torch.no_grad():
            for name, tensor in self.detector.state_dict().items():
                tensor.copy_(before[name])
            for state in self._optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()

    def _step(self) -> None:
        self.detector.train()
        self._objective(self.detector, self._images, self._assignments).backward()
        nn.utils.clip_grad_norm_(self.detector.parameters(), CLIP_NORM)
        self._optimizer.step()

    def _attack(self, loss: AttackLoss, images: Tensor) -> Tensor:
        """Return images after the steps of `attacks.pgd`, which begins by looking at their range."""
        lower, upper = (images - EPSILON).clamp_(0, 1), (images + EPSILON).clamp_(0, 1)
        attacked = images.detach().clone()
        for _ in range(self.attack_steps):
            attacked.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(attacked), attacked)
            attacked = (attacked.detach() + STEP_SIZE * gradient.sign()).clamp_(lower, upper)
        return attacked.detach()
