"""DeepLIFT (Shrikumar et al. 2017, Rescale rule) carried on to weights: what each weight contributed to an answer,
whatever the network and the question.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from robustprune.attacks import AttackSettings
from robustprune.core.operations import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Workload
from robustprune.core.settings import Settings

# Captum knows a Rescale rule for these; through any other activation it would pass a plain gradient, silently.
EXPLAINED = (nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.Identity)


class DeepLiftSettings(Settings):
    """How many images are explained, and against what."""

    images: int | None = Field(default=64, ge=1, description="training images used; null for all")
    batch_size: int = Field(default=8, ge=1)
    reference: Literal["zeros", "mean"] = "zeros"


def deeplift_work(
    settings: DeepLiftSettings, *, forward: float, images: int, attack: AttackSettings | None
) -> Workload:
    """Return the work of DeepLIFT, which attacks nothing: forward and back through images and references."""
    used = min(settings.images or images, images)
    passes = 2 * (FORWARD + INPUT_GRADIENT) + WEIGHT_GRADIENT
    return Workload(f"deeplift's scores: {used:,} images, in float64", used * passes * forward)


def mean_magnitude(contributions: Iterable[Mapping[str, Tensor]], *, batches: int) -> dict[str, Tensor]:
    """Return the mean over micro-batches of |contribution|, in float32.

    Args:
        contributions: signed ones of every layer, by micro-batch.
        batches: how many micro-batches there are.
    """
    importance: dict[str, Tensor] = {}
    for signed in contributions:
        for name, contribution in signed.items():
            importance[name] = importance.get(name, 0) + contribution.abs() / batches
    return {name: total.float() for name, total in importance.items()}


def contributions_to(
    functional: nn.Module, images: Tensor, reference: Tensor, *, layers: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    """Return the signed contribution of every weight of `layers` to F(images) − F(reference), summed over images.

    The contribution of a convolution's weight is C[o,i,k,l] = W[o,i,k,l] · Σ m[n,o,p] · (x − x₀)[n,i,stride·p+(k,l)]
    with DeepLIFT multipliers m at the output of its convolution, so that over a cut of the graph
    ΣC = F(images) − F(reference); likewise of a fully connected layer's. One pass yields all layers.

    Args:
        functional: F, of a batch that holds images and their references in turn: (2N, …) to (2N,). It holds its
            parameters and batch norm still, and has no activation but `EXPLAINED`, each with a module and an input of
            its own: Captum replaces the gradient of that input whatever else reads it.
        images: (N, C, H, W).
        reference: broadcast against `images`.
        layers: convolutions and fully connected layers of `functional`, each called once.
    """
    from captum.attr import DeepLift

    with Recorder(layers) as recorder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        DeepLift(functional).attribute(images.clone().requires_grad_(), reference.expand_as(images).contiguous())
    return {name: recorder.contribution(name) for name in layers}


class Recorder:
    """Keeps, of every layer, the difference of its inputs and the multiplier at its output."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        """Record `layers` while the context is open."""
        self.layers = layers
        self.differences: dict[str, Tensor] = {}
        self.multipliers: dict[str, Tensor] = {}

    def __enter__(self) -> Recorder:
        """Start recording."""
        self._handles = [layer.register_forward_hook(self._hook(name)) for name, layer in self.layers.items()]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop recording."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            image, reference = inputs[0].detach().chunk(2)
            self.differences[name] = image - reference
            output.register_hook(lambda gradient: self.multipliers.__setitem__(name, gradient.chunk(2)[0]))
            # Captum puts the multiplier in the gradient's place by a hook on what an activation takes in. Of one tensor
            # it would come after the hook above.
            return output.view_as(output)

        return hook

    def contribution(self, name: str) -> Tensor:
        """Return C of one layer, in the shape of its weights."""
        layer, difference, multiplier = self.layers[name], self.differences[name], self.multipliers[name]
        if isinstance(layer, nn.Linear):
            gradient = multiplier.flatten(0, -2).T @ difference.flatten(0, -2)
        else:
            assert isinstance(layer, nn.Conv2d)
            gradient = conv2d_weight(
                difference,
                layer.weight.shape,
                multiplier,
                layer.stride,
                layer.padding,
                layer.dilation,
                layer.groups,
            )
        contribution: Tensor = layer.weight.detach() * gradient
        return contribution
