"""The residual networks made for CIFAR's 32 x 32 images: those of He et al. 2016, and wide ones.

Parameters are named as in the implementations whose checkpoints are passed around: akamaster's `resnet.py`, and the
`wideresnet.py` of xternalz and TRADES. No activation module is used twice, which explanations rely on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustprune.classification.networks.norms import present_channels


def resnet(depth: int, *, classes: int) -> nn.Module:
    """Return the CIFAR ResNet of He et al. 2016, section 4.2, with shortcuts that have no parameters (option A).

    Shape: (N, 3, S, S) to (N, classes), S of at least 4.

    Args:
        depth: 6n + 2, such as 20, 56 or 110.
        classes: how many logits.

    Raises:
        ValueError: no such depth.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"a CIFAR ResNet has 6n + 2 layers: 8, 14, 20, …, found {depth}")
    return ResNet((depth - 2) // 6, classes=classes)


def wide_resnet(depth: int, widen_factor: int, *, classes: int) -> nn.Module:
    """Return the wide ResNet of Zagoruyko & Komodakis 2016, without dropout.

    Shape: (N, 3, S, S) to (N, classes), S of at least 4.

    Args:
        depth: 6n + 4, such as 28 or 34.
        widen_factor: channels over those of a ResNet.
        classes: how many logits.

    Raises:
        ValueError: no such depth.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"a wide ResNet has 6n + 4 layers: 10, 16, 22, …, found {depth}")
    return WideResNet((depth - 4) // 6, widen_factor, classes=classes)


class ChannelShortcut(nn.Module):
    """Every `stride`-th pixel, with channels copied, left out, or zero: option A of He et al. 2016, and what is left
    of it when channels are pruned on either side.

    Shape: (N, C, H, W) to (N, len(source), H / stride, W / stride), sides rounded up.

    Attributes:
        in_channels: C.
        source: (out_channels,), the input channel that each output channel copies, or -1 for zeros.
    """

    source: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        """Hand on the input's channels amid new ones of zeros, as many before them as after."""
        super().__init__()
        self.in_channels = in_channels
        self.stride = stride
        before = (out_channels - in_channels) // 2
        source = torch.full((out_channels,), -1)
        source[before : before + in_channels] = torch.arange(in_channels)
        # Not in the state dict: published checkpoints know nothing of it.
        self.register_buffer("source", source, persistent=False)

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Return what the shortcut adds: nothing to output channels that are not `present`, (out_channels,)."""
        # One channel of zeros behind the others is what an index of -1 finds.
        with_zeros = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, 1))
        return with_zeros[:, self.source if present is None else torch.where(present, self.source, -1)]


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut, with batch norm after each."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        """`stride` is the first convolution's."""
        super().__init__()
        self.conv1 = _convolution(in_channels, channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = _convolution(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        changes = stride != 1 or in_channels != channels
        self.shortcut = ChannelShortcut(in_channels, channels, stride=stride) if changes else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        # No weight of the shortcut is there to be masked with a channel: the norm beside it tells.
        copies = isinstance(self.shortcut, ChannelShortcut)
        added = self.shortcut(x, present_channels(self.bn2)) if copies else self.shortcut(x)
        output: Tensor = self.relu2(residual + added)
        return output


class ResNet(nn.Module):
    """Three stages of basic blocks, 16, 32 and 64 channels wide."""

    def __init__(self, blocks: int, *, classes: int) -> None:
        """`blocks` per stage."""
        super().__init__()
        self.conv1 = _convolution(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(blocks, 16, 16, stride=1)
        self.layer2 = self._stage(blocks, 16, 32, stride=2)
        self.layer3 = self._stage(blocks, 32, 64, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)

    @staticmethod
    def _stage(blocks: int, in_channels: int, channels: int, *, stride: int) -> nn.Sequential:
        first = BasicBlock(in_channels, channels, stride=stride)
        return nn.Sequential(first, *(BasicBlock(channels, channels, stride=1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(self.pool(x).flatten(1))
        return logits


class WideBlock(nn.Module):
    """Two convolutions, each after batch norm and activation, beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        """`stride` is the first convolution's."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = _convolution(in_channels, channels, stride=stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv2 = _convolution(channels, channels)
        self.convShortcut = (
            None if in_channels == channels else nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
        )
        if self.convShortcut is not None:
            _initialise(self.convShortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        activated = self.relu1(self.bn1(x))
        residual: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        # A shortcut that is a convolution reads the activated input, as in the authors' networks.
        return residual + (x if self.convShortcut is None else self.convShortcut(activated))


class WideStage(nn.Module):
    """Blocks in a row, in a module of their own as checkpoints have it."""

    def __init__(self, blocks: int, in_channels: int, channels: int, *, stride: int) -> None:
        """`stride` is the first block's."""
        super().__init__()
        first = WideBlock(in_channels, channels, stride=stride)
        self.layer = nn.Sequential(first, *(WideBlock(channels, channels, stride=1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        output: Tensor = self.layer(x)
        return output


class WideResNet(nn.Module):
    """Three stages of wide blocks, 16, 32 and 64 times `widen_factor` channels wide."""

    def __init__(self, blocks: int, widen_factor: int, *, classes: int) -> None:
        """`blocks` per stage."""
        super().__init__()
        narrow, middle, wide = (channels * widen_factor for channels in (16, 32, 64))
        self.conv1 = _convolution(3, 16)
        self.block1 = WideStage(blocks, 16, narrow, stride=1)
        self.block2 = WideStage(blocks, narrow, middle, stride=2)
        self.block3 = WideStage(blocks, middle, wide, stride=2)
        self.bn1 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(wide, classes)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, classes)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        logits: Tensor = self.fc(self.pool(self.relu(self.bn1(x))).flatten(1))
        return logits


def _convolution(in_channels: int, channels: int, *, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
    _initialise(convolution)
    return convolution


def _initialise(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
