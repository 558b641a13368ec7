"""The modules that Darknet's sections become, each called with its input tensors in the .cfg's order.

How they are wired is the detector's business (`network.py`); what the options mean is told in `build.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

LEAKY_SLOPE = 0.1


class Activation(NamedTuple):
    """A way to make the module, and the `nonlinearity` that `nn.init` knows it by."""

    make: Callable[[], nn.Module]
    nonlinearity: str


# Never in place, and a new module for every layer: DeepLIFT and forward hooks rely on both.
ACTIVATIONS = {
    "leaky": Activation(lambda: nn.LeakyReLU(LEAKY_SLOPE), "leaky_relu"),
    "linear": Activation(nn.Identity, "linear"),
    "logistic": Activation(nn.Sigmoid, "sigmoid"),
    "mish": Activation(nn.Mish, "relu"),
    "relu": Activation(nn.ReLU, "relu"),
    "relu6": Activation(nn.ReLU6, "relu"),
    # Another name of `swish`, in the .cfg files of PyTorch's ports; before it, since Darknet itself knows it not.
    "silu": Activation(nn.SiLU, "relu"),
    "swish": Activation(nn.SiLU, "relu"),
}


class Convolutional(nn.Module):
    """Convolution, batch norm (or a bias instead) and activation, He-initialised for that activation."""

    def __init__(
        self,
        in_channels: int,
        filters: int,
        *,
        size: int,
        stride: int,
        padding: int,
        groups: int,
        batch_normalize: bool,
        activation: str,
    ) -> None:
        """Options as in Darknet, but `padding` in pixels."""
        super().__init__()
        make, nonlinearity = ACTIVATIONS[activation]
        self.conv = nn.Conv2d(in_channels, filters, size, stride, padding, groups=groups, bias=not batch_normalize)
        # Darknet divides by sqrt(variance + 1e-5) wherever it trains (cuDNN, `normalize_kernel`) and, in AlexeyAB's
        # fork, wherever it infers (`fuse_conv_batchnorm`); by sqrt(variance) + 1e-6 in its oldest CPU code alone. The
        # first is what the weights were trained under, and bounds a dead channel's gain at 316 instead of 1e6.
        self.batch_norm = nn.BatchNorm2d(filters, eps=1e-5) if batch_normalize else None
        self.activation = make()
        if not self.conv.weight.is_meta:  # which has no values, and for this would import PyTorch's compiler
            nn.init.kaiming_normal_(self.conv.weight, a=LEAKY_SLOPE, nonlinearity=nonlinearity)  # type: ignore[arg-type]
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, filters, H', W')."""
        x = self.conv(x)
        if self.batch_norm is not None:
            x = self.batch_norm(x)
        output: Tensor = self.activation(x)
        return output


class MaxPool(nn.Module):
    """Darknet's max-pool: `padding` is the total of both sides, the smaller half of it comes first.

    The output side is (input + padding - size) // stride + 1, as in `maxpool_layer.c`. The attribute
    `padding` is (before, after), the same for rows and columns.
    """

    def __init__(self, *, size: int, stride: int, padding: int) -> None:
        """All three in pixels."""
        super().__init__()
        before = padding // 2
        after = padding - before
        self.size, self.stride, self.padding = size, stride, (before, after)
        self.pad: nn.Module = nn.Identity()
        if before == after and before <= size // 2:
            self.pool = nn.MaxPool2d(size, stride, padding=before)
        elif size == stride == 2 and padding == 1:
            # The everyday pool: the same output without copying the image into a larger one.
            self.pool = nn.MaxPool2d(size, stride, ceil_mode=True)
        else:
            self.pad = nn.ConstantPad2d(self.padding * 2, float("-inf"))
            self.pool = nn.MaxPool2d(size, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        output: Tensor = self.pool(self.pad(x))
        return output


class Route(nn.Module):
    """Concatenation of its inputs' channels, of each input only the slice `group_id` of `groups`."""

    def __init__(self, *, groups: int, group_id: int) -> None:
        """`group_id` counts from 0."""
        super().__init__()
        self.groups = groups
        self.group_id = group_id

    def forward(self, *inputs: Tensor) -> Tensor:
        """(N, C_i, H, W) each -> (N, sum of C_i / groups, H, W)."""
        if self.groups > 1:
            inputs = tuple(x.chunk(self.groups, dim=1)[self.group_id] for x in inputs)
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)


