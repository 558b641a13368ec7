"""DeepLIFT (Shrikumar et al. 2017, Rescale rule) carried on to weights: what each weight contributed to an answer,
whatever the network and the question.

The reference is the same for all images, so that it passes through the network once. Multipliers of activations whose
slopes are constant are exact without a difference of close numbers: a slope on one side of the kink, and across it a
quotient whose terms add up. So float32 is enough, but for the sigmoid's, which are taken in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

# Those with a Rescale rule here; through any other activation the plain gradient would pass, silently.
EXPLAINED = (nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.Identity)

_CLOSE = 1e-6
"""Nearer to each other than this, a sigmoid's inputs have the slope between them for a multiplier."""


class Explainer:
    """Explains images against one reference; all that it keeps of the latter is what activations and layers took in."""

    def __init__(self, network: nn.Module, reference: Tensor, *, layers: Mapping[str, nn.Module]) -> None:
        """Pass the reference through a network.

        Args:
            network: in eval mode, its parameters without gradients. It has no activation but `EXPLAINED`, none in
                place, each with a module of its own that is called once.
            reference: (1, …) for all images, or (N, …) with one for each.
            layers: convolutions and fully connected layers of the network, each called once at most.
        """
        self._network, self._layers = network, layers
        self._activations = [each for each in network.modules() if isinstance(each, EXPLAINED)]
        self._at_reference: dict[nn.Module, Tensor] = {}

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
            self._at_reference[module] = inputs[0].detach()

        with torch.no_grad(), _hooked({**dict.fromkeys([*self._activations, *layers.values()], keep)}):
            network(reference)

    def contributions(self, images: Tensor, answer: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        """Return the signed contribution of every weight to F(images) − F(reference), summed over images.

        The contribution of a convolution's weight is
        C[o,i,k,l] = W[o,i,k,l] · Σ m[n,o,p] · (x − x₀)[n,i,stride·p+(k,l)], with DeepLIFT multipliers m at its output,
        so that over a cut of the graph ΣC = F(images) − F(reference); likewise of a fully connected layer's. One pass
        yields all layers.

        Args:
            images: (N, …).
            answer: F, linear in what the network returns.
        """
        found: dict[str, Tensor] = {}

        def layer_hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
            def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
                difference = inputs[0].detach() - self._at_reference[layer]
                if not output.requires_grad:
                    output = output.detach().requires_grad_()  # nobody needs the multipliers of images
                output.register_hook(
                    lambda multiplier: found.update({name: contribution(layer, difference, multiplier)})
                )
                return output

            return hook

        def rescale(activation: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = inputs[0]
            if not x.requires_grad or isinstance(activation, nn.Identity):
                return output
            output = output.detach()
            multiplier = multipliers(activation, x.detach(), output, self._at_reference[activation])
            rescaled: Tensor = _Rescaled.apply(x, output, multiplier)
            return rescaled

        hooks: dict[nn.Module, Callable[..., Any]] = dict.fromkeys(self._activations, rescale)
        with _hooked(hooks | {layer: layer_hook(name) for name, layer in self._layers.items()}):
            value = answer(self._network(images)).sum()
        if value.requires_grad:
            value.backward()
        # Of a layer that no answer reads, nothing.
        return {name: found.get(name, torch.zeros_like(each.weight.detach())) for name, each in self._layers.items()}  # type: ignore[operator]


def multipliers(activation: nn.Module, x: Tensor, y: Tensor, reference: Tensor) -> Tensor:
    """Return the Rescale rule's (y − y₀) / (x − x₀), in the shape of x: the slope there, where both are the same.

    Args:
        activation: one of `EXPLAINED`.
        x: what it takes in.
        y: what it returns of that.
        reference: x₀, broadcast against x.
    """
    if isinstance(activation, nn.Sigmoid):
        exact, other = x.double(), reference.double()
        difference = exact - other
        middle = torch.sigmoid((exact + other) / 2)
        quotient = (torch.sigmoid(exact) - torch.sigmoid(other)) / difference
        return torch.where(difference.abs() < _CLOSE, middle * (1 - middle), quotient).to(x.dtype)
    slope = activation.negative_slope if isinstance(activation, nn.LeakyReLU) else 0.0
    above = x > 0
    found = (y - activation(reference)).div_(x - reference)
    return torch.where(above == (reference > 0), torch.where(above, x.new_ones(()), x.new_tensor(slope)), found)


def contribution(layer: nn.Module, difference: Tensor, multiplier: Tensor) -> Tensor:
    """Return C of one layer, in the shape of its weights.

    Args:
        layer: a convolution, or fully connected.
        difference: x − x₀ of what it takes in.
        multiplier: at its output.
    """
    if isinstance(layer, nn.Linear):
        gradient = multiplier.flatten(0, -2).T @ difference.flatten(0, -2)
    else:
        assert isinstance(layer, nn.Conv2d)
        options = (layer.stride, layer.padding, layer.dilation, layer.groups)
        gradient = conv2d_weight(difference, layer.weight.shape, multiplier, *options)
    product: Tensor = layer.weight.detach() * gradient
    return product


class _Rescaled(torch.autograd.Function):
    """What an activation returns, with its multiplier in place of its slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, multiplier: Tensor) -> Tensor:
        ctx.save_for_backward(multiplier)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.saved_tensors[0], None, None


@contextmanager
def _hooked(hooks: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Let modules' forward passes be hooked meanwhile."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
