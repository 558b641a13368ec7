"""DeepLIFT (Shrikumar et al. 2017, Rescale rule) carried on to weights: what each weight contributed to an answer,
whatever the network and the question.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

# Captum knows a Rescale rule for these; through any other activation it would pass a plain gradient, silently.
EXPLAINED = (nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.Identity)


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
        layer = self.layers[name]
        if name not in self.multipliers:  # no output reads it
            return torch.zeros_like(layer.weight.detach())  # type: ignore[operator]
        difference, multiplier = self.differences[name], self.multipliers[name]
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
