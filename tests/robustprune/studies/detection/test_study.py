"""The detection study: its stages compute the same bits wherever and whenever they run."""

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

from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.timing import FEWEST
from robustprune.detection.darknet import Detector, save_weights
from robustprune.detection.measure.kitti_ap import LEVEL_COLUMNS
from robustprune.detection.task import DetectionTask
from robustprune.methods import method_columns
from robustprune.structures.masks import keep_count
from robustprune.studies.detection.study import DetectionStudy
from robustprune.studies.pruning import retraining
from robustprune.studies.pruning.seen import SEEN_COLUMNS
from tests.robustprune.studies.detection.small_study import (
    SPEC,
    TRAINING,
    Arrays,
    cell,
    equal,
    published,
    study,
    untimed,
)
from tests.robustprune.training.keeper import Told, killed_after


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
    layers = Detector.from_cfg("yolov3-nano").prunable_layers()
    scores = {layer: np.abs(checkpoint[f"{layer}.weight"]) for layer in layers}
    return untimed(own.evaluate_row(cell(), checkpoint, scores, progress))


@pytest.mark.parametrize("name", ["base", "pretrain", "score", "evaluate_row"])
def test_a_killed_stage_goes_on_and_ends_the_same(checkpoint: Arrays, name: str) -> None:
    undisturbed = run_stage(name, checkpoint, NOWHERE)
    resumed = killed_after(2, partial(run_stage, name, checkpoint), epochs=3)
    assert undisturbed.keys() == resumed.keys()
    for key, value in undisturbed.items():
        assert np.array_equal(value, resumed[key]), key
    told = Told()
    told_too = run_stage(name, checkpoint, told)
    assert all(np.array_equal(value, told_too[key]) for key, value in undisturbed.items())
    assert told.units() == (["epoch", "image"] if name == "evaluate_row" else ["epoch"])


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

    monkeypatch.setattr(DetectionTask, "_placed", placed)
    with pytest.raises(MemoryError, match=f"^{name} ran out of memory on the device$"):
        run_stage(name, checkpoint, NOWHERE)


def test_a_row_has_the_declared_columns_and_leaves_its_inputs_alone(checkpoint: Arrays) -> None:
    own = cell()
    scores = published(study().score(own, checkpoint))
    before = published(checkpoint)
    timing = {"timing_repeats": FEWEST, "timing_warm_up": 0, "timing_most": 1}
    row = study(evaluation=timing).evaluate_row(own, checkpoint, scores)
    assert equal(checkpoint, before)
    assert row.keys() == {*DetectionStudy.columns, *DetectionStudy.tables}
    assert row["detections"].keys() == DetectionStudy.tables["detections"].keys()
    # Shapes have no levels, PGD needs no watch, and hydra says nothing of itself.
    silent = {*LEVEL_COLUMNS, *(f"{name}_hard" for name in LEVEL_COLUMNS), *SEEN_COLUMNS, *method_columns()}
    for name, kind in DetectionStudy.columns.items():
        assert row[name] is None if name in silent else type(row[name]) is kind, name
    assert all(0 <= row[name] <= 1 for name in row if name.startswith("map"))
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
    monkeypatch: pytest.MonkeyPatch, own: dict[str, Any], checkpoint: Arrays, scores: Arrays | None, **changes: Any
) -> CaughtError:
    def train(detector: Detector, *_: object, masks: Mapping[str, Tensor], **__: object) -> None:
        raise CaughtError(detector, masks)

    monkeypatch.setattr(retraining, "train", train)
    # The whole detector, masks and all, in place of what is trained for it.
    monkeypatch.setattr(DetectionTask, "narrowed", lambda *_: None)
    with pytest.raises(CaughtError) as caught:
        study(**changes).evaluate_row(own, checkpoint, scores)
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
    layers = caught.detector.prunable_layers()
    masks = {f"{name}.weight" if name in layers else name: mask for name, mask in caught.masks.items()}
    # What leaves with a filter has a mask of its own.
    departing = {f"{name.removesuffix('conv')}batch_norm.{each}" for name in layers for each in ("weight", "bias")}
    assert masks.keys() == {f"{name}.weight" for name in layers} | (departing if structure == "structured" else set())
    for name, tensor in caught.detector.state_dict().items():
        original = torch.tensor(checkpoint[name])
        assert torch.equal(tensor, original * masks.get(name, 1)), name


