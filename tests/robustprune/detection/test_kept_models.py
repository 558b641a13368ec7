"""A kept model is the model that was measured, bit for bit, or it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, cfg
from robustprune.detection.darknet.ends import fit_of
from robustprune.detection.exported import exported
from robustprune.detection.kept_models import ENDINGS, load_model, model_files
from robustprune.inference.onnx import run_onnx
from robustprune.structures.masks import keep_count
from robustprune.studies.detection.columns import PRECISIONS
from robustprune.studies.detection.study import DetectionStudy
from tests.robustprune.detection.pruned import prune, randomised

CELL: dict[str, str | int | float] = {
    "structure": "unstructured",
    "initializer": "hydra",
    "colour": "greyscale",
    "seed": 3,
    "ratio": 0.75,
}
CLASSES = ["owl", "no", "größer", "1", "a: b", "# c"]


@pytest.fixture
def detector() -> Detector:
    detector = randomised(Detector.from_cfg("yolov3-nano", classes=len(CLASSES)))
    prune(detector, "unstructured", 0.75)
    return detector


@pytest.fixture
def file(detector: Detector, tmp_path: Path) -> Path:
    """Return a kept model in a folder of a hostile name, the spec to read beside it."""
    (tmp_path / "a'; echo").mkdir()
    path = tmp_path / "a'; echo" / "kept.safetensors"
    for ending, data in model_files(detector, cell=CELL, image_size=96, classes=CLASSES).items():
        path.with_suffix(ending).write_bytes(data)
    return path


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, Any]) -> bool:
    assert list(first) == list(second)
    return all(torch.equal(tensor, torch.as_tensor(second[name])) for name, tensor in first.items())


def test_a_model_comes_back_bit_for_bit(detector: Detector, file: Path) -> None:
    rebuilt, spec = load_model(file)
    assert same(rebuilt.state_dict(), detector.state_dict())
    assert not rebuilt.training
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert all(map(torch.equal, rebuilt(images), detector(images)))
    assert {name: getattr(spec, name) for name in CELL} == CELL
    assert (spec.image_size, spec.classes) == (96, CLASSES)
    assert spec.cfg == cfg.dump(detector.sections)


def test_a_model_can_be_called_and_says_what_it_is(detector: Detector, file: Path) -> None:
    model = load_model(file)
    images = torch.rand(1, 3, 64, 96, requires_grad=True)
    boxes = model(images)
    assert torch.equal(boxes, detector.decode(detector(images), (64, 96)))
    assert boxes.requires_grad
    assert (model.study, model.cell, model.ratio) == ("detection", CELL, 0.75)
    assert (model.image_size, model.classes) == (96, CLASSES)
    assert model.preprocessing == (
        "resize to fit a square of 96 pixels, keeping the aspect, bilinear without antialiasing; pad evenly with 0.5; "
        "the luma (Rec. 601) in all three channels, divided by 255"
    )


def test_a_model_of_stretched_grey_oblongs_says_so_and_is_exported_as_such() -> None:
    text = cfg.dump(Detector.from_cfg("yolov3-nano", classes=len(CLASSES)).sections)
    detector = randomised(Detector(cfg.parse(text.replace("channels=3", "channels=1"))))
    files = model_files(detector, cell=CELL, image_size=(64, 96), classes=CLASSES, fit="stretch")
    for form in DetectionStudy.formats:
        assert [*exported(files, form)] == [*DetectionStudy.formats[form]]
    written = exported(files, "darknet")[".cfg"].decode()
    assert fit_of(cfg.parse(written)).fit == "stretch"
    assert {"width=96", "height=64", "channels=1"} <= {*written.splitlines()}


def test_a_model_says_of_other_images_how_they_are_made(detector: Detector, file: Path) -> None:
    files = model_files(detector, cell=CELL | {"colour": "rgb"}, image_size=(64, 96), classes=CLASSES, fit="stretch")
    file.write_bytes(files[".safetensors"])
    model = load_model(file)
    assert model.image_size == (64, 96)
    assert model.preprocessing == (
        "resize to 96x64 pixels, whatever the aspect, bilinear without antialiasing; red, green and blue, "
        "divided by 255"
    )


def test_the_spec_beside_it_is_the_one_in_it_and_can_be_read(file: Path) -> None:
    text = file.with_suffix(".yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == load_model(file).spec.model_dump(exclude_defaults=True)
    assert "\n  [convolutional]\n  batch_normalize=1\n" in text
    assert "\nratio: 0.75\n" in text


def test_a_model_lies_where_it_lay_however_memory_is_laid_out(detector: Detector, file: Path) -> None:
    detector = detector.to(memory_format=torch.channels_last)
    files = model_files(detector, cell=CELL, image_size=96, classes=CLASSES)
    file.write_bytes(files[".safetensors"])
    assert same(load_model(file).detector.state_dict(), detector.state_dict())


@pytest.mark.parametrize("place", [0.05, 0.2, 0.5, 1.0])
def test_a_flipped_bit_is_noticed(file: Path, place: float) -> None:
    data = bytearray(file.read_bytes())
    start = data.index(b"spec")
    data[int(start + place * (len(data) - 1 - start))] ^= 4
    file.write_bytes(data)
    with pytest.raises(InputError, match="found a damaged file|expected a whole .safetensors file"):
        load_model(file)


def test_a_flipped_digit_of_the_spec_is_noticed(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"ratio: 0.75", b"ratio: 0.95"))
    with pytest.raises(InputError, match="kept.safetensors: found a damaged file"):
        load_model(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a whole .safetensors file"),
        (b"PK\x03\x04 something else, and long enough", "expected a whole .safetensors file"),
        (None, "found no file of that name, expected the .safetensors file of a model"),
        (save({"a": np.zeros(3)}), "found safetensors without a spec of ours, expected a model that a sweep has kept"),
        (save({"a": np.zeros(3)}, {"spec": "format: 1"}), "found safetensors without a spec of ours"),
    ],
)
def test_what_is_no_model_is_named(data: bytes | None, message: str, file: Path) -> None:
    file.unlink() if data is None else file.write_bytes(data)
    with pytest.raises(InputError, match=f"kept.safetensors: {message}"):
        load_model(file)


def test_a_truncated_model_is_named(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="kept.safetensors: expected a whole .safetensors file"):
        load_model(file)


def test_another_format_is_named(detector: Detector, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustprune.detection.kept_models.FORMAT", 4)
    file.write_bytes(model_files(detector, cell=CELL, image_size=96, classes=CLASSES)[".safetensors"])
    monkeypatch.undo()
    with pytest.raises(InputError, match="kept.safetensors: found a model of format 4, expected 1 or 2 or 3"):
        load_model(file)


# What a study keeps

TRAINING = {"epochs": 1, "learning_rate": 0.01, "batch_size": 8}
SETTINGS: dict[str, Any] = {
    "dataset": {"name": "shapes", "train_images": 8, "val_images": 2, "image_size": 64},
    "detector": {"config": "yolov3-nano", "image_size": 64},
    "attack": {"steps": 1, "step_size": 0.05},
    "base": TRAINING,
    "pretrain": TRAINING,
    "finetune": TRAINING,
    "evaluation": {"timing_repeats": 1, "timing_warm_up": 0},
}


def study(**changes: Any) -> DetectionStudy:
    return DetectionStudy(DetectionStudy.Settings.model_validate({**SETTINGS, **changes}))


def test_nothing_is_kept_unless_asked_for() -> None:
    assert study().files == {}
    assert study(keep_models=True).files == {"models": ENDINGS}


def test_a_study_exports_what_it_has_kept(detector: Detector, tmp_path: Path) -> None:
    files = {"models": model_files(detector, cell=CELL, image_size=64, classes=CLASSES)}
    written = study(keep_models=True).export(files, "onnx")
    assert [*written] == [*DetectionStudy.formats["onnx"]]
    (tmp_path / "kept.onnx").write_bytes(written[".onnx"])
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = detector.decode(detector(images), 64)
    torch.testing.assert_close(run_onnx(tmp_path / "kept.onnx", images), expected, rtol=1e-4, atol=1e-2)


def test_a_study_keeps_what_it_has_finetuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = study(keep_models=True)
    checkpoint = own.base({"colour": "rgb"})
    layers = Detector.from_cfg("yolov3-nano").prunable_layers()
    scores = {name: np.abs(checkpoint[f"{name}.weight"]) for name in layers}
    row = own.evaluate_row(CELL, checkpoint, scores)
    assert sorted(row["models"]) == sorted(ENDINGS)
    attack = own.settings.attack
    measured = own.measure_kept(CELL, {"models": row["models"]}, attack)
    assert measured.keys() == own.measurement.columns.keys()
    assert {name: measured[name] for name in PRECISIONS} == {name: row[name] for name in PRECISIONS}
    assert (measured["attack_name"], measured["attack_steps"]) == ("pgd", 1)
    assert own.measured_under == attack.model_dump()
    further = attack.model_copy(update={"steps": 3})
    assert own.measuring(further) != own.measuring(attack) == study(finetune=TRAINING | {"epochs": 5}).measuring(attack)
    path = tmp_path / "kept.safetensors"
    path.write_bytes(row["models"][".safetensors"])
    rebuilt, spec = load_model(path)
    assert isinstance(rebuilt, Detector)
    assert len(spec.classes) == len(set(spec.classes)) == rebuilt.heads[0].classes
    for name, layer in rebuilt.prunable_layers().items():
        kept = keep_count(0.75, layer.weight.numel())
        assert int(layer.weight.count_nonzero()) == kept
        assert not np.array_equal(
            layer.weight.detach(), checkpoint[f"{name}.weight"] * (layer.weight.detach() != 0).numpy()
        )
