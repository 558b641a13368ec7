"""Which pictures a sweep's report shows: chosen images, a line per configuration and ratio, clean beside under attack.

How one is drawn is in `core.images.labelled`. Nothing is detected here: boxes come from what was kept of every model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.core.images.labelled import MEDIA_TYPE, draw, thumbnail
from robustprune.detection.data.coco import CocoSplit
from sweeps.study import Gallery, Lines, Picture

CHOSEN = 3
"""Images shown unless others are asked for."""

FEW_OBJECTS = 5
"""More can hardly be told apart in a small picture."""

LEGIBLE = 0.02
"""What covers less of a small picture can hardly be seen."""


def chosen_images(split: CocoSplit, image_ids: Sequence[int] | None) -> list[int]:
    """Return the indices of the images to show: those asked for, or three that show much in little room.

    These have few objects, and large ones of many classes.

    Raises:
        InputError: an id is of no image of the split.
    """
    if image_ids is not None:
        unknown = sorted(set(image_ids) - set(split.image_ids))
        if unknown:
            raise InputError(
                f"detections.images: found {unknown[0]}, expected ids of the {len(split)} images that are measured on"
            )
        return split.indices(image_ids)

    def rank(index: int) -> tuple[bool, int, float, int]:
        classes, boxes, record = split.classes(index), split.boxes(index), split.images[index]
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / (record.width * record.height)
        legible = set(classes[areas >= LEGIBLE].tolist())
        return not 1 <= len(classes) <= FEW_OBJECTS, -len(legible), -float(areas.min(initial=1)), index

    return sorted(range(len(split)), key=rank)[:CHOSEN]


def detection_gallery(
    rows: Sequence[Mapping[str, Any]],
    detections: Callable[[str], Lines | None],
    *,
    split: CocoSplit,
    images: Sequence[int],
    confidence: float,
    is_baseline: Callable[[Mapping[str, Any]], bool],
    baseline_name: str,
) -> Gallery:
    """Return what the models found in some images: one line per configuration and ratio, at the lowest seed;
    those of a ratio are a step.

    Args:
        rows: as `sweeps.study.Study.galleries` gets them.
        detections: returns those that were kept of the model with a `row_key`, None where none were.
        split: what the models were measured on.
        images: indices of the images to show.
        confidence: only what is surer is shown.
        is_baseline: says so of a row.
        baseline_name: what such rows are called.

    Raises:
        InputError: an image cannot be read, or of no model were detections kept.
    """
    renderer = _GalleryRenderer(split, images, confidence)
    lines, steps = [("ground truth", renderer.ground_truth())], [""]
    for row in sorted(_at_the_lowest_seed(rows), key=lambda row: float(row["ratio"])):
        found = detections(str(row["row_key"]))
        if found is not None:
            levels = [baseline_name] if is_baseline(row) else [row["structure"], row["initializer"]]
            label = " · ".join([*levels, row["colour"]])
            lines.append((label, renderer.found(found, greyscale=row["colour"] == "greyscale")))
            steps.append("" if is_baseline(row) else f"{100 * row['ratio']:g}% pruned")
    if len(lines) == 1:
        raise InputError(
            f"found no detections of any of the {len(rows)} models, expected some; `detections: {{keep: true}}` keeps "
            "those of models that are yet to be computed"
        )
    return Gallery(
        title="What the detectors find",
        explanation=(
            f"Boxes scored above {confidence:g} by each model, at its lowest seed, on the clean image and under "
            "attack; all are drawn on the untouched image, since attacked pixels are not kept."
        ),
        heads=[
            f"image {split.image_ids[index]}, {condition}"
            for index in images
            for condition in ("clean", "under attack")
        ],
        lines=lines,
        steps=steps,
    )


def _at_the_lowest_seed(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    models: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        key = (row["structure"], row["initializer"], row["colour"], row["ratio"])
        if key not in models or row["seed"] < models[key]["seed"]:
            models[key] = row
    return list(models.values())


class _GalleryRenderer:
    """The chosen images, read once, on which every line is drawn."""

    def __init__(self, split: CocoSplit, images: Sequence[int], confidence: float) -> None:
        self._split, self._images, self._confidence = split, images, confidence
        self._thumbnails = [thumbnail(split.image(index)) for index in images]
        self._classes = {category_id: class_ for class_, category_id in enumerate(split.category_ids)}

    def ground_truth(self) -> list[Picture]:
        """Return the objects of each image, once for either condition."""
        pictures = []
        for index, image in zip(self._images, self._thumbnails, strict=True):
            classes = self._split.classes(index)
            names = [self._split.category_names[class_] for class_ in classes]
            boxes = self._relative(index, self._split.boxes(index))
            picture = Picture(draw(image, boxes, classes, names), MEDIA_TYPE, f"ground truth: {_counted(names)}")
            pictures += [picture, picture]
        return pictures

    def found(self, detections: Lines, *, greyscale: bool) -> list[Picture]:
        """Return what a model found in each image, clean and under attack."""
        pictures = []
        for index, image in zip(self._images, self._thumbnails, strict=True):
            # Pillow's luma is Rec. 601's, as what the model saw.
            seen = image.convert("L").convert("RGB") if greyscale else image
            pictures += [self._one(seen, index, detections, attacked=attacked) for attacked in (False, True)]
        return pictures

    def _one(self, image: Image.Image, index: int, detections: Lines, *, attacked: bool) -> Picture:
        shown = (
            (detections["image_id"] == self._split.image_ids[index])
            & (detections["attacked"] == attacked)
            & (detections["score"] > self._confidence)
        )
        surest_first = np.flatnonzero(shown)[np.argsort(-detections["score"][shown], kind="stable")]
        x, y, width, height, scores = (
            detections[name][surest_first] for name in ("x", "y", "width", "height", "score")
        )
        names = detections["category"][surest_first].tolist()
        classes = np.array([self._classes[id_] for id_ in detections["category_id"][surest_first].tolist()], np.int64)
        boxes = self._relative(index, np.stack([x, y, x + width, y + height], axis=1))
        if not names:
            return Picture(b"", MEDIA_TYPE, f"nothing above {self._confidence:g}")
        labels = [f"{name} {score:.2f}" for name, score in zip(names, scores.tolist(), strict=True)]
        condition = "under attack" if attacked else "clean"
        return Picture(draw(image, boxes, classes, labels), MEDIA_TYPE, f"{condition}: {_counted(names)}")

    def _relative(self, index: int, boxes: NDArray[Any]) -> NDArray[Any]:
        record = self._split.images[index]
        return np.asarray(boxes / [record.width, record.height, record.width, record.height])


def _counted(names: Sequence[str]) -> str:
    """Return `2 person, 1 dog`, the most frequent first."""
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common()) or "nothing"
