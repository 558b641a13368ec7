"""Inference: pruned detectors in every engine, and whether the protocol of timing finds no difference where none is."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.gpu.figures import Bench, Figure
from benchmarks.inference import difference, protocol, prune, random_detector
from robustprune.core.devices import in_full_precision
from robustprune.core.timing import Comparison, TimingSettings, compare, take_turns
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.detection.darknet.compact.engines import dense_engine, fastest_engine
from robustprune.inference.engine import Engine
from robustprune.inference.graph import GraphNetwork
from robustprune.inference.replay import replayed
from robustprune.inference.sparse.convolution import CpuSparseConvolution, CsrConvolution, is_convolution

RATIOS = (0.5, 0.9)


def speedups(bench: Bench) -> Iterator[Figure]:
    """Yield every engine's speed-up over the unpruned detector, and how far its outputs are from the masked one's."""
    image = _image(bench)
    with in_full_precision():
        dense = dense_engine(random_detector(bench.sizes.small_detector, image), image)
        for structure in ("structured", "unstructured"):
            for ratio in RATIOS:
                yield from _engines(bench, image, dense, structure, ratio)


def _engines(bench: Bench, image: Tensor, dense: Engine, structure: str, ratio: float) -> Iterator[Figure]:
    detector = random_detector(bench.sizes.small_detector, image)
    prune(detector, structure, ratio)
    with torch.inference_mode():
        network = compact(detector)
        engines = [
            Engine("compact", copy.deepcopy(network), torch.contiguous_format),
            Engine("compact, channels last", _channels_last(network), torch.channels_last),
            Engine("sparse", _without_zeros(network), torch.contiguous_format),
        ]
    chosen = fastest_engine(detector, image, dense=dense)
    with torch.inference_mode():
        engines += list(filter(None, (_replayed(each, image) for each in engines)))
        engines.append(chosen._replace(name=f"fastest as found ({chosen.name})"))
        runs = [each.on(image) for each in (dense, *engines)]
        whole, *others = take_turns(runs, repeats=max(3, bench.sizes.repeats), warm_up=2, device=image.device)
    for engine, timing in zip(engines, others, strict=True):
        name = f"{structure} {ratio:g}, {engine.name}"
        yield Figure(f"{name}: speed-up", whole.p50 / timing.p50, "×")
        apart = difference(detector, engine, image)
        yield Figure(f"{name}: outputs beside the masked detector's", apart, "largest difference", apart <= 1e-3)


def _replayed(engine: Engine, image: Tensor) -> Engine | None:
    """Return an engine as a CUDA graph, if that can be made."""
    network = replayed(engine.network, image.contiguous(memory_format=engine.memory_format))
    return None if network is None else engine._replace(name=f"{engine.name}, replayed", network=network)


def null(bench: Bench) -> Iterator[Figure]:
    """Yield what rows would say of a detector that is not pruned at all: a speed-up of 1, and no doubt."""
    image, config = _image(bench), bench.sizes.small_detector
    dense = dense_engine(random_detector(config, image), image)
    with torch.inference_mode():
        networks = [dense._replace(network=copy.deepcopy(dense.network)).on(image) for _ in range(3)]
        settings = TimingSettings(**bench.sizes.timing)
        found: list[Comparison] = []
        while len(found) < bench.sizes.comparisons and (bench.left > 0 or not found):
            found.append(compare(*networks, settings=settings, device=image.device))
    medians = [each.speedup.median for each in found]
    covered = sum((low or 0.0) <= 1 <= (high or 2.0) for _, low, high in (each.speedup for each in found))
    yield Figure("equal networks: comparisons", len(found))
    yield Figure("equal networks: farthest speed-up from 1", max(abs(each - 1) for each in medians))
    yield Figure("equal networks: intervals with 1 in them", covered / len(found))
    yield Figure("equal networks: comparisons in doubt", sum(bool(each.is_doubtful) for each in found))
    yield Figure("equal networks: median time", found[0].dense.p50, "ms")
    for row in protocol(config, image, times=bench.sizes.comparisons, repeats=bench.sizes.repeats):
        name = f"a detector and itself, {row['protocol']}"
        yield Figure(f"{name}: mean ratio", float(row["mean_ratio"]))
        yield Figure(f"{name}: p of the reference's test", float(row["p_value"]))


def _image(bench: Bench) -> Tensor:
    side = bench.sizes.image_size
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(bench.device)


def _channels_last(network: GraphNetwork) -> GraphNetwork:
    converted: GraphNetwork = copy.deepcopy(network).to(memory_format=torch.channels_last)
    return converted


def _without_zeros(network: GraphNetwork) -> GraphNetwork:
    """Return a network all of whose convolutions leave out zeros one by one, whether that pays or not."""
    sparse = copy.deepcopy(network)
    for index, layer in enumerate(sparse.layers):
        if is_convolution(layer):
            on_cpu = next(layer.parameters()).device.type == "cpu"
            sparse.layers[index] = CpuSparseConvolution(layer) if on_cpu else CsrConvolution(layer)
    return sparse
