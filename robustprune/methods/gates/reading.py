"""Layers that read channels through gates, open or closed, in a pass that is differentiated by the gates.

Of a channel whose gate is closed nobody reads anything, and still its gate has a gradient, so that the channel is
computed. What is not needed is to read it, nor to go back from what it would have made of others:

    forward     all channels, from open ones           1 − s of the operations
    backward    to all channels, from open ones        1 − s

of a share s that is closed. Weights have no gradient, and the gate's comes with that of its channel, for

    y = conv(g ⊙ x),   ∂L/∂g_c = Σ x_c (convᵀ ∂L/∂y)_c,   ∂L/∂x_c = g_c (convᵀ ∂L/∂y)_c
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@contextmanager
def read_through(network: nn.Module, gates: Mapping[str, Tensor], heard: Mapping[str, Tensor]) -> Iterator[None]:
    """Let layers read their inputs through gates meanwhile.

    Args:
        network: whose own weights need no gradient.
        gates: of what a layer reads, by its name: (inputs,), each 1 or 0.
        heard: the output channels of a layer that anything reads, by its name, (count,) int64, where not all are: no
            gradient comes back from the others.
    """
    changed = []
    for name, gate in gates.items():
        layer = network.get_submodule(name)
        layer.forward = partial(_answer, layer, gate, heard.get(name))
        changed.append(layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward


def select(values: Tensor, channels: Tensor | None, *, dim: int = 1) -> Tensor:
    """Return some channels of (N, C, …); all of them for None. In channels-last memory as fast as a copy."""
    if channels is None:
        return values
    channels = channels.to(values.device)
    if dim == 1 and values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last):
        count, width, height, side = values.shape
        rows = values.permute(0, 2, 3, 1).reshape(-1, width).index_select(1, channels)
        return rows.view(count, height, side, -1).permute(0, 3, 1, 2)
    return values.index_select(dim, channels)


def _answer(layer: nn.Module, gate: Tensor, heard: Tensor | None, inputs: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return functional.linear(inputs * gate, layer.weight, layer.bias)
    assert isinstance(layer, nn.Conv2d)
    is_plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    # Weights in place of the layer's own may be such as to be differentiated.
    learns = layer.weight.requires_grad or (layer.bias is not None and layer.bias.requires_grad)
    if learns or not is_plain:
        return nn.Conv2d.forward(layer, inputs * gate.view(-1, 1, 1))
    geometry = layer.stride, layer.padding, layer.dilation
    found: Tensor = _Convolution.apply(inputs, gate, layer.weight, layer.bias, heard, *geometry)
    return found


class _Convolution(torch.autograd.Function):
    """A convolution of g ⊙ x."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        gate: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        heard: Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
    ) -> Tensor:
        is_open = gate != 0
        opened = None if is_open.all() else is_open.nonzero()[:, 0]
        ctx.save_for_backward(inputs, gate, weight)
        ctx.heard, ctx.geometry = heard, (stride, padding, dilation)
        read = select(inputs, opened), select(weight, opened)
        return torch.conv2d(*read, bias, stride, padding, dilation)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        inputs, gate, weight = ctx.saved_tensors
        weight = select(weight, ctx.heard, dim=0).to(upstream.dtype)
        back, *_ = torch.ops.aten.convolution_backward(
            select(upstream, ctx.heard),
            inputs.to(upstream.dtype),
            weight,
            None,
            *ctx.geometry,
            False,
            (0, 0),
            1,
            (True, False, False),
        )
        of_gate = (inputs * back).sum(dim=(0, 2, 3), dtype=gate.dtype) if ctx.needs_input_grad[1] else None
        of_inputs = back.mul_(gate.detach().to(back.dtype).view(-1, 1, 1)) if ctx.needs_input_grad[0] else None
        return of_inputs, of_gate, *[None] * 6
