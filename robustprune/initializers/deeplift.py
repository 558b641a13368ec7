"""DeepLIFT (Shrikumar et al. 2017, Rescale rule) carried on to weights: what each weight contributed to the answer."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from captum.attr import DeepLift
from pydantic import Field
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from robustprune.attacks import AttackSettings
from robustprune.darknet import Detector
from robustprune.darknet.layers import Product
from robustprune.errors import InputError
from robustprune.initializers.max_as_relu import replace_max_pools
from robustprune.initializers.problem import Problem
from robustprune.losses.assignment import Assignment, assign
from robustprune.settings import Settings
from robustprune.workload import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Workload

# Captum knows a Rescale rule for these; through any other activation it would pass a plain gradient, silently.
EXPLAINED = (nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.Identity)


class DeepLiftSettings(Settings):
    """How many images are explained, and against what."""

    images: int | None = Field(default=64, ge=1, description="training images used; null for all")
    batch_size: int = Field(default=8, ge=1)
    reference: Literal["zeros", "mean"] = "zeros"


def deeplift(detector: Detector, problem: Problem, settings: DeepLiftSettings) -> dict[str, Tensor]:
    """Return importance per prunable layer: the mean over micro-batches of |contribution|, in the weights' shape."""
    samples = problem.samples
    images_used = min(settings.images or len(samples), len(samples))
    device = next(detector.parameters()).device
    chunks = [chunk.tolist() for chunk in torch.arange(images_used).split(settings.batch_size)]
    reference = torch.zeros(())
    if settings.reference == "mean":
        sums = [batch.images.sum(dim=0) for batch in samples.stream(chunks)]
        reference = torch.stack(sums).sum(dim=0) / images_used
    names = problem.layers(detector)
    importance: dict[str, Tensor] = {}
    for batch in samples.stream(chunks):
        images, targets = batch.images.to(device), batch.targets.to(device)
        for name, contribution in contributions(
            detector, images, targets, reference=reference.to(device), layers=list(names)
        ).items():
            importance[name] = importance.get(name, 0) + contribution.abs() / len(chunks)
    return {name: total.float() for name, total in importance.items()}


def deeplift_work(settings: DeepLiftSettings, *, forward: float, images: int, attack: AttackSettings) -> Workload:
    """Return the work of `deeplift`, which attacks nothing: forward and back through images and references."""
    used = min(settings.images or images, images)
    passes = 2 * (FORWARD + INPUT_GRADIENT) + WEIGHT_GRADIENT
    return Workload(f"deeplift's scores: {used:,} images, in float64", used * passes * forward)


def contributions(
    detector: Detector, images: Tensor, targets: Tensor, *, reference: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Return the signed contribution of every weight of `layers` to F(images) − F(reference), summed over images.

    F is the sum of the objectness and true-class logits, before any sigmoid, of the anchors that the objects in the
    images are assigned to; the same anchors for an image and its reference. The contribution of a weight is
    C[o,i,k,l] = W[o,i,k,l] · Σ m[n,o,p] · (x − x₀)[n,i,stride·p+(k,l)] with DeepLIFT multipliers m at the output of
    its convolution, so that over a cut of the graph ΣC = F(images) − F(reference). One pass yields all layers.

    Computed and returned in float64: F is a small difference of large numbers, and a GPU would round the products
    of float32 to TF32.

    Args:
        detector: not changed.
        images: (N, 3, S, S) in [0, 1].
        targets: (M, 6) as for `assign`.
        reference: broadcast against `images`.
        layers: names of convolutions.

    Raises:
        InputError: the detector has an activation without a Rescale rule, or multiplies layers.
    """
    assignments = assign(targets, detector.heads, images.shape[-1])
    detector = copy.deepcopy(detector).double().eval().requires_grad_(False)
    images, reference = images.double(), reference.double()
    replace_max_pools(detector)
    _check_explained(detector)
    functional = AssignedLogits(detector, assignments)
    convolutions = {name: detector.get_submodule(name) for name in layers}
    with Recorder(convolutions) as recorder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        DeepLift(functional).attribute(images.clone().requires_grad_(), reference.expand_as(images).contiguous())
    return {name: recorder.contribution(name) for name in layers}


class AssignedLogits(nn.Module):
    """F of `contributions`, for a batch that holds images and their references in turn: (2N, …) to (2N,)."""

    def __init__(self, detector: Detector, assignments: Sequence[Assignment]) -> None:
        """Explain `detector` at the anchors of `assignments`, made for N images."""
        super().__init__()
        self.detector = detector
        self.assignments = assignments

    def forward(self, images: Tensor) -> Tensor:
        """Return one value per image and per reference."""
        count = images.shape[0] // 2
        total = images.new_zeros(images.shape[0])
        for output, positive in zip(self.detector(images), self.assignments, strict=True):
            for first in (0, count):
                image = positive.image + first
                logits = output[image, positive.anchor, positive.row, positive.column]
                true_class = logits[:, 5:].gather(1, positive.classes[:, None])[:, 0]
                total = total.index_add(0, image, logits[:, 4] + true_class)
        return total


class Recorder:
    """Keeps, of every convolution, the difference of its inputs and the multiplier at its output."""

    def __init__(self, convolutions: Mapping[str, nn.Module]) -> None:
        """Record `convolutions` while the context is open."""
        self.convolutions = convolutions
        self.differences: dict[str, Tensor] = {}
        self.multipliers: dict[str, Tensor] = {}

    def __enter__(self) -> Recorder:
        """Start recording."""
        self._handles = [layer.register_forward_hook(self._hook(name)) for name, layer in self.convolutions.items()]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop recording."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            image, reference = inputs[0].detach().chunk(2)
            self.differences[name] = image - reference
            output.register_hook(lambda gradient: self.multipliers.__setitem__(name, gradient.chunk(2)[0]))

        return hook

    def contribution(self, name: str) -> Tensor:
        """Return C of one convolution, in the shape of its weights."""
        layer = self.convolutions[name]
        assert isinstance(layer, nn.Conv2d)
        gradient = conv2d_weight(
            self.differences[name],
            layer.weight.shape,
            self.multipliers[name],
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )
        contribution: Tensor = layer.weight.detach() * gradient
        return contribution


def _check_explained(detector: Detector) -> None:
    for name, module in detector.named_modules():
        if isinstance(module, Product):
            raise InputError(f"deeplift cannot explain the product of two layers that is {name}")
        if "activation" in type(module).__module__ and not isinstance(module, EXPLAINED):
            raise InputError(
                f"deeplift cannot explain the activation {type(module).__name__} of {name}: "
                "expected leaky, relu, logistic or linear throughout"
            )
