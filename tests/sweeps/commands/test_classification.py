"""What the command line says of the second study before anything is trained."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import Sweeps, assert_refused

DEMO = ["classifiers-demo", "--set=dataset.train_images=12", "--set=dataset.test_images=12"]


@pytest.fixture(autouse=True)
def _in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def images(root: Path, *, classes: dict[str, int], splits: tuple[str, ...] = ("train", "test")) -> Path:
    """Write so many images of each class, in each split."""
    for split in splits:
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.full((32, 32, 3), 40 * index, np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "evaluation.distances=[{name: fmn, norm: l3}]",
            ["evaluation.distances[0].norm", "'l3'", "'l0', 'l1' or 'linf'"],
        ),
        (
            "evaluation.distances=[{name: fmn, norm: l2}]",
            ["evaluation.distances[0].norm", "'l2'", "unavailable", "ddn"],
        ),
        (
            "evaluation.distances=[{name: fmn}]",
            ["evaluation.distances[0].norm: found nothing, expected a value (what is to be least", "linf)"],
        ),
        ("evaluation.distances=[{name: ddn, norm: l2}]", ["evaluation.distances[0].norm: ddn has no such setting"]),
        ("evaluation.distances=[{name: ddm}]", ["evaluation.distances[0].name", "'ddm'", "'ddn'"]),
        ("evaluation.distances=[{name: ddn}, {name: ddn, steps: 5}]", ["evaluation.distances", "ddn a second time"]),
        ("evaluation.distances=[]", ["evaluation.distances: found [], expected at least 1 of them"]),
        ("evaluation.attack={name: apgd, norm: l1, epsilon: 1}", ["evaluation.attack.norm", "'l1'", "unavailable"]),
        (
            "grid.initializer=[l2]",
            ["grid.initializer[0]", "'l2'", "hydra, deeplift, magnitude, taylor, snip, random"],
        ),
        ("grid.scope=[locally]", ["grid.scope[0]", "layer, global"]),
        ("grid.model=[resnet9]", ["resnet9", "6n + 2"]),
        ("grid.model=[vgg18]", ["vgg18", "did you mean 'vgg19'"]),
        ("dataset.image_size=3", ["dataset.image_size", "at least 16"]),
        ("holdout=1.0", ["holdout", "less than 1"]),
        ("weights={resnet8: {robust: x}}", ["weights.resnet8.robust"]),
        ("weights={resnet8: {standard: gone.npz}}", ["gone.npz"]),
        ("dataset={name: folders, root: gone}", ["gone"]),
        ("dataset={name: cifar10, root: gone}", ["gone"]),
    ],
)
def test_a_mistake_is_one_sentence(change: str, words: list[str], sweeps: Sweeps, tmp_path: Path) -> None:
    for command in ("plan", "run"):
        assert_refused(sweeps(command, *DEMO, f"--set={change}"), *words)
    assert not (tmp_path / "runs").exists()


def test_a_class_folder_without_images(sweeps: Sweeps, tmp_path: Path) -> None:
    root = images(tmp_path / "data", classes={"cat": 4, "dog": 0})
    change = f"--set=dataset={{name: folders, root: {root}}}"
    assert_refused(sweeps("plan", "classifiers-demo", change), "dog")


def test_a_checkpoint_that_does_not_fit(sweeps: Sweeps, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"conv1.weight": np.zeros((16, 3, 5, 5), np.float32)}
    np.savez(tmp_path / "other.npz", **arrays)
    ran = sweeps("plan", *DEMO, f"--set=weights.resnet8.standard={tmp_path / 'other.npz'}")
    assert_refused(ran, "other.npz", "conv1.weight", "(16, 3, 5, 5)", "(16, 3, 3, 3)")


def test_images_too_small_for_a_model(sweeps: Sweeps) -> None:
    assert_refused(
        sweeps("plan", *DEMO, "--set=dataset.image_size=16", "--set=grid.model=[vgg19]"), "vgg19", "16 pixels"
    )


def test_the_full_study_can_be_planned_on_folders_in_a_zip(sweeps: Sweeps, tmp_path: Path) -> None:
    root = images(tmp_path / "data", classes={"cat": 4, "dog": 4})
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in root.rglob("*.png"):
            archive.write(file, file.relative_to(root))
    ran = sweeps("plan", "tajwar2023", f"--set=dataset={{name: folders, root: {tmp_path / 'all.zip'}}}")
    assert (ran.status, ran.errors) == (0, "")
    assert "tajwar2023: 72 trials, 504 rows" in ran.output
    assert "pretrain checkpoints: 0 present, 24 to compute, not 72, since trials share them" in ran.output
    assert "retraining: 50 epochs of 7 images" in ran.output
