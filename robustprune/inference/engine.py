"""The fastest way to run a pruned network on the machine at hand, found by timing it.

Nothing is assumed about what pays. A convolution may be fastest as it is, in either memory format, or without its
zeros: that depends on their number, its size and the processor. So each layer of a compacted network is tried in
every way on the very tensors that the layers before it hand on, and the fastest way stays. The whole is then timed
against the dense network, and has to be faster. On a GPU each, the dense one too, is timed as it is and replayed.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from robustprune.core.timing import Comparison, TimingSettings, compare, milliseconds
from robustprune.inference.compact_layers import ChannelsLast
from robustprune.inference.graph import IMAGE, GraphNetwork, last_reads
from robustprune.inference.replay import Replay, replayed
from robustprune.inference.sparse.convolution import (
    CpuSparseConvolution,
    CsrConvolution,
    SparseConvolution,
    is_convolution,
    layouts,
    takes,
)
from robustprune.inference.without_channels import agree

ROUND_TO = {"cpu": (1,), "cuda": (1, 8)}
"""Multiples of filters that are tried on a device. On a CPU rounding up cost more than it gave at every ratio
(`benchmarks.inference --round-to 8`)."""

GAIN = 0.97
"""Share of the dense network's time that a network must stay below to be called faster: the rest is noise."""

CHANCE = 1e-4
"""Share of zeros up to which a network counts as unpruned: drawn or trained weights are zero now and then."""

_HOPELESS = 1.5
"""A candidate that at first takes so many times as long as the fastest one is not timed again."""

_FORMATS = torch.contiguous_format, torch.channels_last

Module = TypeVar("Module", bound=nn.Module)


class Engine(NamedTuple):
    """A network that computes what another one computes, and how. It runs on the device that it was made on.

    Attributes:
        name: `dense`, all of it; `compact`, without what zeros made idle; `sparse`, where some convolutions besides
            leave out zeros one by one.
        network: from images, (N, channels, H, W), to the outputs. Those of a `replay.Replay`, which may be chosen on a
            GPU, last until its next call.
        memory_format: in which it takes images at once.
    """

    name: str
    network: nn.Module
    memory_format: torch.memory_format

    def on(self, images: Tensor) -> Callable[[], Any]:
        """Return a call of the network on images that are in its memory format already, to be timed."""
        return partial(self.network, images.contiguous(memory_format=self.memory_format))


@torch.inference_mode()
def dense_engine(whole: nn.Module, image: Tensor) -> Engine:
    """Return a whole network in the memory format in which it is faster.

    Args:
        whole: what zeros it has are made no use of.
        image: (1, channels, H, W), what is timed with, on the network's device.
    """
    engines = [_in_format("dense", whole, memory_format) for memory_format in _FORMATS]
    engines = [each for each in engines if agree(each.network, whole, image)] or engines[:1]
    engines = _and_replayed(engines, image)
    times = _milliseconds([engine.on(image) for engine in engines], image.device)
    return engines[times.index(min(times))]


@torch.inference_mode()
def fastest_engine(
    whole: nn.Module,
    compacted: Callable[[int], GraphNetwork],
    image: Tensor,
    *,
    dense: Engine,
    round_to: Sequence[int] | None = None,
) -> Engine:
    """Return the engine that runs a pruned network fastest, which is a dense one where nothing is faster.

    Args:
        whole: the network, of whose zeros no use is made.
        compacted: returns what is left of it without what zeros made idle, the filters of a layer being rounded up to
            multiples of a number.
        image: (1, channels, H, W), what is timed with, on the network's device. Images of other sizes are computed
            as well, if not as fast as they could be.
        dense: what is to be beaten, the engine of such a network that is not pruned.
        round_to: to multiples of what compaction may round up, the fastest being taken; by default `ROUND_TO`.
    """
    if _zeros(whole) <= CHANCE and _parameters(whole) == _parameters(dense.network):
        return _as_dense(whole, image, dense=dense)
    multiples = ROUND_TO.get(image.device.type, (1,)) if round_to is None else round_to
    networks = {str(network.widths): network for network in map(compacted, multiples)}
    candidates: list[Engine] = []
    for network in networks.values():
        candidates.append(_in_format("compact", network, torch.channels_last))
        with suppress(RuntimeError):  # from layers that do not take the memory format in which another was faster
            candidates.append(_tuned(network, image))
    return _fastest(whole, candidates, image, dense=dense)


def compared(own: Engine, dense: Engine, image: Tensor, *, settings: TimingSettings) -> Comparison:
    """Time a pruned network's engine in turns with the unpruned one's, and with a copy of that; see `timing.compare`.

    Args:
        own: of the pruned network.
        dense: of the unpruned one.
        image: (1, channels, H, W), on their device.
        settings: how often each is timed.
    """
    with torch.inference_mode():
        # Copied in this mode, as engines are made: ordinary tensors take 3% longer in it, and twins would differ.
        twin = dense._replace(network=copy.deepcopy(dense.network))
        return compare(own.on(image), dense.on(image), twin.on(image), settings=settings, device=image.device)


