"""The fastest engine computes what the masked detector computes, whatever is chosen, and is chosen by time alone."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compact.compaction import CompactDetector, compact, whole
from robustprune.detection.darknet.compact.engines import dense_engine, fastest_engine
from robustprune.inference import engine
from robustprune.inference.engine import Engine
from robustprune.inference.sparse.convolution import CsrConvolution, SparseConvolution
from tests.robustprune.detection.pruned import HEAD, assert_same, conv, convolution, detector_of, prune, randomised

CPU = torch.device("cpu")
Runs = Sequence[Callable[[], object]]


@pytest.fixture(scope="module")
def nano() -> Detector:
    return randomised(Detector.from_cfg("yolov3-nano"))


def images(side: int = 64, count: int = 1) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def pruned(detector: Detector, structure: str, ratio: float) -> Detector:
    detector = copy.deepcopy(detector)
    prune(detector, structure, ratio)
    return detector


def engine_of(detector: Detector, dense: Detector) -> Engine:
    return fastest_engine(detector, images(), dense=dense_engine(dense, images()))


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75, 0.9, 0.99])
@pytest.mark.parametrize("structure", ["structured", "unstructured"])
def test_the_fastest_engine_computes_what_the_masked_detector_does(
    nano: Detector, structure: str, ratio: float
) -> None:
    detector = pruned(nano, structure, ratio)
    fastest = engine_of(detector, nano)
    assert fastest.name in ("dense", "compact", "sparse")
    with torch.inference_mode():
        for batch in (images(), images(96), images(count=3)):
            assert_same(fastest.network, detector, batch)
            assert_same(fastest.network, detector, batch.contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize("way", range(3))
@pytest.mark.parametrize("structure", ["structured", "unstructured"])
@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny"])
def test_every_way_to_run_a_layer_computes_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str, structure: str, way: int
) -> None:
    detector = pruned(randomised(Detector.from_cfg(name)), structure, 0.9)

    def prefer(candidates: Runs, device: torch.device) -> list[float]:
        return [0.0 if index == min(way, len(candidates) - 1) else 1.0 for index, _ in enumerate(candidates)]

    monkeypatch.setattr(engine, "_milliseconds", prefer)
    tuned = engine._tuned(compact(detector), images())
    sparse = [layer for layer in tuned.network.modules() if isinstance(layer, SparseConvolution)]
    assert bool(sparse) == (way == 2)
    assert_same(tuned.network, detector, images())
    assert_same(tuned.network, detector, images(96, count=2))


def test_other_devices_multiply_matrices_in_csr_format(monkeypatch: pytest.MonkeyPatch, nano: Detector) -> None:
    monkeypatch.setattr(
        engine, "_sparse_ways", lambda layer, pool: [[CsrConvolution(layer), *([pool] if pool else [])]]
    )
    monkeypatch.setattr(
        engine, "_milliseconds", lambda candidates, device: [-float(i) for i, _ in enumerate(candidates)]
    )
    detector = pruned(nano, "unstructured", 0.9)
    tuned = engine._tuned(compact(detector), images())
    assert sum(isinstance(layer, CsrConvolution) for layer in tuned.network.modules()) > 10
    assert_same(tuned.network, detector, images())


def test_an_unpruned_detector_is_dense_whatever_is_faster(monkeypatch: pytest.MonkeyPatch, nano: Detector) -> None:
    dense, detector = dense_engine(nano, images()), copy.deepcopy(nano)
    with torch.no_grad():
        convolution(detector, 3).weight[0, 0, 0, 0] = 0  # by chance
    monkeypatch.setattr(
        engine, "_milliseconds", lambda candidates, device: [-float(i) for i, _ in enumerate(candidates)]
    )
    fastest = fastest_engine(detector, images(), dense=dense)
    assert fastest.name == "dense"
    assert_same(fastest.network, detector, images())


@pytest.mark.parametrize(
    ("share", "again", "expected"),
    [(0.5, 0.5, "compact"), (0.96, 0.96, "compact"), (0.98, 0.98, "dense"), (2.0, 2.0, "dense"), (0.5, 1.0, "dense")],
)
def test_what_is_not_clearly_faster_than_dense_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, nano: Detector, share: float, again: float, expected: str
) -> None:
    dense = dense_engine(nano, images())

    def times(candidates: Runs, device: torch.device) -> list[float]:
        """Layers are fastest as they are; the whole takes those shares of the dense detector's time."""
        calls = [candidate.func for candidate in candidates if isinstance(candidate, partial)]
        if not isinstance(calls[0], CompactDetector):
            return [float(index) for index, _ in enumerate(candidates)]
        return [1.0, *((again if calls[0] is dense.network else share) for _ in candidates[1:])]

    monkeypatch.setattr(engine, "_milliseconds", times)
    detector = pruned(nano, "structured", 0.5)
    fastest = fastest_engine(detector, images(), dense=dense)
    assert fastest.name == expected
    assert_same(fastest.network, detector, images())


def test_a_hiccup_does_not_rule_out_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    calls = itertools.count()

    def fast() -> None:
        nonlocal now
        now += 50 if next(calls) in (0, 2) else 1

    def slow() -> None:
        nonlocal now
        now += 2

    assert engine._milliseconds([fast, slow], CPU) == [1000, 2000]


def test_it_does_not_change_the_detector(nano: Detector) -> None:
    detector = pruned(nano, "unstructured", 0.9)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    engine_of(detector, nano)
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())
    assert next(detector.parameters()).requires_grad


def test_a_dense_engine_leaves_nothing_out_even_of_depthwise_convolutions() -> None:
    convolutions = conv(8), conv(8, "groups=8"), conv(8, size=1), "[shortcut]\nfrom=-3\nactivation=linear\n", conv(6)
    detector = detector_of(*convolutions, HEAD)
    expected = whole(detector)
    for structure in ("structured", "unstructured"):
        less = pruned(detector, structure, 0.9)
        found = whole(less)
        assert found.widths == expected.widths
        assert [type(layer) for layer in found.layers] == [type(layer) for layer in expected.layers]
        assert_same(found, less, images(32))
        assert compact(less).widths != expected.widths


@pytest.mark.parametrize("structure", ["structured", "unstructured"])
def test_a_published_detector_with_depthwise_convolutions(darknet_data: Path, structure: str) -> None:
    dense = randomised(Detector.from_cfg(darknet_data / "yolo-fastest-1.1.cfg"))
    detector = pruned(dense, structure, 0.9)
    assert_same(engine_of(detector, dense).network, detector, images(96))