class Shortcut(nn.Module):
    """Sum of its inputs, then an activation. The first input sets the number of channels and of pixels.

    Of an input with more channels the first ones are added, one with fewer is added to the first ones
    (`shortcut_multilayer_cpu` in `blas.c`, whose layers are flat: channels lie one after the other). Of an input with
    more pixels every second one is added, or every third, in each direction; the pixels of one with fewer are added to
    every second (`shortcut_cpu` in `blas.c`).

    Attributes:
        strided: an input has other pixels than the first.
    """

    def __init__(self, activation: str, *, strided: bool = False) -> None:
        """`activation` by Darknet's name."""
        super().__init__()
        self.activation = ACTIVATIONS[activation].make()
        self.strided = strided

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """(N, C, H, W), then (N, C_i, H_i, W_i) each -> (N, C, H, W)."""
        total, channels = first, first.shape[1]
        for other in others:
            missing = channels - other.shape[1]
            if missing:  # negative padding cuts
                other = nn.functional.pad(other, (0, 0, 0, 0, 0, missing))
            if self.strided:
                other = _on_the_grid_of(first, other)
            total = total + other
        output: Tensor = self.activation(total)
        return output


def _on_the_grid_of(first: Tensor, other: Tensor) -> Tensor:
    """Return (N, C, H_i, W_i) as (N, C, H, W): pixels left out, or zeros between them, as Darknet adds layers."""
    (height, width), other_width = first.shape[2:], other.shape[3]
    stride, spacing = max(1, other_width // width), max(1, width // other_width)
    taken = other[:, :, ::stride, ::stride][:, :, :height, :width]
    if spacing == 1 and taken.shape[2:] == first.shape[2:]:
        return taken
    placed = torch.zeros_like(first)
    rows, columns = min(taken.shape[2], -(-height // spacing)), min(taken.shape[3], -(-width // spacing))
    placed[:, :, : rows * spacing : spacing, : columns * spacing : spacing] = taken[:, :, :rows, :columns]
    return placed


class Reorg(nn.Module):
    """Pixels to channels, in the order of Darknet's `reorg_cpu` (`blas.c`), which no other framework has.

    It reads its input, (C, H, W) in memory, as if it were (C / s^2, s * H, s * W), takes that apart into s^2 images
    of H x W pixels, and calls the result (s^2 * C, H / s, W / s): a channel of it mixes neighbouring channels.
    """

    def __init__(self, *, stride: int) -> None:
        """`stride` is s."""
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, s^2 * C, H / s, W / s)."""
        s, (batch, channels, height, width) = self.stride, x.shape
        apart = x.reshape(batch, channels // s**2, height, s, width, s).permute(0, 3, 5, 1, 2, 4)
        return apart.reshape(batch, channels * s**2, height // s, width // s)


class AveragePool(nn.Module):
    """Mean of each channel over the whole image."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        return x.mean(dim=(2, 3), keepdim=True)


class Product(nn.Module):
    """Product of two layers, one of which may have a single pixel, then an activation."""

    def __init__(self, activation: str) -> None:
        """`activation` by Darknet's name."""
        super().__init__()
        self.activation = ACTIVATIONS[activation].make()

    def forward(self, factor: Tensor, x: Tensor) -> Tensor:
        """(N, C, 1, 1) or (N, C, H, W), and (N, C, H, W) -> (N, C, H, W)."""
        output: Tensor = self.activation(factor * x)
        return output


class Yolo(nn.Module):
    """A detection head, [yolo] or [region]: reshapes raw outputs, and carries what decoding and loss need to know."""

    anchors: Tensor

    def __init__(
        self,
        anchors: list[tuple[float, float]],
        *,
        stride: int,
        classes: int,
        scale_x_y: float,
        ignore_thresh: float,
        new_coords: bool = False,
        softmax: bool = False,
    ) -> None:
        """`anchors` are (width, height) in pixels of the network input, `stride` the side of a grid cell.

        `new_coords` says that a box's side is anchor * (2 sigmoid(t))^2 instead of anchor * exp(t), `softmax` that a
        box is of one class alone.
        """
        super().__init__()
        # Not in the state dict: anchors come from the .cfg, never from a checkpoint.
        self.register_buffer("anchors", torch.tensor(anchors), persistent=False)
        self.stride = stride
        self.classes = classes
        self.scale_x_y = scale_x_y
        self.ignore_thresh = ignore_thresh
        self.new_coords = new_coords
        self.softmax = softmax

    def forward(self, x: Tensor) -> Tensor:
        """(N, A * (5 + classes), H, W) -> (N, A, H, W, 5 + classes), nothing but the order changed.

        With `new_coords`, width and height come out as 2 ln(2 sigmoid(t)): losses and decoding go on taking exp.
        """
        batch, _, height, width = x.shape
        # Splitting the channels is a view in either memory format; `reshape` would do, but hide a copy.
        output = x.view(batch, len(self.anchors), 5 + self.classes, height, width).permute(0, 1, 3, 4, 2)
        if not self.new_coords:
            return output
        place, size, scores = output.tensor_split((2, 4), dim=-1)
        return torch.cat([place, 2 * (math.log(2) + nn.functional.logsigmoid(size)), scores], dim=-1)
