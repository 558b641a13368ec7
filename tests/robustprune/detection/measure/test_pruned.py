"""The times and sizes in a row are of the pruned detector and of the dense one, and not the other way round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from robustprune.core.timing import Timing
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.detection.measure import pruned
from robustprune.detection.measure.pruned import measure_pruned
from robustprune.inference.cost import size
from robustprune.inference.engine import Engine
from tests.robustprune.detection.pruned import drawn_masks, randomised

TIMES = [Timing(mean=2.5, p50=2.0, p95=7.0), Timing(mean=9.0, p50=8.0, p95=11.0)]


def test_a_row_tells_the_pruned_detectors_time_and_the_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = randomised(Detector.from_cfg("yolov3-nano"))
    detector, masks = randomised(Detector.from_cfg("yolov3-nano")), drawn_masks(dense, "structured")
    with torch.no_grad():
        for name, mask in masks.items():
            detector.get_parameter(f"{name}.weight").mul_(mask)
    timed: list[int] = []

    def take_turns(candidates: Sequence[Callable[[], object]], **options: Any) -> list[Timing]:
        assert options == {"repeats": 3, "warm_up": 1, "device": torch.device("cpu")}
        timed.extend(size(candidate.func, torch.zeros(1, 3, 64, 64)).params for candidate in candidates)  # type: ignore[attr-defined]
        return TIMES

    compacted = Compacted()
    monkeypatch.setattr(pruned, "take_turns", take_turns)
    monkeypatch.setattr(pruned, "fastest_engine", lambda detector, image, dense: compacted(detector, image))
    monkeypatch.setattr(pruned, "dense_engine", compacted)
    row = measure_pruned(detector, masks, dense=dense, image_size=64, repeats=3, warm_up=1)
    assert compacted.made_of == [dense, detector]
    assert timed == [row["params_compact"], size(compact(dense), torch.zeros(1, 3, 64, 64)).params]
    assert row["params_compact"] < 0.1 * row["params_total"]
    assert (row["inference_ms"], row["inference_ms_p50"], row["inference_ms_p95"]) == TIMES[0]
    assert (row["inference_ms_dense"], row["inference_ms_dense_p50"], row["speedup"]) == (9.0, 8.0, 4.0)


class Compacted:
    """Stands in for an engine: the smaller network of whatever detector it is asked for."""

    def __init__(self) -> None:
        self.made_of: list[Detector] = []

    def __call__(self, detector: Detector, image: torch.Tensor) -> Any:
        self.made_of.append(detector)
        network = compact(detector)
        return Engine("stand-in", network, torch.contiguous_format)
