"""What a study's detectors read: how pictures meet the network, classes by name, and weights of a backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, cfg, save_weights
from robustprune.detection.data.datasets import Shapes
from robustprune.detection.kept_models import load_model
from robustprune.studies.detection.inputs import arranged, network_input, samples
from robustprune.studies.detection.settings import DetectionSettings, stage_inputs
from tests.robustprune.studies.detection.small_study import SPEC, cell, published, study

CONV = "[convolutional]\nbatch_normalize=1\npad=1\nsize=3\nactivation=leaky\n"
NET = "[net]\nwidth=96\nheight=64\nchannels=1\nmosaic=1\n"
BODY = (
    f"{CONV}filters=8\nstride=4\n{CONV}filters=8\nstride=2\n{CONV}filters=8\nstride=2\n"
    "[shortcut]\nfrom=-2\nactivation=linear\n[route]\nlayers=1\n[reorg]\nstride=2\n[route]\nlayers=-1,3\n"
)
HEAD = (
    "[convolutional]\nfilters=22\nsize=1\nactivation=linear\n[region]\nanchors=1,1,2,2\nnum=2\nclasses=6\nsoftmax=1\n"
)
"""YOLOv2's ideas at a small size, oblong, of one channel, and of AlexeyAB's engine."""


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def oblong(tmp_path: Path) -> str:
    """Return the name of a .cfg."""
    (tmp_path / "oblong.cfg").write_text(NET + BODY + HEAD)
    return str(tmp_path / "oblong.cfg")


def settings(**detector: Any) -> DetectionSettings:
    return DetectionSettings.model_validate({**SPEC, "detector": {"config": "yolov3-nano", **detector}})


def names() -> list[str]:
    dataset = SPEC["dataset"]
    return list(Shapes.model_validate(dataset).splits()[0].category_names)


def test_an_oblong_grey_stretched_network_is_trained_attacked_pruned_compacted_and_kept(
    oblong: str, tmp_path: Path
) -> None:
    own = study(detector={"config": oblong}, keep_models=True)
    remarks = own.check([cell(), cell(colour="greyscale")])
    assert any(
        "pictures are stretched to 96x64 pixels, since the .cfg is of AlexeyAB's engine" in each for each in remarks
    )
    assert any(
        "one channel, so that all pictures become grey; colours rgb and greyscale are" in each for each in remarks
    )
    assert own.workloads("pretrain", cell())
    base = published(own.base(cell()))
    checkpoint = published(own.pretrain(cell(), base))
    structured = cell(structure="structured", ratio=0.5)
    row = own.evaluate_row(structured, checkpoint, published(own.score(structured, checkpoint)))
    assert row["macs_compact"] < row["macs_dense"]
    assert np.isfinite(row["map_adv"])
    assert np.isfinite(row["map_adv_margin"])
    for ending, content in row["models"].items():
        (tmp_path / f"kept{ending}").write_bytes(content)
    kept = load_model(tmp_path / "kept.safetensors")
    assert (kept.spec.format, kept.spec.size, kept.spec.fit) == (2, (64, 96), "stretch")
    assert kept.detector.channels == 1


def test_the_cfg_decides_unless_the_spec_does(oblong: str) -> None:
    assert network_input(settings(config=oblong))[:3] == ((64, 96), 1, "stretch")
    assert network_input(settings(config=oblong, image_size=[128, 64], fit="letterbox"))[:3] == (
        (64, 128),
        1,
        "letterbox",
    )
    assert network_input(settings())[:3] == (64, 3, "letterbox")
    batch = samples(settings(config=oblong), "val").batch([0, 1])
    assert batch.images.shape == (2, 1, 64, 96)
    assert batch.letterboxes[0][2:] == (1.5, 1.0, 0, 0)


def test_another_fit_changes_keys_and_the_one_it_was_does_not() -> None:
    plain, boxed, stretched = (stage_inputs(settings(fit=fit, image_size=64)) for fit in (None, "letterbox", "stretch"))
    assert plain == boxed
    assert all(plain[stage] != stretched[stage] for stage in plain)
    assert plain["base"]["detector"].keys() == {"config", "weights", "image_size", "loss"}


def test_another_suppression_changes_keys(tmp_path: Path) -> None:
    text = NET + BODY + HEAD
    found = []
    for name, more in (("plain", ""), ("diou", "nms_kind=diounms\n")):
        (tmp_path / f"{name}.cfg").write_text(text + more)
        found.append(stage_inputs(settings(config=str(tmp_path / f"{name}.cfg")))["baseline"]["detector"])
    assert "suppression" not in found[0]
    assert found[1]["suppression"] == ["diou", 0.6]


def test_a_side_that_does_not_divide_is_named(oblong: str) -> None:
    with pytest.raises(InputError, match="detector.image_size is 100x64, expected a multiple of 16"):
        study(detector={"config": oblong, "image_size": [100, 64]}).check([cell()])


def test_classes_come_in_the_order_of_the_names(tmp_path: Path) -> None:
    (tmp_path / "obj.names").write_text("\n".join(reversed(names())))
    found = [arranged(settings(names=given)) for given in (str(tmp_path / "obj.names"), names()[::-1])]
    assert [each.splits[0].category_names for each in found] == [tuple(names()[::-1])] * 2
    plain, named = stage_inputs(settings()), stage_inputs(settings(names=names()[::-1]))
    assert all(plain[stage] != named[stage] for stage in plain)


def test_pairing_by_position_is_remarked_where_weights_are_given(tmp_path: Path) -> None:
    save_weights(Detector.from_cfg("yolov3-nano"), tmp_path / "whole.weights")
    given = {"config": "yolov3-nano", "weights": str(tmp_path / "whole.weights")}
    paired, fitted = study(detector=given, base=None).check([cell()])
    assert "paired with the categories by position" in paired
    assert "pictures are letterboxed to 64x64 pixels, since the .cfg has no option of AlexeyAB's engine" in fitted
    assert study(detector={**given, "names": names()}, base=None).check([cell()]) == [fitted]
    with pytest.raises(InputError, match=r"found the category '.*', expected one of the detector's classes \(owl\)"):
        study(detector={**given, "names": ["owl"]}, base=None).check([cell()])


def test_a_backbones_weights_start_a_training(tmp_path: Path) -> None:
    torch.manual_seed(5)
    backbone = Detector.from_cfg("yolov3-nano")
    save_weights(backbone, tmp_path / "nano.conv.3")
    given = {"config": "yolov3-nano", "weights": str(tmp_path / "nano.conv.3"), "weights_cutoff": 3}
    own = study(detector=given)
    (fitted,) = own.check([cell()])
    assert fitted.startswith("detector.fit: pictures are letterboxed")
    task = own.task(cell())
    fresh = task.fresh(0)
    first, later = "layers.0.conv.weight", "layers.5.conv.weight"
    assert torch.equal(fresh.state_dict()[first], backbone.state_dict()[first])
    assert not torch.equal(fresh.state_dict()[later], backbone.state_dict()[later])
    assert not np.array_equal(own.base(cell())[first], backbone.state_dict()[first].numpy())
    whole, cut = (stage_inputs(settings(**{**given, "weights_cutoff": cutoff})) for cutoff in (None, 3))
    assert "training" in cut["base"]
    assert "training" not in whole["base"]
    json.dumps(cut)
    assert own.facts([cell()])["detector"] == "yolov3-nano, trained from the first 3 layers' weights, loss ciou"


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ({"weights_cutoff": 3}, "detector.weights_cutoff: found 3, but no detector.weights to cut off"),
        ({"names": "nowhere.names"}, "detector.names: nowhere.names: No such file or directory"),
    ],
)
def test_mistakes_are_said_before_anything_runs(detector: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        study(detector={"config": "yolov3-nano", **detector}).check([cell()])
    assert message in str(error.value)


def test_a_cut_off_start_needs_a_training(tmp_path: Path) -> None:
    (tmp_path / "x.conv.3").write_bytes(b"")
    given = {"config": "yolov3-nano", "weights": str(tmp_path / "x.conv.3"), "weights_cutoff": 3}
    with pytest.raises(ValueError, match="expected a training of the layers that detector.weights_cutoff leaves out"):
        study(detector=given, base=None)


def test_weights_of_other_classes_name_both_numbers(tmp_path: Path) -> None:
    detector = Detector.from_cfg("yolov3-nano", classes=80)
    (tmp_path / "many.cfg").write_text(cfg.dump(detector.sections))
    save_weights(detector, tmp_path / "many.weights")
    given = {"config": str(tmp_path / "many.cfg"), "weights": str(tmp_path / "many.weights")}
    with pytest.raises(
        InputError, match=r"floats, found .*; .*many.cfg has 80 classes, and the data set 6: detector.names"
    ):
        study(detector=given, base=None).check([cell()])
