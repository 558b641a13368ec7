"""A CenterNet's channels go together along its graph, leave it for real, and what is left computes the same."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from robustprune.core.errors import InputError
from robustprune.core.timing import TimingSettings
from robustprune.detection import networks
from robustprune.detection.exported import Exporter
from robustprune.detection.kept_models import load_model, model_files
from robustprune.detection.measure.pruned import measure_pruned, smaller
from robustprune.inference.cost import size
from tests.robustprune.detection.centernet.networks import CLASSES, experienced, filters_masked
from tests.robustprune.detection.tasks import task_of

HEADS = {"heat.2", "offset.2", "size.2"}
CELL = {"structure": "structured", "initializer": "magnitude", "colour": "rgb", "seed": 0, "ratio": 0.5}


def test_the_layers_of_the_raw_outputs_are_spared() -> None:
    detector = experienced()
    every = detector.prunable_layers(heads=True).keys()
    assert every - detector.prunable_layers().keys() == HEADS
    assert set(task_of(detector).prunable_layers(detector)) == every - HEADS


def test_residual_sums_and_merges_couple_channels_and_each_filter_is_decided_on_once() -> None:
    detector = experienced()
    groups = task_of(detector).coupled_groups(copy.deepcopy(detector))
    together = [set(group.filters) for group in groups if len(group.filters) > 1]
    # What the finest stage hands on is added to within it, and in the merge that reads it.
    assert {"backbone.stages.0.0.0", "backbone.stages.0.1.second.0", "merges.1.project.0"} in together
    decided = [name for group in groups for name in group.filters]
    assert sorted(decided) == sorted(detector.prunable_layers())
    shared = next(group for group in groups if "merges.1.node.0" in group.filters)
    assert set(shared.readers) == {"heat.0", "offset.0", "size.0"}


@pytest.mark.parametrize("name", ["centernet-small", "centernet-resnet18", "centernet-dla34"])
def test_masked_filters_leave_for_real_and_the_answer_stays(name: str) -> None:
    if name == "centernet-dla34":
        pytest.importorskip("timm")
    detector = experienced(name)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    filters_masked(detector, 0.5)
    left = smaller(detector, image[:1])
    with torch.no_grad():
        for found, expected in zip(left(image), detector(image), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    before, after = size(detector, image[:1]), size(left, image[:1])
    assert after.params < 0.3 * before.params
    assert after.macs < 0.35 * before.macs
    assert 2 * len(left.get_parameter("heat.0.weight")) == len(detector.get_parameter("heat.0.weight"))


def test_nothing_leaves_a_detector_that_is_not_pruned_or_pruned_weight_by_weight() -> None:
    detector, image = experienced(), torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        detector.get_parameter("backbone.stem.0.weight")[0].zero_()
    left = smaller(detector, image)  # the shift of its batch norm is still read
    assert size(left, image) == size(detector, image)


def test_a_row_is_timed_without_the_filters_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """By clocks that tell parameters for milliseconds: those of a busy machine tell anything."""

    def told(candidates: Sequence[Any], device: object) -> list[float]:
        return [sum(parameter.numel() for parameter in each.func.parameters()) for each in candidates]

    monkeypatch.setattr("robustprune.inference.engine._milliseconds", told)
    dense = experienced()
    detector = copy.deepcopy(dense)
    pruned = filters_masked(detector, 0.9)
    timing = TimingSettings(timing_repeats=1, timing_warm_up=0)
    row = measure_pruned(detector, pruned.masks, dense=dense, image_size=64, timing=timing, gone=pruned.gone)
    assert row["engine"] == "compact"
    assert row["params_compact"] == row["params_kept"] < 0.03 * row["params_total"]
    assert row["macs_compact"] == row["macs"] < 0.05 * row["macs_dense"]


def test_where_nothing_left_the_row_is_timed_as_it_is() -> None:
    detector, timing = experienced(), TimingSettings(timing_repeats=1, timing_warm_up=0)
    row = measure_pruned(detector, {}, dense=copy.deepcopy(detector), image_size=64, timing=timing)
    assert (row["engine"], row["params_compact"]) == ("dense", row["params_total"])


def test_a_kept_model_is_rebuilt_by_its_name_and_exported(tmp_path: Path) -> None:
    detector = experienced()
    filters_masked(detector, 0.5)
    classes = [f"class {number}" for number in range(CLASSES)]
    files = model_files(detector, cell=CELL, image_size=64, classes=classes, network="centernet-small")
    path = tmp_path / "kept.safetensors"
    path.write_bytes(files[".safetensors"])
    kept = load_model(path)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(kept(images), detector.decode(detector(images), 64))
    assert (kept.spec.format, kept.spec.network, kept.spec.cfg) == (3, "centernet-small", None)
    exporter = Exporter(kept, image_size=64)
    before, after = exporter.params
    assert after < 0.3 * before
    with pytest.raises(InputError, match="darknet: found a model of centernet-small, expected one of a .cfg"):
        exporter.write("darknet", {".cfg": tmp_path / "a.cfg", ".weights": tmp_path / "a.weights"})
    assert "its boxes differ by at most" in exporter.write("onnx", {".onnx": tmp_path / "a.onnx"})


def test_dla_without_timm_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="centernet-dla34 needs timm, found no such package; pip install"):
        networks.build("centernet-dla34", classes=2, image_size=512)
