"""The detection study: what its stages declare, and that they compute the same bits wherever and whenever they run."""

import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustprune.core.errors import InputError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.detection.darknet import Detector, save_weights
from robustprune.structures.masks import keep_count
from robustprune.studies.detection import study as study_module
from robustprune.studies.detection.study import DetectionStudy
from tests.robustprune.training.keeper import killed_after

TRAINING = {"epochs": 1, "learning_rate": 0.01, "batch_size": 8}
SPEC: dict[str, Any] = {
    "dataset": {"name": "shapes", "train_images": 16, "val_images": 8, "image_size": 64},
    "detector": {"config": "yolov3-nano", "image_size": 64},
    "attack": {"steps": 1, "step_size": 0.05},
    "base": TRAINING,
    "pretrain": TRAINING,
    "finetune": TRAINING,
    "initializers": {"hydra": {"images": 8}, "deeplift": {"images": 4}},
    "evaluation": {"timing_repeats": 2, "timing_warm_up": 1},
}
TRIAL = ("structure", "initializer", "colour", "seed")

Arrays = Mapping[str, np.ndarray[Any, Any]]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the images of `SPEC` in one place for all tests."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


def study(**changes: Any) -> DetectionStudy:
    return DetectionStudy(DetectionStudy.Settings.model_validate({**SPEC, **changes}))


def cell(**changes: Any) -> dict[str, Any]:
    return {
        "structure": "unstructured",
        "initializer": "hydra",
        "colour": "rgb",
        "seed": 0,
        "ratio": 0.75,
        **changes,
    }


def published(arrays: Arrays) -> Arrays:
    """Return the arrays as workers get them: read-only."""
    copies = {name: array.copy() for name, array in arrays.items()}
    for array in copies.values():
        array.flags.writeable = False
    return copies


def untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not depend on the machine's mood."""
    untimed = {
        name: value
        for name, value in row.items()
        if not name.startswith("inference_ms") and not name.endswith("_s") and name not in ("engine", "speedup")
    }
    detections = untimed.pop("detections")
    return {**untimed, **{f"detections.{name}": column.tolist() for name, column in detections.items()}}


def equal(first: Arrays, second: Arrays) -> bool:
    assert list(first) == list(second)
    return all(np.array_equal(first[name], second[name]) for name in first)


# What the stages declare


def axes(stage: str, *, of: DetectionStudy | None = None, **changes: Any) -> tuple[str, ...] | None:
    declared = (of or study()).stage(stage, cell(**changes))
    return declared and declared.axes


def test_the_base_serves_everybody_and_pretraining_its_colour_and_seed() -> None:
    assert axes("base") == ()
    assert axes("pretrain") == ("colour", "seed")
    assert axes("pretrain", of=study(share_pretraining=False)) == TRIAL


@pytest.mark.parametrize("share", [True, False])
def test_a_row_depends_on_its_whole_cell(share: bool) -> None:
    assert axes("evaluate_row", of=study(share_pretraining=share)) == (*TRIAL, "ratio")


def test_hydra_scores_for_one_ratio_and_deeplift_for_all_structures_and_ratios() -> None:
    assert axes("score", initializer="hydra") == (*TRIAL, "ratio")
    assert axes("score", initializer="deeplift") == ("initializer", "colour", "seed")


def test_what_masks_of_coupled_filters_changed_has_a_new_version() -> None:
    def version(stage: str, **changes: Any) -> int | None:
        declared = study().stage(stage, cell(**changes))
        return declared and declared.version

    assert [version("score", structure=name) for name in ("unstructured", "structured")] == [1, 2]
    assert version("score", structure="structured", initializer="deeplift") == 1
    assert version("pretrain", structure="structured") == version("base", structure="structured") == 1
    assert version("evaluate_row") == version("evaluate_row", **study().baselines([cell()])[0]) == 2


@pytest.mark.parametrize("initializer", ["hydra", "deeplift"])
def test_nothing_is_scored_where_nothing_is_pruned(initializer: str) -> None:
    assert axes("score", initializer=initializer, ratio=0.0) is None
    assert axes("pretrain", initializer=initializer, ratio=0.0) is not None


