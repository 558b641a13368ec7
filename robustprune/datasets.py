"""The data sets a study can name: where their splits are, and what identifies their content."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from robustprune.data.coco import CocoSplit, check_disjoint, load_split
from robustprune.data.shapes import VERSION, generate
from robustprune.settings import Settings


class Shapes(Settings):
    """The embedded data set, generated where it is needed."""

    name: Literal["shapes"]
    seed: int = Field(default=0, ge=0)
    train_images: int = Field(default=256, ge=1)
    val_images: int = Field(default=96, ge=1)
    image_size: int = Field(default=64, ge=32)
    root: str | None = Field(default=None, description="folder to generate it in; a cache folder by default")

    def splits(self) -> tuple[CocoSplit, CocoSplit]:
        """Return the training and the validation split, generated first if need be.

        Raises:
            InputError: `root` holds something else.
        """
        settings = self.model_dump(exclude={"name", "root"})
        name = "-".join(["shapes", f"v{VERSION}", *map(str, settings.values())])
        root = generate(Path(self.root) if self.root else cache_folder() / name, **settings)
        return _load(root, "train", "val")

    def fingerprint(self, split: Literal["train", "val"]) -> dict[str, Any]:
        """Return what determines the content of a split."""
        other = "val_images" if split == "train" else "train_images"
        return {"version": VERSION, "split": split, **self.model_dump(exclude={"root", other})}


class Coco(Settings):
    """A folder in COCO's layout: annotations/instances_SPLIT.json and SPLIT/*.jpg."""

    name: Literal["coco"]
    root: str
    train: str = "train2017"
    val: str = "val2017"

    def splits(self) -> tuple[CocoSplit, CocoSplit]:
        """Return the training and the validation split.

        Raises:
            InputError: a file is missing or wrong.
        """
        return _load(Path(self.root), self.train, self.val)

    def fingerprint(self, split: Literal["train", "val"]) -> dict[str, Any]:
        """Return what determines the content of a split: its files."""
        return {"split": split, "sha256": self.splits()[0 if split == "train" else 1].fingerprint}


Dataset = Annotated[Shapes | Coco, Field(discriminator="name")]


def cache_folder() -> Path:
    """Return where generated data is kept: below $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustprune"


@functools.lru_cache(maxsize=4)
def _load(root: Path, train: str, val: str) -> tuple[CocoSplit, CocoSplit]:
    splits = load_split(root, train), load_split(root, val)
    check_disjoint(*splits)
    return splits
