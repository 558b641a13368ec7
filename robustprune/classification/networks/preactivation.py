"""The pre-activation networks behind robust checkpoints that are passed around, under the names that these have.

- wide ResNets with SiLU as of Gowal et al. 2020 (`init_conv`, `layer.0.block.0.conv_0`, `logits`); Wang et al. 2023,
  Rebuffi et al. 2021 and others train them;
- the ResNet-18 of the same authors, with SiLU (`conv_2d`, `layer_0.0.conv_2d_1`, `logits`);
- the ResNet-18 after kuangliu's `preact_resnet.py`, with ReLU (`conv1`, `layer1.0.conv1`, `linear`), of which there are
  two: Wong et al. 2020 add what enters a block, and end in the sum; Rice et al. 2020 add what was activated, and end in
  a batch norm.

The first two keep the padding of TensorFlow, where they were born: before a stride of two there is a row of zeros at
the bottom and a column at the right, none at the top and left. No activation module is used twice, which explanations
rely on. Normalisation is in none of them: it is the classifier's.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

STAGES = (64, 128, 256, 512)
"""Channels of a ResNet-18, of two blocks each."""


def wide_resnet_silu(depth: int, widen_factor: int, *, classes: int) -> nn.Module:
    """Return the wide ResNet of Gowal et al. 2020. Shape: (N, 3, S, S) to (N, classes), S a multiple of 4.

    Args:
        depth: 6n + 4, such as 28 or 70.
        widen_factor: channels over those of a ResNet.
        classes: how many logits.

    Raises:
        ValueError: no such depth.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"a wide ResNet has 6n + 4 layers: 10, 16, 22, …, found {depth}")
    return WideSiluResNet((depth - 4) // 6, widen_factor, classes=classes)


class WideSiluBlock(nn.Module):
    """Two convolutions, each after batch norm and activation, beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        """`stride` is the first convolution's."""
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(in_channels)
        self.relu_0 = nn.SiLU()
        self.pad = _pad(stride)
        self.conv_0 = _convolution(in_channels, channels, stride=stride, padded=True)
        self.batchnorm_1 = nn.BatchNorm2d(channels)
        self.relu_1 = nn.SiLU()
        self.conv_1 = _convolution(channels, channels)
        self.shortcut = None if in_channels == channels else _convolution(in_channels, channels, size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        activated = self.relu_0(self.batchnorm_0(x))
        residual: Tensor = self.conv_1(self.relu_1(self.batchnorm_1(self.conv_0(self.pad(activated)))))
        return residual + (x if self.shortcut is None else self.shortcut(activated))


class WideSiluStage(nn.Module):
    """Blocks in a row, in a module of their own as checkpoints have it."""

    def __init__(self, blocks: int, in_channels: int, channels: int, *, stride: int) -> None:
        """`stride` is the first block's."""
        super().__init__()
        first = WideSiluBlock(in_channels, channels, stride=stride)
        self.block = nn.Sequential(first, *(WideSiluBlock(channels, channels, stride=1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        output: Tensor = self.block(x)
        return output


class WideSiluResNet(nn.Module):
    """Three stages of wide blocks, 16, 32 and 64 times `widen_factor` channels wide."""

    def __init__(self, blocks: int, widen_factor: int, *, classes: int) -> None:
        """`blocks` per stage."""
        super().__init__()
        narrow, middle, wide = (channels * widen_factor for channels in (16, 32, 64))
        self.init_conv = _convolution(3, 16)
        self.layer = nn.Sequential(
            WideSiluStage(blocks, 16, narrow, stride=1),
            WideSiluStage(blocks, narrow, middle, stride=2),
            WideSiluStage(blocks, middle, wide, stride=2),
        )
        self.batchnorm = nn.BatchNorm2d(wide)
        self.relu = nn.SiLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.logits = nn.Linear(wide, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, classes)."""
        x = self.relu(self.batchnorm(self.layer(self.init_conv(x))))
        logits: Tensor = self.logits(self.pool(x).flatten(1))
        return logits


class SiluBlock(nn.Module):
    """Two convolutions, each after batch norm and activation; a shortcut with weights reads what enters the block."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        """`stride` is the first convolution's."""
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(in_channels)
        self.relu_0 = nn.SiLU()
        self.pad = _pad(stride)
        self.conv_2d_1 = _convolution(in_channels, channels, stride=stride, padded=True)
        self.batchnorm_1 = nn.BatchNorm2d(channels)
        self.relu_1 = nn.SiLU()
        self.conv_2d_2 = _convolution(channels, channels)
        changes = stride != 1 or in_channels != channels
        self.shortcut = _convolution(in_channels, channels, stride=stride, padded=True) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        residual = self.conv_2d_1(self.pad(self.relu_0(self.batchnorm_0(x))))
        residual = self.conv_2d_2(self.relu_1(self.batchnorm_1(residual)))
        output: Tensor = residual + (x if self.shortcut is None else self.shortcut(self.pad(x)))
        return output


class PreActSiluResNet18(nn.Module):
    """The ResNet-18 of Gowal et al. 2021. Shape: (N, 3, S, S) to (N, classes), S a multiple of 8."""

    def __init__(self, *, classes: int) -> None:
        """Draw new weights."""
        super().__init__()
        self.conv_2d = _convolution(3, STAGES[0])
        self.layer_0, self.layer_1, self.layer_2, self.layer_3 = _stages(SiluBlock)
        self.batchnorm = nn.BatchNorm2d(STAGES[-1])
        self.relu = nn.SiLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.logits = nn.Linear(STAGES[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, classes)."""
        x = self.layer_3(self.layer_2(self.layer_1(self.layer_0(self.conv_2d(x)))))
        logits: Tensor = self.logits(self.pool(self.relu(self.batchnorm(x))).flatten(1))
        return logits


class ReluBlock(nn.Module):
    """Two convolutions, each after batch norm and activation, beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, activated: bool) -> None:
        """`stride` is the first convolution's; a shortcut with weights reads what enters, or is `activated`."""
        super().__init__()
        self.activated = activated
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = _convolution(in_channels, channels, stride=stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv2 = _convolution(channels, channels)
        changes = stride != 1 or in_channels != channels
        self.shortcut = nn.Sequential(_convolution(in_channels, channels, size=1, stride=stride)) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        first = self.relu1(self.bn1(x))
        residual: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(first))))
        return residual + (x if self.shortcut is None else self.shortcut(first if self.activated else x))


class PreActResNet18(nn.Module):
    """kuangliu's pre-activation ResNet-18. Shape: (N, 3, S, S) to (N, classes), S of at least 8."""

    def __init__(self, *, classes: int, batch_norm: bool) -> None:
        """`batch_norm` before the logits: as Rice et al. 2020, with shortcuts of what was activated; else as Wong."""
        super().__init__()
        self.conv1 = _convolution(3, STAGES[0])
        self.layer1, self.layer2, self.layer3, self.layer4 = _stages(
            lambda in_channels, channels, *, stride: ReluBlock(
                in_channels, channels, stride=stride, activated=batch_norm
            )
        )
        self.bn = nn.BatchNorm2d(STAGES[-1]) if batch_norm else None
        self.relu = nn.ReLU() if batch_norm else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(STAGES[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, classes)."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.bn is not None:
            x = self.bn(x)
        logits: Tensor = self.linear(self.pool(self.relu(x)).flatten(1))
        return logits


def _stages(block: Callable[..., nn.Module]) -> list[nn.Sequential]:
    found, in_channels = [], STAGES[0]
    for channels in STAGES:
        stride = 1 if channels == in_channels else 2
        found.append(nn.Sequential(block(in_channels, channels, stride=stride), block(channels, channels, stride=1)))
        in_channels = channels
    return found


def _convolution(in_channels: int, channels: int, *, size: int = 3, stride: int = 1, padded: bool = False) -> nn.Conv2d:
    """Return a convolution; one whose input is `padded` already does so itself no more."""
    padding = 0 if padded else size // 2
    convolution = nn.Conv2d(in_channels, channels, size, stride=stride, padding=padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _pad(stride: int) -> nn.Module:
    """Return TensorFlow's padding `SAME` before a convolution of three by three, for images of an even side."""
    return nn.ZeroPad2d(1) if stride == 1 else nn.ZeroPad2d((0, 1, 0, 1))
