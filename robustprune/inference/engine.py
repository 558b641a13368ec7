"""The fastest way to run a pruned detector on the machine at hand, found by timing it.

Nothing is assumed about what pays. A convolution may be fastest as it is, in either memory format, or without its
zeros: that depends on their number, its size and the processor. So each layer of a compacted detector is tried in
every way on the very tensors that the layers before it hand on, and the fastest way stays. The whole is then timed
against the dense detector, and has to be faster.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from robustprune.core.timing import take_turns
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compaction import CompactDetector, compact, whole
from robustprune.detection.darknet.graph import IMAGE
from robustprune.detection.darknet.layers import MaxPool
from robustprune.detection.darknet.network import last_reads
from robustprune.inference.compact_layers import ChannelsLast
from robustprune.inference.sparse_convolution import (
    CpuSparseConvolution,
    CsrConvolution,
    SparseConvolution,
    is_convolution,
)

ROUND_TO = {"cpu": (1,), "cuda": (1, 8)}
"""Multiples of filters that are tried on a device. On a CPU rounding up cost more than it gave at every ratio
(`benchmarks.inference --round-to 8`)."""

GAIN = 0.97
"""Share of the dense detector's time that a network must stay below to be called faster: the rest is noise."""

CHANCE = 1e-4
"""Share of zeros up to which a detector counts as unpruned: drawn or trained weights are zero now and then."""

_HOPELESS = 1.5
"""What takes so many times the least at first is not tried again."""

_FORMATS = torch.contiguous_format, torch.channels_last

Module = TypeVar("Module", bound=nn.Module)


class Engine(NamedTuple):
    """A network that computes what a detector computes, and how. It runs on the device that it was made on.

    Attributes:
        name: `dense`, all of it; `compact`, without what zeros made idle; `sparse`, where some convolutions besides
            leave out zeros one by one.
        network: from images, (N, channels, H, W), to raw outputs, as `Detector.forward` gives them.
        memory_format: in which it takes images at once.
    """

    name: str
    network: CompactDetector
    memory_format: torch.memory_format

    def on(self, images: Tensor) -> Callable[[], list[Tensor]]:
        """Return a call of the network on images that are in its memory format already, to be timed."""
        return partial(self.network, images.contiguous(memory_format=self.memory_format))


@torch.inference_mode()
def dense_engine(detector: Detector, image: Tensor) -> Engine:
    """Return a whole detector, its batch norms folded, in the memory format in which it is faster.

    Args:
        detector: what zeros it has are made no use of.
        image: (1, channels, H, W), what is timed with, on the detector's device.
    """
    engines = [_dense(detector, memory_format) for memory_format in _FORMATS]
    times = _milliseconds([engine.on(image) for engine in engines], image.device)
    return engines[times.index(min(times))]


@torch.inference_mode()
def fastest_engine(
    detector: Detector, image: Tensor, *, dense: Engine, round_to: Sequence[int] | None = None
) -> Engine:
    """Return the engine that runs a pruned detector fastest, which is a dense one where nothing is faster.

    Args:
        detector: its zeros are what is made use of.
        image: (1, channels, H, W), what is timed with, on the detector's device. Images of other sizes are computed
            as well, if not as fast as they could be.
        dense: what is to be beaten, the engine of such a detector that is not pruned.
        round_to: to multiples of what compaction may round up the filters of a layer, the fastest being taken; by
            default `ROUND_TO`.
    """
    as_dense = _dense(detector, dense.memory_format)
    if _zeros(detector) <= CHANCE:
        return as_dense
    multiples = ROUND_TO.get(image.device.type, (1,)) if round_to is None else round_to
    compacted = {str(network.widths): network for network in (compact(detector, round_to=each) for each in multiples)}
    candidates = [as_dense]
    for network in compacted.values():
        candidates += [_tuned(network, image), _in_format("compact", network, torch.channels_last)]
    times = _milliseconds([engine.on(image) for engine in candidates], image.device)
    best = candidates[times.index(min(times))]
    # The winner is asked once more: of several, one is lucky in a noisy moment.
    limit, again = _milliseconds([dense.on(image), best.on(image)], image.device)
    return best if again < GAIN * limit else as_dense


