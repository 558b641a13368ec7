"""torchvision's Swin transformer, of which every part can lose channels: the tokens' own, those of queries and keys, of
values, and the hidden ones of MLPs.

Weights have torchvision's names, and an unpruned network computes what torchvision's does. Imports torchvision; whoever
needs it imports this module only then.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.swin_transformer import (
    PatchMerging,
    ShiftedWindowAttention,
    SwinTransformer,
    SwinTransformerBlock,
)

from robustprune.classification.networks.declared import Coupling, single, strided
from robustprune.classification.networks.norms import PrunableLayerNorm

FAR = -100.0
"""What is added to the attention between tokens that only a cyclic shift has made neighbours."""


class WindowAttention(ShiftedWindowAttention):  # type: ignore[misc]
    """Attention among the tokens of a window, whose widths of tokens, of keys and of values are independent.

    All three are read off the weights. The scale of q·k stays that of the width that heads had at first: of queries and
    keys that are zero nothing is left to scale, whether they are there or not.

    Shape: (N, H, W, C) to (N, H, W, C).
    """

    def __init__(
        self, dim: int, window_size: list[int], shift_size: list[int], num_heads: int, **options: float
    ) -> None:
        """Arguments are torchvision's."""
        super().__init__(dim, window_size, shift_size, num_heads, **options)
        self.scale = (dim // num_heads) ** -0.5

    @property
    def key_width(self) -> int:
        """Of a head's queries, and of its keys."""
        width: int = (self.qkv.out_features - self.proj.in_features) // (2 * self.num_heads)
        return width

    @property
    def value_width(self) -> int:
        """Of a head's values."""
        width: int = self.proj.in_features // self.num_heads
        return width

    def forward(self, x: Tensor) -> Tensor:
        """Return what each token takes from those of its window."""
        height, width = x.shape[1:3]
        rows, columns = self.window_size
        x = functional.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        padded = x.shape[1:3]
        # A window that holds everything is not shifted.
        shifts = [
            0 if window >= side else shift
            for shift, window, side in zip(self.shift_size, self.window_size, padded, strict=True)
        ]
        if any(shifts):
            x = x.roll((-shifts[0], -shifts[1]), dims=(1, 2))
        windows = x.unflatten(2, (-1, columns)).unflatten(1, (-1, rows)).transpose(2, 3)
        attended = self._attended(windows.flatten(3, 4), self._apart(padded, shifts, x))
        x = attended.unflatten(3, (rows, columns)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if any(shifts):
            x = x.roll((shifts[0], shifts[1]), dims=(1, 2))
        return x[:, :height, :width].contiguous()

    def _attended(self, tokens: Tensor, apart: Tensor | None) -> Tensor:
        """(N, windows down, windows across, tokens, C) to the same."""
        keys, values = self.num_heads * self.key_width, self.num_heads * self.value_width
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(-2, -3)
            for part in self.qkv(tokens).split((keys, keys, values), dim=-1)
        )
        attention = (q * self.scale) @ k.transpose(-1, -2) + self.get_relative_position_bias()
        if apart is not None:
            attention = attention + apart
        attention = functional.dropout(attention.softmax(dim=-1), self.attention_dropout, self.training)
        attended = self.proj((attention @ v).transpose(-2, -3).flatten(-2))
        return functional.dropout(attended, self.dropout, self.training)

    def _apart(self, sides: torch.Size, shifts: list[int], like: Tensor) -> Tensor | None:
        """Return what keeps tokens apart that were at opposite borders: (windows down, across, 1, tokens, tokens)."""
        if not any(shifts):
            return None
        rows, columns = self.window_size
        # The last window of a shifted side holds what was last and, behind it, what was first.
        down, across = (
            (place >= side - window).long() + (place >= side - shift).long()
            for side, window, shift in zip(sides, self.window_size, shifts, strict=True)
            for place in [torch.arange(side, device=like.device)]
        )
        region = 3 * down[:, None] + across
        windows = region.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).transpose(1, 2).flatten(2)
        differs = windows[..., None, :] != windows[..., :, None]
        return like.new_zeros(differs.shape).masked_fill(differs, FAR)[:, :, None]


class Swin(SwinTransformer):  # type: ignore[misc]
    """A Swin transformer that knows which of its channels go together."""

    def __init__(self, **options: Any) -> None:
        """Arguments are torchvision's."""
        super().__init__(
            **options,
            norm_layer=PrunableLayerNorm,
            block=partial(SwinTransformerBlock, attn_layer=WindowAttention),
        )

    def couplings(self) -> list[Coupling]:
        """Return the channels of each stage's tokens, and of each block those of keys, of values and of its MLP.

        Heads stay, and lose the same channels each, as all heads are computed in one product.
        """
        found, entry, norms = [], "features.0.0", ["features.0.2"]
        for place, stage in enumerate(self.features):
            if isinstance(stage, PatchMerging):
                entry, norms = f"features.{place}.reduction", []
            elif place:
                blocks = {f"features.{place}.{index}": block for index, block in enumerate(stage)}
                found.append(self._tokens(entry, norms, list(blocks), place + 1))
                for name, block in blocks.items():
                    found += [*_attention(f"{name}.attn", block.attn), _hidden(f"{name}.mlp", block.mlp)]
        return found

    def _tokens(self, entry: str, norms: list[str], blocks: list[str], after: int) -> Coupling:
        """Return the channels of a stage's tokens, which every block adds to.

        Args:
            entry: the layer that makes them.
            norms: of what that makes.
            blocks: of the stage.
            after: the place of the patch merging behind the stage, which puts four tokens in a row, if there is one.
        """
        channels = len(self.get_submodule(entry).weight)
        one, four = single(channels), strided(channels, times=4)
        is_last = after == len(self.features)
        merging, reader = ("norm", "head") if is_last else (f"features.{after}.norm", f"features.{after}.reduction")
        normed = {
            **dict.fromkeys(norms, one),
            **{f"{block}.{norm}": one for block in blocks for norm in ("norm1", "norm2")},
            merging: one if is_last else four,
        }
        return Coupling(
            filters={entry: one, **{f"{block}.{layer}": one for block in blocks for layer in ("attn.proj", "mlp.3")}},
            readers={
                **{f"{block}.{layer}": one for block in blocks for layer in ("attn.qkv", "mlp.0")},
                reader: one if is_last else four,
            },
            norms=normed,
            gates=normed,
        )


def _attention(name: str, attention: WindowAttention) -> list[Coupling]:
    """Return the channels of queries and keys, and those of values, of all heads at once."""
    heads, keys, values = attention.num_heads, attention.key_width, attention.value_width
    queries = strided(keys, times=heads)
    return [
        # A gate on the queries is one on the products: on the keys too, it would count twice.
        Coupling(filters={f"{name}.qkv": strided(keys, times=2 * heads)}, gates={f"{name}.qkv": queries}),
        Coupling(
            filters={f"{name}.qkv": strided(values, times=heads, start=2 * heads * keys)},
            readers={f"{name}.proj": strided(values, times=heads)},
        ),
    ]


def _hidden(name: str, mlp: nn.Sequential) -> Coupling:
    hidden = single(len(mlp.get_submodule("0").weight))  # type: ignore[arg-type]
    return Coupling(filters={f"{name}.0": hidden}, readers={f"{name}.3": hidden})
