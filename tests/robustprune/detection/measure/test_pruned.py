"""The times and sizes in a row are of the pruned detector and of the dense one, and not the other way round."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from robustprune.core.timing import Comparison, Interval, Timing, TimingSettings
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.detection.measure import pruned
from robustprune.detection.measure.pruned import measure_pruned
from robustprune.inference import engine
from robustprune.inference.cost import size
from robustprune.inference.engine import Engine
from tests.robustprune.detection.pruned import drawn_masks, randomised

COMPARED = Comparison(
    pruned=Timing(mean=2.5, p50=2.0, p95=7.0),
    dense=Timing(mean=9.0, p50=8.0, p95=11.0),
    speedup=Interval(4.0, 3.5, 4.5),
    control=Interval(1.01, 0.98, 1.03),
    turns=40,
    is_doubtful=False,
)


def test_a_row_tells_the_pruned_detectors_time_and_the_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = randomised(Detector.from_cfg("yolov3-nano"))
    detector, masks = randomised(Detector.from_cfg("yolov3-nano")), drawn_masks(dense, "structured")
    with torch.no_grad():
        for name, mask in masks.items():
            detector.get_parameter(f"{name}.weight").mul_(mask)
    timed: list[int] = []

    def compare(*networks: Callable[[], object], **options: Any) -> Comparison:
        assert options == {"settings": settings, "device": torch.device("cpu")}
        assert len({id(network.func) for network in networks}) == 3  # type: ignore[attr-defined]
        timed.extend(size(network.func, torch.zeros(1, 3, 64, 64)).params for network in networks)  # type: ignore[attr-defined]
        # Ordinary tensors take longer in this mode than those that were made in it, and the control would tell of that.
        assert all(weight.is_inference() for network in networks[1:] for weight in network.func.parameters())  # type: ignore[attr-defined]
        return COMPARED

    compacted, settings = Compacted(), TimingSettings(timing_repeats=3, timing_warm_up=1)
    monkeypatch.setattr(engine, "compare", compare)
    monkeypatch.setattr(pruned, "fastest_engine", lambda detector, image, dense: compacted(detector, image))
    monkeypatch.setattr(pruned, "dense_engine", compacted)
    monkeypatch.delenv("SWEEPS_ROWS_PER_DEVICE", raising=False)
    row = measure_pruned(detector, masks, dense=dense, image_size=64, timing=settings)
    assert compacted.made_of == [dense, detector]
    whole = size(compact(dense), torch.zeros(1, 3, 64, 64)).params
    assert timed == [row["params_compact"], whole, whole]
    assert row["params_compact"] < 0.1 * row["params_total"]
    assert COMPARED.columns().items() <= row.items()
    assert row["device"] == "cpu"
    assert len(row["accelerator"]) > 2
    assert (row["device_shared_by"], row["timing_doubtful"]) == (1, False)
    # Beside another row on the same device, no clock tells the time of this one.
    monkeypatch.setenv("SWEEPS_ROWS_PER_DEVICE", "2")
    timed.clear()
    packed = measure_pruned(detector, masks, dense=dense, image_size=64, timing=settings)
    assert (packed["device_shared_by"], packed["timing_doubtful"]) == (2, True)


class Compacted:
    """Stands in for an engine: the smaller network of whatever detector it is asked for."""

    def __init__(self) -> None:
        self.made_of: list[Detector] = []

    def __call__(self, detector: Detector, image: torch.Tensor) -> Any:
        self.made_of.append(detector)
        with torch.inference_mode():
            network = copy.deepcopy(compact(detector))
        return Engine("stand-in", network, torch.contiguous_format)
