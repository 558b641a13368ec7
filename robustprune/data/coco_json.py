"""The COCO annotation format: which fields a file must have, and one clear sentence when it has not.

Only the fields that detection uses are kept; what they mean to a detector is in `coco`.
"""

import hashlib
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Annotated, Protocol

from pydantic import FailFast, Field, FiniteFloat, Strict, TypeAdapter, ValidationError

from robustprune.errors import InputError

Id = Annotated[int, Strict()]
Pixels = Annotated[int, Strict(), Field(gt=0)]
Number = Annotated[FiniteFloat, Strict()]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image: `file_name` is relative to the split's folder, sizes are in pixels."""

    id: Id
    file_name: Annotated[str, Field(min_length=1)]
    width: Pixels
    height: Pixels


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """An object, or a crowd of them: `bbox` is x, y, width, height in pixels; `area` is the mask's."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[Number, Number, Number, Number]
    area: Number | None = None
    iscrowd: bool = False


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """A kind of object; ids need not be contiguous."""

    id: Id
    name: str


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """A whole file; from `read`, ids are unique and exist, and file names stay in their folder."""

    images: Annotated[list[ImageRecord], FailFast(), Field(min_length=1)]
    annotations: Annotated[list[AnnotationRecord], FailFast()]
    categories: Annotated[list[CategoryRecord], FailFast(), Field(min_length=1)]


_FILE = TypeAdapter(AnnotationFile)

_EXPECTED = {
    "images": "objects in an array",
    "annotations": "objects in an array",
    "categories": "objects in an array",
    "id": "a whole number",
    "image_id": "a whole number",
    "category_id": "a whole number",
    "file_name": "a name",
    "name": "a name",
    "width": "a positive whole number",
    "height": "a positive whole number",
    "bbox": "four finite numbers",
    "area": "a finite number",
    "iscrowd": "0 or 1",
}


def read(path: Path) -> tuple[AnnotationFile, bytes]:
    """Return a file's records and the SHA-256 of its bytes.

    Raises:
        InputError: The file is missing, is not JSON, lacks a field, or contradicts itself.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a COCO annotation file") from None
    try:
        file = _FILE.validate_json(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}") from None
    _check(file, path)
    return file, hashlib.sha256(content).digest()


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"not valid JSON, {first['ctx']['error']}"
    found = reprlib.repr(first["input"])
    if not first["loc"]:
        return f"found {found}, expected an object with the fields images, annotations and categories"
    field, name = "", ""
    for step in first["loc"]:
        if isinstance(step, int):
            field += f"[{step}]"
        else:
            field, name = f"{field}.{step}".removeprefix("."), step
    if first["type"] == "missing":
        return f"field {field} is missing, expected {_EXPECTED[name]}"
    return f"field {field} is {found}, expected {_EXPECTED[name]}"


class _HasId(Protocol):
    @property
    def id(self) -> int: ...


def _check(file: AnnotationFile, path: Path) -> None:
    image_ids = _unique_ids(file.images, "images", path)
    category_ids = _unique_ids(file.categories, "categories", path)
    _unique_ids(file.annotations, "annotations", path)
    for position, annotation in enumerate(file.annotations):
        if annotation.image_id not in image_ids:
            raise InputError(
                f"{path}: field annotations[{position}].image_id is {annotation.image_id}, "
                f"expected the id of one of the {len(image_ids)} images"
            )
        if annotation.category_id not in category_ids:
            raise InputError(
                f"{path}: field annotations[{position}].category_id is {annotation.category_id}, "
                f"expected the id of one of the {len(category_ids)} categories"
            )
    for position, image in enumerate(file.images):
        # Windows' rules know both separators and drive letters: what one system refuses, all do.
        name = PureWindowsPath(image.file_name)
        if name.anchor or ".." in name.parts:
            raise InputError(
                f"{path}: field images[{position}].file_name is {image.file_name!r}, "
                "expected a relative path inside the image folder"
            )


def _unique_ids(records: Sequence[_HasId], field: str, path: Path) -> set[int]:
    seen: set[int] = set()
    for position, record in enumerate(records):
        if record.id in seen:
            raise InputError(f"{path}: field {field}[{position}].id is {record.id} again, expected unique ids")
        seen.add(record.id)
    return seen