def _dense(detector: Detector, memory_format: torch.memory_format) -> Engine:
    return _in_format("dense", whole(detector), memory_format)


def _in_format(name: str, network: CompactDetector, memory_format: torch.memory_format) -> Engine:
    return Engine(name, _converted(network, memory_format), memory_format)


def _converted(module: Module, memory_format: torch.memory_format) -> Module:
    return copy.deepcopy(module).to(memory_format=memory_format)


def _zeros(detector: Detector) -> float:
    weights = [layer.weight for layer in detector.prunable_layers(heads=True).values()]
    kept = sum(int(weight.count_nonzero()) for weight in weights)
    return 1 - kept / sum(weight.numel() for weight in weights)


def _tuned(network: CompactDetector, image: Tensor) -> Engine:
    """Try every layer in every way, in order of depth."""
    network = copy.deepcopy(network)
    readers = Counter(source for sources in network.inputs for source in sources)
    unread = last_reads(network.inputs)
    outputs = {IMAGE: image.contiguous()}
    index = 0
    while index < len(network.layers):
        inputs = [outputs[source] for source in network.inputs[index]]
        layer = network.layers[index]
        alone = readers[index] == 1 and network.inputs[index + 1] == (index,)
        pool = network.layers[index + 1] if alone and is_convolution(layer) else None
        if pool is not None and not _halves(pool, layer(*inputs)):
            pool = None
        chosen = _fastest_way(_ways(layer, pool), inputs)
        for layer in chosen:
            network.layers[index] = layer
            outputs[index] = layer(*inputs)
            inputs = [outputs[index]]
            for source in unread[index]:
                del outputs[source]
            index += 1
    sparse = any(isinstance(layer, SparseConvolution) and layer.zeros for layer in network.layers)
    return Engine("sparse" if sparse else "compact", network, torch.contiguous_format)


def _ways(layer: nn.Module, pool: nn.Module | None = None) -> list[list[nn.Module]]:
    """Return the ways to run a layer, and the pool that alone reads it; each in as many modules."""
    if is_convolution(layer):
        layers = [layer, _converted(layer, torch.channels_last)]
        plain = [[each] if pool is None else [each, ChannelsLast(pool)] for each in layers]
        return [*plain, _sparse_way(layer, pool)]
    if isinstance(layer, MaxPool):
        return [[layer], [ChannelsLast(layer)]]
    return [[layer]]


def _sparse_way(layer: nn.Module, pool: nn.Module | None) -> list[nn.Module]:
    """Return a convolution without its zeros, and its pool."""
    on_cpu = next(layer.parameters()).device.type == "cpu"
    if pool is None:
        return [CpuSparseConvolution(layer) if on_cpu else CsrConvolution(layer)]
    return [CpuSparseConvolution(layer, pool=True), nn.Identity()] if on_cpu else [CsrConvolution(layer), pool]


def _halves(pool: nn.Module, x: Tensor) -> bool:
    """Whether a layer takes the largest of every 2 × 2 pixels of x, none being left over."""
    if not isinstance(pool, MaxPool) or any(side % 2 for side in x.shape[2:]):
        return False
    return pool.size == pool.stride == 2 and pool.padding in [(0, 0), (0, 1)]


def _fastest_way(ways: list[list[nn.Module]], inputs: Sequence[Tensor]) -> list[nn.Module]:
    if len(ways) == 1:
        return ways[0]
    times = _milliseconds([partial(nn.Sequential(*way), *inputs) for way in ways], inputs[0].device)
    return ways[times.index(min(times))]


def _milliseconds(candidates: Sequence[Callable[[], object]], device: torch.device) -> list[float]:
    """Time candidates in turns; those that are far behind at first are not asked again."""
    times = [timing.p50 for timing in take_turns(candidates, repeats=3, warm_up=1, device=device)]
    hopeful = [index for index, time in enumerate(times) if time < _HOPELESS * min(times)]
    for index, timing in zip(
        hopeful, take_turns([candidates[index] for index in hopeful], repeats=7, warm_up=0, device=device), strict=True
    ):
        times[index] = timing.p50
    return times
