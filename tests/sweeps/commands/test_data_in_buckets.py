"""A sweep whose data and weights are in a bucket, of a real S3 server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.fs
import pytest
from PIL import Image

from robustprune.detection.darknet import Detector, save_weights
from robustprune.detection.data.shapes import generate
from robustprune.staging import places
from sweeps import spec as specs
from sweeps.planning.plan import trials
from sweeps.spec import plain_yaml
from tests.support.command_line import Sweeps, assert_refused
from tests.sweeps.conftest import Uri


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with `shapes` and the weights of a detector."""
    monkeypatch.setattr(places, "_copies", {})
    generate(tmp_path / "data/shapes", train_images=6, val_images=2)
    save_weights(Detector.from_cfg("yolov3-nano"), tmp_path / "data/nano.weights")
    return tmp_path / "data"


@pytest.fixture
def bucket(data: Path, s3: Uri) -> Uri:
    """Return a function that names what of that is in a bucket."""
    place, _, options = s3().partition("?")
    file_system, path = pyarrow.fs.FileSystem.from_uri(f"{place}?{options}")
    pyarrow.fs.copy_files(str(data), path, destination_filesystem=file_system)
    return lambda name="": f"{place}/{name}?{options}"


def changes(data: str, weights: str) -> list[str]:
    dataset = f"dataset={{name: coco, root: '{data}', train: train, val: val}}"
    return [dataset, f"detector.weights={weights}", "base=null", "grid.colour=[rgb]"]


def test_rows_have_the_keys_of_the_same_data_in_a_folder(data: Path, bucket: Uri, sweeps: Sweeps) -> None:
    def keys(*named: str) -> list[str]:
        return [str(row.key) for trial in trials(specs.load("demo", changes(*named))) for row in trial.rows]

    there = bucket("shapes"), bucket("nano.weights")
    assert keys(*there) == keys(str(data / "shapes"), str(data / "nano.weights"))
    ran = sweeps("plan", "demo", *(f"--set={change}" for change in changes(*there)))
    assert ran.status == 0
    address = there[0].partition("?")[0]
    assert f"{address}/annotations/instances_train.json: the detector's classes are paired" in ran.output + ran.errors


def test_what_is_not_there_is_refused(bucket: Uri, sweeps: Sweeps) -> None:
    named = changes(bucket("nothing"), bucket("nano.weights"))
    refused = sweeps("plan", "demo", *(f"--set={change}" for change in named))
    assert_refused(refused, f"dataset.root: {bucket('nothing')}: found nothing there, expected a folder of files")


def test_a_new_spec_is_of_the_splits_that_are_named(data: Path, bucket: Uri, sweeps: Sweeps) -> None:
    ran = sweeps("new", "-", "--coco", bucket("shapes"), "--set", "dataset.train=train", "--set", "dataset.val=val")
    assert ran.status == 0
    assert plain_yaml.read(ran.output, "printed")["dataset"]["root"] == bucket("shapes")


def test_class_folders_of_a_new_spec_are_named_as_they_are_in_the_bucket(
    tmp_path: Path, s3: Uri, sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_copies", {})
    for name in ("a/cat", "a/dog", "b/cat", "b/dog"):
        (tmp_path / "own" / name).mkdir(parents=True)
        Image.new("RGB", (20, 16)).save(tmp_path / "own" / name / "0.png")
    place = s3()
    file_system, path = pyarrow.fs.FileSystem.from_uri(place)
    pyarrow.fs.copy_files(str(tmp_path / "own"), path, destination_filesystem=file_system)
    new = ("new", "-", "--folders", place, "--set", "dataset.train=a", "--set")
    ran = sweeps(*new, "dataset.test=b")
    assert ran.status == 0
    assert f"'{place}'" in ran.output  # whole, on one line, to be copied
    assert_refused(
        sweeps(*new, "dataset.test=c"), f"{place.partition('?')[0]}: found a", "expected a folder c of class"
    )


def test_two_processes_copy_once(bucket: Uri, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTPRUNE_CACHE", str(tmp_path / "cache"))
    program = "import sys; from robustprune import staging; print(staging.local(sys.argv[1], 'dataset.root'))"
    command = [sys.executable, "-c", program, bucket("shapes")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [each.communicate(timeout=60) for each in both]
    assert ended[0] == ended[1]
    folder = Path(ended[0][0].strip())
    assert len([*folder.rglob("*.png")]) == 8
    # A line for each file that was copied.
    assert len(folder.with_suffix(".copied").read_text().split()) == 3 * 10