def test_each_score_has_the_settings_of_its_initializer() -> None:
    hydra, deeplift = (study().stage("score", cell(initializer=name)) for name in ("hydra", "deeplift"))
    assert hydra is not None
    assert deeplift is not None
    assert hydra.settings["scores"]["images"] == 8
    assert deeplift.settings["scores"]["images"] == 4


def test_baselines_are_one_per_colour_neither_trained_nor_scored() -> None:
    own = study(base={**TRAINING, "seed": 5})
    cells = [cell(seed=seed, colour=colour) for seed in (0, 1) for colour in ("rgb", "greyscale")]
    baselines = own.baselines(cells)
    assert [(b["colour"], b["seed"], b["ratio"]) for b in baselines] == [("rgb", 5, 0), ("greyscale", 5, 0)]
    assert all(b["structure"] == b["initializer"] == "none" for b in baselines)
    for baseline in baselines:
        assert own.is_baseline(baseline)
        assert own.stage("pretrain", baseline) is None
        assert own.stage("score", baseline) is None
        assert own.stage("base", baseline) == own.stage("base", cell())
    assert not any(own.is_baseline(ordinary) for ordinary in cells)


# What is said before anything runs


def test_a_sound_study_passes_the_check() -> None:
    study().check([cell()])


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("dataset", {"name": "coco", "root": "nowhere"}, "nowhere/annotations/instances_train2017.json"),
        ("detector", {"config": "yolov3-nani", "image_size": 64}, "yolov3-nani"),
        ("detector", {**SPEC["detector"], "image_size": 72}, "image_size is 72, expected a multiple of 16"),
        ("detector", {**SPEC["detector"], "weights": "x"}, "^base: found a training, but detector.weights too"),
        ("detections", {"images": [99]}, "detections.images: found 99, expected ids of the 8 images"),
    ],
)
def test_the_check_names_what_is_wrong(section: str, value: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        study(**{section: value}).check([cell()])


def test_the_check_names_missing_weights() -> None:
    with pytest.raises(InputError, match="nowhere.weights"):
        study(base=None, detector={**SPEC["detector"], "weights": "nowhere.weights"}).check([cell()])


def test_each_stage_tells_its_own_work() -> None:
    own = study()
    (baseline,) = own.baselines([cell()])
    said = {
        name: [part.description.partition(":")[0] for part in own.workloads(name, each)]
        for name, each in [("base", cell()), ("pretrain", cell()), ("score", cell()), ("evaluate_row", cell())]
    }
    assert said == {
        "base": ["training"],
        "pretrain": ["adversarial training"],
        "score": ["hydra's scores"],
        "evaluate_row": ["fine-tuning", "measuring"],
    }
    assert own.workloads("score", cell(initializer="deeplift")) != own.workloads("score", cell())
    assert own.workloads("evaluate_row", baseline) == own.workloads("evaluate_row", cell())[1:]


# What the stages compute


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    """Return a checkpoint that was adversarially trained, if not for long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        return published(study().pretrain(cell(), published(study().base(cell()))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("initializer", "structure", "colour"),
    [("hydra", "structured", "rgb"), ("deeplift", "unstructured", "greyscale")],
)
def test_fresh_studies_give_the_same_bits(initializer: str, structure: str, colour: str) -> None:
    own = cell(initializer=initializer, structure=structure, colour=colour, seed=3)
    stages: list[tuple[Arrays, ...]] = []
    rows = []
    for noise in (1, 2):
        # A study for each stage, as if each ran in a process of its own, whatever ran there before.
        torch.manual_seed(noise)
        base = published(study().base(own))
        checkpoint = published(study().pretrain(own, base))
        scores = published(study().score(own, checkpoint))
        stages.append((base, checkpoint, scores))
        rows.append(untimed(study().evaluate_row(own, checkpoint, scores)))
    for first, second in zip(*stages, strict=True):
        assert equal(first, second)
    assert rows[0] == rows[1]
    assert not equal(base, checkpoint)
    assert not equal(checkpoint, study().pretrain({**own, "seed": 4}, base))


THREE = {**TRAINING, "epochs": 3}


def run_stage(name: str, checkpoint: Arrays, progress: Progress, **changes: Any) -> dict[str, Any]:
    """Return the result of a stage of three epochs, in a study of its own."""
    hydra = {"hydra": {"images": 8, "epochs": 3}}
    own = study(base=THREE, pretrain=THREE, finetune=THREE, initializers=hydra, **changes)
    if name == "base":
        return dict(own.base(cell(), progress))
    if name == "pretrain":
        return dict(own.pretrain(cell(), checkpoint, progress))
    if name == "score":
        return dict(own.score(cell(), checkpoint, progress))
    scores = {f"{layer}.conv": np.abs(checkpoint[f"{layer}.conv.weight"]) for layer in ("layers.2", "layers.3")}
    return untimed(own.evaluate_row(cell(), checkpoint, scores, progress))


@pytest.mark.parametrize("name", ["base", "pretrain", "score", "evaluate_row"])
def test_a_killed_stage_goes_on_and_ends_the_same(checkpoint: Arrays, name: str) -> None:
    undisturbed = run_stage(name, checkpoint, NOWHERE)
    resumed = killed_after(2, partial(run_stage, name, checkpoint), epochs=3)
    assert undisturbed.keys() == resumed.keys()
    for key, value in undisturbed.items():
        assert np.array_equal(value, resumed[key]), key


@pytest.mark.parametrize("name", ["pretrain", "score", "evaluate_row"])
def test_random_starts_go_on_from_where_they_were(checkpoint: Arrays, name: str) -> None:
    run = partial(run_stage, name, checkpoint, attack={"name": "fgsm"})
    undisturbed = run(progress=NOWHERE)
    resumed = killed_after(2, lambda progress: run(progress=progress), epochs=3)
    assert all(np.array_equal(value, resumed[key]) for key, value in undisturbed.items())


@pytest.mark.parametrize("name", ["base", "pretrain", "score", "evaluate_row"])
def test_a_stage_that_runs_out_of_device_memory_says_so(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays, name: str
) -> None:
    def placed(*_: object) -> Detector:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(DetectionStudy, "_placed", placed)
    with pytest.raises(MemoryError, match=f"^{name} ran out of memory on the device$"):
        run_stage(name, checkpoint, NOWHERE)


def test_the_base_ignores_the_cell() -> None:
    assert equal(study().base(cell()), study().base(cell(seed=7, colour="greyscale", structure="structured")))


def test_a_row_has_the_declared_columns_and_leaves_its_inputs_alone(checkpoint: Arrays) -> None:
    own = cell()
    scores = published(study().score(own, checkpoint))
    before = published(checkpoint)
    row = study().evaluate_row(own, checkpoint, scores)
    assert equal(checkpoint, before)
    assert row.keys() == {*DetectionStudy.columns, "detections"}
    assert row["detections"].keys() == DetectionStudy.tables["detections"].keys()
    for name, kind in DetectionStudy.columns.items():
        assert type(row[name]) is kind, name
    assert all(0 <= row[name] <= 1 for name in ("map_adv", "map50_adv", "map_clean", "map50_clean"))
    pruned = sum(scores[name].size - keep_count(0.75, scores[name].size) for name in scores)
    assert row["params_total"] - row["params_kept"] == pruned
    assert row["macs"] < row["macs_dense"]
    assert row["weights_pruned"] == pytest.approx(0.75, abs=0.001)
    assert set(DetectionStudy.metrics) <= DetectionStudy.columns.keys()


class CaughtError(Exception):
    """Carries what fine-tuning was given."""

    def __init__(self, detector: Detector, masks: Mapping[str, Tensor]) -> None:
        self.detector, self.masks = detector, masks


def before_finetuning(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, Any], checkpoint: Arrays, scores: Arrays | None
) -> CaughtError:
    def train(detector: Detector, *_: object, masks: Mapping[str, Tensor], **__: object) -> None:
        raise CaughtError(detector, masks)

    monkeypatch.setattr(study_module, "train", train)
    with pytest.raises(CaughtError) as caught:
        study().evaluate_row(own, checkpoint, scores)
    return caught.value


@pytest.mark.parametrize("scored", [True, False])
def test_at_ratio_0_the_checkpoint_is_finetuned_as_it_is(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays, scored: bool
) -> None:
    scores = published(study().score(cell(initializer="deeplift"), checkpoint)) if scored else None
    caught = before_finetuning(monkeypatch, cell(ratio=0.0), checkpoint, scores)
    for name, tensor in caught.detector.state_dict().items():
        assert tensor.contiguous().numpy().tobytes() == checkpoint[name].tobytes(), name
    assert all(mask.all() for mask in caught.masks.values())


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_the_pruned_weights_are_zero_and_the_others_those_of_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays, structure: str
) -> None:
    own = cell(initializer="deeplift", structure=structure, ratio=0.9)
    caught = before_finetuning(monkeypatch, own, checkpoint, published(study().score(own, checkpoint)))
    masks = {f"{name}.weight": mask for name, mask in caught.masks.items()}
    assert masks.keys() == {f"{name}.weight" for name in caught.detector.prunable_layers()}
    for name, tensor in caught.detector.state_dict().items():
        original = torch.tensor(checkpoint[name])
        assert torch.equal(tensor, original * masks.get(name, 1)), name


def test_scores_leave_the_structure_to_the_row_where_they_are_declared_to(checkpoint: Arrays) -> None:
    one = study().score(cell(initializer="deeplift", structure="unstructured", ratio=0.5), checkpoint)
    other = study().score(cell(initializer="deeplift", structure="structured", ratio=0.9), checkpoint)
    assert equal(one, other)


def test_a_baseline_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays) -> None:
    def train(*_: object, **__: object) -> None:
        raise AssertionError("a baseline is not trained")

    monkeypatch.setattr(study_module, "train", train)
    (baseline,) = study().baselines([cell()])
    row = study().evaluate_row(baseline, checkpoint, None)
    assert row.keys() == {*DetectionStudy.columns, "detections"}
    assert row["params_kept"] == row["params_total"]
    assert row["macs"] == row["macs_dense"] == row["macs_compact"]
    assert row["weights_pruned"] == row["filters_pruned"] == 0


def test_the_report_shows_what_was_found_in_the_chosen_images(checkpoint: Arrays) -> None:
    own = study(detections={"confidence": 0.01})
    (baseline,) = own.baselines([cell()])
    row = {**baseline, "row_key": "a-1"}
    kept = {("detections", "a-1"): own.evaluate_row(baseline, checkpoint, None)["detections"]}
    (gallery,) = own.galleries([row], lambda table, row_key: kept.get((table, row_key)))
    assert [label for label, _ in gallery.lines] == ["ground truth", "baseline · rgb · 0% pruned"]
    assert own.galleries([], lambda *_: None) == []
    assert study(detections={"images": []}).galleries([row], lambda *_: None) == []


def test_detections_are_not_kept_against_the_user_s_will(checkpoint: Arrays) -> None:
    own = study(detections={"keep": False})
    (baseline,) = own.baselines([cell()])
    assert own.evaluate_row(baseline, checkpoint, None)["detections"] is None


def test_weights_stand_in_for_base_training(tmp_path: Path) -> None:
    torch.manual_seed(1)
    detector = Detector.from_cfg("yolov3-nano", classes=6)
    save_weights(detector, tmp_path / "given.weights")
    given = study(detector={**SPEC["detector"], "weights": str(tmp_path / "given.weights")}).base(cell())
    for name, parameter in detector.named_parameters():
        assert np.array_equal(given[name], parameter.detach().numpy()), name


# Where it stands


@pytest.mark.slow
def test_the_science_knows_nothing_of_the_sweep() -> None:
    code = (
        "import pkgutil, sys, importlib, robustprune\n"
        "for module in pkgutil.walk_packages(robustprune.__path__, 'robustprune.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "assert 'robustprune.studies.detection.study' in sys.modules\n"
        "sys.exit(', '.join({name.split('.')[0] for name in sys.modules} & {'ray', 'sweeps'}) or 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
