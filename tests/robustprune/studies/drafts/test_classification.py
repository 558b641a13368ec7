"""A draft fits its class folders: splits, images of each class, their size, epochs; and what it says can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.studies.classification.study import ClassificationStudy
from robustprune.studies.drafts import classification
from robustprune.studies.drafts.classification import CPU, folders_draft
from sweeps import spec
from sweeps.spec import plain_yaml

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "has_gpu", lambda: False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes so many pictures of cats into each split, and of dogs, and returns the root."""

    def written(images: dict[str, tuple[int, int]], *, size: tuple[int, int] = (40, 30)) -> Path:
        for split, counts in images.items():
            for name, count in zip(("cat", "dog"), counts, strict=True):
                (tmp_path / split / name).mkdir(parents=True)
                for number in range(count):
                    Image.new("RGB", size).save(tmp_path / split / name / f"{number}.png")
        return tmp_path

    return written


def draft(root: Path, **given: Any) -> tuple[dict[str, Any], dict[str, str]]:
    settings, notes, files = folders_draft(str(root), given, None)
    assert not files
    # As a spec is read, which knows quotients.
    loaded = spec.parse(plain_yaml.write({"name": "x", "study": "classification", **settings}), "drafted")
    assert isinstance(loaded.study, ClassificationStudy)
    loaded.study.check(loaded.cells)
    return dict(settings), dict(notes)


def test_splits_size_and_epochs_follow_from_the_folders(write: Write) -> None:
    root = write({"train": (20, 12), "val": (3, 3), "test": (4, 4), "extra": (1, 1)})
    settings, notes = draft(root)
    assert settings["dataset"] == {
        "name": "folders",
        "root": str(root),
        "train": "train",
        "test": "test",
        "image_size": 32,
    }
    assert notes["dataset.train"] == "32 images of 2 classes."
    assert (settings["pretrain"]["batch_size"], settings["pretrain"]["epochs"]) == (8, 60)
    assert settings["retrain"]["epochs"] == 15
    assert settings["evaluation"]["images"] == 8


@pytest.mark.parametrize(("size", "side"), [((28, 28), 28), ((40, 30), 32), ((640, 480), 32), ((5, 9), 8)])
def test_images_are_no_larger_than_the_pictures(size: tuple[int, int], side: int, write: Write) -> None:
    settings, notes = draft(write({"train": (9, 9), "val": (1, 1)}, size=size))
    assert settings["dataset"]["image_size"] == side
    assert settings["dataset"]["test"] == "val"
    assert ("What is left of it has to tell classes apart" in notes["dataset.image_size"]) == (size == (640, 480))


def test_of_many_images_as_many_of_each_class_are_drawn(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({"train": (20, 8), "test": (9, 2)})
    monkeypatch.setattr(classification, "CPU", CPU._replace(images=10, measured=10))
    dataset = draft(root)[0]["dataset"]
    assert dataset["train_images"] == 10
    assert "test_images" not in dataset  # of dogs there are so few that all images make more
    assert draft(root, dataset={"train_images": 4})[0]["dataset"]["train_images"] == 4
    monkeypatch.setattr(classification, "has_gpu", lambda: True)
    assert "train_images" not in draft(root)[0]["dataset"]


@pytest.mark.parametrize(
    ("images", "given", "message"),
    [
        (
            {"cats": (1, 1), "dogs": (1, 1)},
            {},
            "found cats, dogs, expected a split train (--set dataset.train=NAME) and ",
        ),
        ({"train": (1, 1)}, {}, "found train, expected a split test (--set dataset.test=NAME): a folder, or zip file"),
        ({"train": (1, 1), "test": (1, 0)}, {}, "found no image in the class folder 'dog'"),
        ({"train": (1, 1), "test": (1, 1)}, {"dataset": {"size": 3}}, "dataset.size: unknown key, expected one of "),
    ],
)
def test_what_cannot_be_drafted_is_one_sentence(
    images: dict[str, tuple[int, int]], given: dict[str, Any], message: str, write: Write
) -> None:
    with pytest.raises(InputError) as caught:
        draft(write(images), **given)
    assert message in str(caught.value)


def test_a_split_with_another_name_can_be_chosen(write: Write) -> None:
    root = write({"a": (9, 9), "b": (2, 2)})
    assert draft(root, dataset={"train": "b", "test": "a"})[0]["dataset"]["train"] == "b"
