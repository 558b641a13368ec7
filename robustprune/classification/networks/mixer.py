"""MLP-Mixer (Tolstikhin et al. 2021): patches of an image as tokens, mixed by MLPs alone, across tokens and across
channels in turn.

Weights have the names of timm's `mlp_mixer.py`, which published files are named by.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustprune.classification.networks.declared import Coupling, single
from robustprune.classification.networks.norms import PrunableLayerNorm, is_whole, present_channels


class MixerSize(NamedTuple):
    """The widths of a mixer.

    Attributes:
        width: channels of a token.
        depth: how many blocks.
        tokens_hidden: hidden units of the MLP across tokens.
        channels_hidden: hidden units of the MLP across channels.
    """

    width: int
    depth: int
    tokens_hidden: int
    channels_hidden: int


SIZES = {
    # The paper's table 1 has the two of them; the first is made for images of some thousand pixels and a CPU.
    "tiny": MixerSize(width=64, depth=4, tokens_hidden=32, channels_hidden=256),
    "s": MixerSize(width=512, depth=8, tokens_hidden=256, channels_hidden=2048),
    "b": MixerSize(width=768, depth=12, tokens_hidden=384, channels_hidden=3072),
}


class Mlp(nn.Module):
    """Two fully connected layers over the last dimension, back to as many channels."""

    def __init__(self, width: int, hidden: int) -> None:
        """Take channels and hidden units."""
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) -> (…, width)."""
        output: Tensor = self.fc2(self.act(self.fc1(x)))
        return output


class MixerBlock(nn.Module):
    """An MLP across the tokens of each channel and one across the channels of each token, each beside a shortcut."""

    def __init__(self, tokens: int, size: MixerSize) -> None:
        """`tokens` in an image."""
        super().__init__()
        self.norm1 = PrunableLayerNorm(size.width, eps=1e-6)
        self.mlp_tokens = Mlp(tokens, size.tokens_hidden)
        self.norm2 = PrunableLayerNorm(size.width, eps=1e-6)
        self.mlp_channels = Mlp(size.width, size.channels_hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) -> (N, tokens, width)."""
        x = x + self._across_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        output: Tensor = x + self.mlp_channels(self.norm2(x))
        return output

    def _across_tokens(self, x: Tensor) -> Tensor:
        """(N, width, tokens) -> (N, width, tokens), without the work for channels that have left."""
        if torch.compiler.is_compiling() or is_whole(self.norm1):
            mixed: Tensor = self.mlp_tokens(x)
            return mixed
        there = present_channels(self.norm1).nonzero()[:, 0]
        return torch.zeros_like(x).index_copy(1, there, self.mlp_tokens(x[:, there]).to(x.dtype))


class Stem(nn.Module):
    """Patches as tokens."""

    def __init__(self, patch: int, width: int) -> None:
        """`patch` is the side of one in pixels, `width` the channels of a token."""
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, tokens, width)."""
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens


class MlpMixer(nn.Module):
    """A mixer for images of one size."""

    def __init__(self, size: MixerSize, *, patch: int, image_size: int, classes: int) -> None:
        """`patch` is the side of a token in pixels, which divides `image_size`."""
        super().__init__()
        tokens = (image_size // patch) ** 2
        self.stem = Stem(patch, size.width)
        self.blocks = nn.Sequential(*(MixerBlock(tokens, size) for _ in range(size.depth)))
        self.norm = PrunableLayerNorm(size.width, eps=1e-6)
        self.head = nn.Linear(size.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, classes)."""
        logits: Tensor = self.head(self.norm(self.blocks(self.stem(x))).mean(dim=1))
        return logits

    def couplings(self) -> list[Coupling]:
        """Return the channels of tokens, which every block adds to, and the hidden units of each MLP.

        What an MLP gives back across tokens stays: those are the tokens themselves, of which there are as many as
        patches in an image.
        """
        width = single(len(self.stem.proj.weight))
        blocks = [f"blocks.{index}" for index in range(len(self.blocks))]
        norms = {f"{block}.{norm}": width for block in blocks for norm in ("norm1", "norm2")} | {"norm": width}
        tokens = Coupling(
            filters={"stem.proj": width, **{f"{block}.mlp_channels.fc2": width for block in blocks}},
            readers={**{f"{block}.mlp_channels.fc1": width for block in blocks}, "head": width},
            norms=norms,
            gates=norms,
        )
        mlps = [f"{block}.{mlp}" for block in blocks for mlp in ("mlp_tokens", "mlp_channels")]
        hidden = {name: single(len(self.get_parameter(f"{name}.fc1.weight"))) for name in mlps}
        return [
            tokens,
            *(
                Coupling(filters={f"{name}.fc1": units}, readers={f"{name}.fc2": units})
                for name, units in hidden.items()
            ),
        ]
