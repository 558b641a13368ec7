"""CIFAR-10 in torchvision's layout; the test writes a tiny one and takes its checksums for the published ones."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from robustprune.classification.data import Cifar10
from robustprune.classification.data.cifar10 import CLASSES, load
from robustprune.core.errors import InputError

PER_BATCH = 20


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a CIFAR-10 of 5 times 20 training and 20 test images."""
    folder = tmp_path / "a'; echo foo" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(name: str, content: dict[str, object]) -> str:
        data = pickle.dumps(content, protocol=2)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    def batch(name: str) -> list[str]:
        pixels = rng.integers(0, 256, (PER_BATCH, 3 * 32 * 32), dtype=np.uint8)
        return [name, write(name, {"data": pixels, "labels": [index % 10 for index in range(PER_BATCH)]})]

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{number}") for number in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    checksum = write("batches.meta", {"label_names": list(CLASSES)})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": checksum})
    return folder.parent


def test_the_splits_are_torchvisions(root: Path) -> None:
    for split, count in (("train", 5 * PER_BATCH), ("test", PER_BATCH)):
        images, theirs = load(root, split), CIFAR10(root, train=split == "train")  # type: ignore[arg-type]
        assert len(images) == len(theirs) == count
        for index in (0, 7, count - 1):
            picture, label = theirs[index]
            assert np.array_equal(images.pixels[index].permute(1, 2, 0), np.asarray(picture))
            assert (images.labels[index].item(), images.classes[label]) == (label, theirs.classes[label])


def test_a_balanced_part_is_drawn(root: Path) -> None:
    part = Cifar10(name="cifar10", root=str(root), train_images=30)
    assert part.load("train").labels.bincount().tolist() == [3] * 10
    assert len(part.load("test")) == PER_BATCH
    assert (part.image_size, part.classes) == (32, CLASSES)
    with pytest.raises(InputError, match="dataset.test_images is 21, which takes 3 images of class 'airplane'"):
        Cifar10(name="cifar10", root=str(root), test_images=21).load("test")


def test_an_absent_data_set_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data_batch_1: found no such file, expected .*https:.*nothing is downloaded"):
        Cifar10(name="cifar10", root=str(tmp_path)).load("test")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_damaged_file_is_named_and_never_unpickled(root: Path, name: str) -> None:
    path = root / "cifar-10-batches-py" / name
    path.write_bytes(path.read_bytes()[:-1])
    for split in ("train", "test"):
        with pytest.raises(InputError, match=f"{name}: found another file than the one published"):
            load(root, split)
