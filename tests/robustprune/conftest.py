"""Data for tests: sets of shapes, a hand-written COCO split, real images where at hand; a bucket; and detectors."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from PIL import Image

from robustprune.detection.darknet import Detector
from robustprune.detection.data import inspection
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.samples import Samples
from robustprune.detection.data.shapes import generate
from robustprune.staging import places, remote
from robustprune.studies.detection.training import AdamTraining
from robustprune.training import Objective, train
from tests.robustprune.detection.tasks import task_of
from tests.robustprune.staging.fake_store import FakeStore

# A slow moment of a shared machine is no failure.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute in one thread: on a busy machine, threads wait for each other at tiny operations most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _own_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remember pictures of tests for as long as these run, and not in the user's folder."""
    folder = tmp_path_factory.mktemp("memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "memory", lambda: folder)
        yield


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small `shapes`: 24 training and 12 validation images."""
    return generate(tmp_path_factory.mktemp("data") / "shapes", train_images=24, val_images=12)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Six images of shapes, as a detector sees them."""
    root = generate(tmp_path_factory.mktemp("data") / "six", train_images=6, val_images=1)
    return Samples(load_split(root, "train"), image_size=64, cache_bytes=2**20)


@pytest.fixture
def nano() -> Detector:
    """Return a detector that has learnt nothing."""
    torch.manual_seed(0)
    return Detector.from_cfg("yolov3-nano")


@pytest.fixture(scope="session")
def _trained(samples: Samples) -> Detector:
    torch.manual_seed(0)
    detector = Detector.from_cfg("yolov3-nano").to(memory_format=torch.channels_last)
    train(
        detector,
        objective=Objective(task=task_of(detector, samples)),
        settings=AdamTraining(epochs=60, learning_rate=0.01, flip=False),
        generator=torch.Generator().manual_seed(0),
    )
    return detector


@pytest.fixture
def trained(_trained: Detector) -> Detector:
    """Return a detector that knows `samples` by heart and no defence, in eval mode and channels_last."""
    return copy.deepcopy(_trained)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """Return the store that all URIs lead to, with three files, while a process of its own asks."""
    found = FakeStore(tmp_path / "store")
    for name, content in {"a.txt": b"one", "val/b 0.png": b"two!", "val/c.png": b"three"}.items():
        found.put(name, content)
    monkeypatch.setattr(remote, "open_uri", lambda uri: (found, uri.removeprefix("s3://").partition("?")[0]))
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(remote, "PATIENCE_S", 0.01)
    monkeypatch.setattr(remote, "BLOCK", 2)
    monkeypatch.setattr(places, "_copies", {})
    monkeypatch.setenv("ROBUSTPRUNE_CACHE", str(tmp_path / "cache"))
    return found


@pytest.fixture(scope="session")
def coco_root() -> Path:
    """Folder of a few real COCO images."""
    return _data_at_hand("coco")


@pytest.fixture(scope="session")
def darknet_data() -> Path:
    """Folder of published .cfg and .weights files."""
    return _data_at_hand("darknet")


@pytest.fixture(scope="session")
def kitti_data() -> Path:
    """Folder of the first 16 pictures of KITTI with their labels."""
    return _data_at_hand("kitti")


def _data_at_hand(name: str) -> Path:
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("ROBUSTPRUNE_DATA", default)) / name
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; ROBUSTPRUNE_DATA names the folder above it")
    return folder


@pytest.fixture
def coco_content() -> dict[str, Any]:
    """Two images of 40 x 30 pixels with hostile names, ids out of order, one object (whose id is 0)."""
    return {
        "images": [
            {"id": 7, "file_name": "a 0.png", "width": 40, "height": 30},
            {"id": 3, "file_name": "b'; echo.png", "width": 40, "height": 30},
        ],
        "annotations": [
            {
                "id": 0,
                "image_id": 7,
                "category_id": 90,
                "bbox": [10.5, 5.25, 20, 10],
                "area": 150,
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 90, "name": "kite"}, {"id": 4, "name": "owl"}],
    }


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a split, its two images blank, and returns the root."""

    def write(content: dict[str, Any] | str, split: str = "train") -> Path:
        folder = tmp_path / split
        folder.mkdir()
        for name in ("a 0.png", "b'; echo.png"):
            Image.new("RGB", (40, 30)).save(folder / name)
        annotations = tmp_path / "annotations"
        annotations.mkdir(exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (annotations / f"instances_{split}.json").write_text(text)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def cifar10_data() -> Path:
    """Folder of some CIFAR-10 images, in zip files, and of the weights of a ResNet-20."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("ROBUSTPRUNE_DATA", default)) / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; ROBUSTPRUNE_DATA names the folder above it")
    return folder