def test_scores_leave_the_structure_to_the_row_where_they_are_declared_to(checkpoint: Arrays) -> None:
    one = study().score(cell(initializer="deeplift", structure="unstructured", ratio=0.5), checkpoint)
    other = study().score(cell(initializer="deeplift", structure="structured", ratio=0.9), checkpoint)
    assert equal(one, other)


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
@pytest.mark.parametrize("initializer", ["magnitude", "taylor", "random"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_initializer_scores_what_every_structure_and_scope_prunes(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays, initializer: str, structure: str, scope: str
) -> None:
    own = cell(initializer=initializer, structure=structure, ratio=0.5)
    scores = published(study(initializers={"taylor": {"images": 4}}).score(own, checkpoint))
    caught = before_finetuning(monkeypatch, own, checkpoint, scores, scope=scope)
    layers = caught.detector.prunable_layers()
    assert scores.keys() == layers.keys() == {name for name in caught.masks if "batch_norm" not in name}
    kept = {name: int(caught.masks[name].sum()) for name in layers}
    assert all(
        0 < count < layer.weight.numel() or structure == "structured"
        for count, layer in zip(kept.values(), layers.values(), strict=True)
    )
    exact = {name: keep_count(0.5, layer.weight.numel()) for name, layer in layers.items()}
    if structure == "unstructured":
        assert (kept == exact) == (scope == "layer")
        assert abs(sum(kept.values()) - sum(exact.values())) <= len(layers) // 2
    for name, mask in caught.masks.items():
        assert mask.any(), name
        filters = mask.flatten(1) if mask.ndim > 1 else mask[:, None]
        assert structure == "unstructured" or torch.equal(filters.any(dim=1), filters.all(dim=1))


def test_a_baseline_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays) -> None:
    def train(*_: object, **__: object) -> None:
        raise AssertionError("a baseline is not trained")

    monkeypatch.setattr(retraining, "train", train)
    (baseline,) = study().baselines([cell()])
    row = study().evaluate_row(baseline, checkpoint, None)
    assert row.keys() == {*DetectionStudy.columns, *DetectionStudy.tables}
    assert row["params_kept"] == row["params_total"]
    assert row["macs"] == row["macs_dense"] == row["macs_compact"]
    assert row["weights_pruned"] == row["filters_pruned"] == 0


def test_the_report_shows_what_was_found_in_the_chosen_images(checkpoint: Arrays) -> None:
    own = study(detections={"confidence": 0.01})
    (baseline,) = own.baselines([cell()])
    row = {**baseline, "row_key": "a-1"}
    kept = {("detections", "a-1"): own.evaluate_row(baseline, checkpoint, None)["detections"]}
    (gallery,) = own.galleries([row], lambda table, row_key: kept.get((table, row_key)))
    assert [label for label, _ in gallery.lines] == ["ground truth", "unpruned, unprotected · rgb"]
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
def test_the_science_knows_nothing_of_the_sweep_and_its_studies_only_what_a_study_is() -> None:
    code = (
        "import pkgutil, sys, importlib, robustprune\n"
        "names = [module.name for module in pkgutil.walk_packages(robustprune.__path__, 'robustprune.')]\n"
        "names = [name for name in names if not name.endswith('__main__')]\n"
        "studies = [name for name in names if name.startswith('robustprune.studies')]\n"
        "def engine():\n"
        "    return {name for name in sys.modules if name.split('.')[0] in ('ray', 'sweeps')}\n"
        "for name in names:\n"
        "    if name not in studies:\n"
        "        importlib.import_module(name)\n"
        "assert not engine(), engine()\n"
        "import sweeps.study\n"
        "known = engine()\n"
        "for name in studies:\n"
        "    importlib.import_module(name)\n"
        "assert 'robustprune.studies.detection.study' in sys.modules\n"
        "assert engine() == known, engine() - known\n"
        "assert 'ray' not in known\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_row_of_pruned_filters_counts_what_a_smaller_detector_has(checkpoint: Arrays) -> None:
    own = cell(initializer="magnitude", structure="structured", ratio=0.9)
    scores = published(study().score(own, checkpoint))
    row = study().evaluate_row(own, checkpoint, scores)
    detector = study().task(own).restored(checkpoint)
    pruned = study().prune(detector, own, scores, task=study().task(own))
    layers = dict(detector.named_modules())
    normed = sum(
        int(pruned.masks[name].flatten(1).any(dim=1).sum()) if name in pruned.masks else len(module.weight)
        for name, module in detector.named_modules()
        if isinstance(module, torch.nn.Conv2d) and f"{name.removesuffix('conv')}batch_norm" in layers
    )
    # Compaction folds scale and shift into one bias.
    assert row["params_kept"] == row["params_compact"] + normed
    assert row["macs"] == row["macs_compact"]
