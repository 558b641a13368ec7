"""Networks whose graph is explicit: modules, and which of the outputs before it each one reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

IMAGE = -1
"""The index that stands for the network's input among a layer's inputs."""


class Step(NamedTuple):
    """A module and the steps it reads, by number."""

    module: nn.Module
    inputs: tuple[int, ...]


class GraphNetwork(nn.Module):
    """A network for inference: `layers[i]` reads the outputs `inputs[i]`, -1 being the image.

    Attributes:
        heads: the layers whose outputs are the network's, in order.
        widths: the inputs and filters of each convolution, by its name in the network that this one was made from, in
            order of depth.
    """

    def __init__(self, steps: Sequence[Step], *, heads: Sequence[int], widths: dict[str, tuple[int, int]]) -> None:
        """Wire `steps`; the network comes out in eval mode, without gradients."""
        super().__init__()
        self.layers = nn.ModuleList(step.module for step in steps)
        self.inputs = tuple(step.inputs for step in steps)
        self.heads, self.widths = tuple(heads), widths
        self._last_reads = last_reads(self.inputs, kept=self.heads)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of the heads."""
        outputs = run(self.layers, self.inputs, self._last_reads, images)
        return [outputs[index] for index in self.heads]


def run(
    layers: Iterable[nn.Module],
    inputs: Sequence[tuple[int, ...]],
    last_reads: Sequence[Sequence[int]],
    images: Tensor,
) -> dict[int, Tensor]:
    """Return the outputs that are left once each of `layers` has read those of `inputs`; see `last_reads`."""
    outputs = {IMAGE: images}
    for index, (layer, sources) in enumerate(zip(layers, inputs, strict=True)):
        outputs[index] = layer(*(outputs[source] for source in sources))
        for unread in last_reads[index]:
            del outputs[unread]
    return outputs


def last_reads(inputs: Sequence[tuple[int, ...]], *, kept: Collection[int]) -> tuple[tuple[int, ...], ...]:
    """Return, for each layer, the outputs that nobody reads after it has run; those of `kept` stay."""
    last_reader = {index: index for index in range(len(inputs))}
    for index, sources in enumerate(inputs):
        last_reader.update(dict.fromkeys(sources, index))
    unread: list[list[int]] = [[] for _ in inputs]
    for source, reader in last_reader.items():
        if source not in kept:
            unread[reader].append(source)
    return tuple(tuple(sources) for sources in unread)