def _zeros(network: nn.Module) -> float:
    """Return the share of its layers' weights that are zero."""
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    kept = sum(int(weight.count_nonzero()) for weight in weights)
    return 1 - kept / max(1, sum(weight.numel() for weight in weights))


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _fastest(whole: nn.Module, others: Sequence[Engine], image: Tensor, *, dense: Engine) -> Engine:
    """Return the fastest of some engines if it beats the unpruned network's, else that of the whole.

    A network that channels have left for good is the compact one itself, and there is none to go back to.
    """
    is_smaller = _parameters(whole) < _parameters(dense.network)
    as_whole = _as_dense(whole, image, dense=dense)._replace(name="compact" if is_smaller else "dense")
    # What some layer does not take, or computes otherwise in another memory format, is no candidate.
    others = [each for each in others if agree(each.network, whole, image)]
    candidates = [as_whole, *_and_replayed(others, image)]
    times = _milliseconds([engine.on(image) for engine in candidates], image.device)
    best = candidates[times.index(min(times))]
    # The winner is asked once more: of several, one is lucky in a noisy moment.
    limit, again = _milliseconds([dense.on(image), best.on(image)], image.device)
    return best if is_smaller or again < GAIN * limit else as_whole


def _as_dense(whole: nn.Module, image: Tensor, *, dense: Engine) -> Engine:
    """Return a whole network as the unpruned one runs."""
    engine = _in_format("dense", whole, dense.memory_format)
    return _and_replayed([engine], image)[-1] if isinstance(dense.network, Replay) else engine


def _and_replayed(engines: Sequence[Engine], image: Tensor) -> list[Engine]:
    """Return engines, and after them the same ones to be replayed, those of them that can be."""
    networks = ((each, replayed(each.network, image.contiguous(memory_format=each.memory_format))) for each in engines)
    return [*engines, *(each._replace(network=network) for each, network in networks if network is not None)]


def _in_format(name: str, network: nn.Module, memory_format: torch.memory_format) -> Engine:
    return Engine(name, _converted(network, memory_format), memory_format)


def _converted(module: Module, memory_format: torch.memory_format) -> Module:
    """Return a copy whose tensors of four sides have a memory format; `Module.to` fails at those of five."""

    def formatted(tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor

    converted: Module = copy.deepcopy(module)._apply(formatted)  # type: ignore[no-untyped-call]
    return converted


def _tuned(network: GraphNetwork, image: Tensor) -> Engine:
    """Try every layer in every way, in order of depth."""
    network = _converted(network, torch.contiguous_format)
    readers = Counter(source for sources in network.inputs for source in sources)
    unread = last_reads(network.inputs, kept=network.heads)
    outputs = {IMAGE: image.contiguous()}
    index = 0
    while index < len(network.layers):
        inputs = [outputs[source] for source in network.inputs[index]]
        layer = network.layers[index]
        alone = readers[index] == 1 and network.inputs[index + 1] == (index,) and index not in network.heads
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
        return [*plain, *_sparse_ways(layer, pool)] if takes(layer) else plain
    if any(isinstance(module, nn.MaxPool2d) for module in layer.modules()):
        return [[layer], [ChannelsLast(layer)]]
    return [[layer]]


def _sparse_ways(layer: nn.Module, pool: nn.Module | None) -> list[list[nn.Module]]:
    """Return the ways to run a convolution without its zeros, and its pool."""
    if next(layer.parameters()).device.type != "cpu":
        return [[CsrConvolution(layer)] if pool is None else [CsrConvolution(layer), pool]]
    made = [CpuSparseConvolution(layer, pool=pool is not None, shifted=each) for each in layouts()]
    return [[each] if pool is None else [each, nn.Identity()] for each in made]


def _halves(pool: nn.Module, x: Tensor) -> bool:
    """Whether a layer takes the largest of every 2 × 2 pixels of x, none being left over: it is asked."""
    if any(side % 2 for side in x.shape[2:]) or not any(isinstance(module, nn.MaxPool2d) for module in pool.modules()):
        return False
    return torch.equal(pool(x), nn.functional.max_pool2d(x, 2))


def _fastest_way(ways: list[list[nn.Module]], inputs: Sequence[Tensor]) -> list[nn.Module]:
    if len(ways) == 1:
        return ways[0]
    times = _milliseconds([partial(nn.Sequential(*way), *inputs) for way in ways], inputs[0].device)
    return ways[times.index(min(times))]


def _milliseconds(candidates: Sequence[Callable[[], object]], device: torch.device) -> list[float]:
    """Time candidates in turns; those that are far behind at first are not asked again.

    The least of a candidate's turns counts: whatever else the machine does can only add to it.
    """
    times: list[float] = milliseconds(candidates, repeats=3, warm_up=1, device=device).min(axis=0).tolist()
    hopeful = [index for index, time in enumerate(times) if time < _HOPELESS * min(times)]
    again = milliseconds([candidates[index] for index in hopeful], repeats=7, warm_up=0, device=device).min(axis=0)
    for index, time in zip(hopeful, again.tolist(), strict=True):
        times[index] = min(times[index], time)
    return times
