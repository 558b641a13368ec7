"""The COCO annotation format: which fields a file must have, and one clear sentence when it has not.

Only the fields that detection uses are kept; what they mean to a detector is in `coco`.
"""

import itertools
import json
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import normpath
from typing import Annotated, Any, Literal, Protocol

from pydantic import FailFast, Field, FiniteFloat, Strict, TypeAdapter, ValidationError

from robustprune.core.errors import InputError
from robustprune.core.files import undecodable

Id = Annotated[int, Strict(), Field(ge=-(2**63), lt=2**63)]
Pixels = Annotated[int, Strict(), Field(gt=0)]
Number = Annotated[FiniteFloat, Strict()]

RepeatedFiles = Literal["refuse", "allow"]
"""Whether one file may be several images, each of an id and of objects of its own."""


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
    # A grouping, which tells nothing of a category but that it may be a mere group itself.
    supercategory: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """A whole file; from `parse`, ids are unique and exist, and file names stay in their folder."""

    images: Annotated[list[ImageRecord], FailFast(), Field(min_length=1)]
    annotations: Annotated[list[AnnotationRecord], FailFast()]
    categories: Annotated[list[CategoryRecord], FailFast(), Field(min_length=1)]


_FILE = TypeAdapter(AnnotationFile)

_WHOLE = ("id", "image_id", "category_id", "width", "height")
"""Fields of whole numbers, which tools that keep tables of floating point write as 64.0."""

_EXACT = 2**53
"""From here on, floating point holds not every whole number."""

# In JSON, a quote before a colon ends a key: no text within a string looks like this.
_POLYGONS = re.compile(rb'"segmentation"\s*:\s*\[[][0-9.,\seE+-]*\]')

_EXPECTED = {
    "images": "objects in an array",
    "annotations": "objects in an array",
    "categories": "objects in an array",
    "id": "a whole number of 64 bits",
    "image_id": "a whole number of 64 bits",
    "category_id": "a whole number of 64 bits",
    "file_name": "a name",
    "name": "a name",
    "width": "a positive whole number",
    "height": "a positive whole number",
    "bbox": "four finite numbers",
    "area": "a finite number",
    "iscrowd": "0 or 1",
    "score": "a finite number",
}


def parse(content: bytes, path: Path, *, repeated_files: RepeatedFiles = "refuse") -> AnnotationFile:
    """Return the records in the content of the file `path`.

    Raises:
        InputError: It is not JSON, lacks a field, or contradicts itself, as by one file of two ids where that is
            refused.
    """
    expected = "an object with the fields images, annotations and categories"
    file: AnnotationFile = validated(_FILE, content, path, expected=expected)
    _check(file, path, repeated_files)
    return file


def validated(shape: TypeAdapter[Any], content: bytes, path: Path, *, expected: str) -> Any:
    """Return the content of a JSON file in its shape; whole numbers may be written as 64.0.

    Args:
        shape: of records whose fields are known to `_EXPECTED`.
        content: of the file.
        path: of the file, for messages.
        expected: what it should be as a whole, for messages.

    Raises:
        InputError: it has another shape.
    """
    try:
        try:
            return shape.validate_json(content)
        except ValidationError as error:
            if not isinstance(error.errors(include_url=False)[0]["input"], float):
                raise
            return shape.validate_python(_with_whole_numbers(json.loads(content)))
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error, content, expected)}") from None


def without_polygons(content: bytes) -> bytes:
    """Return the content of a file without the polygons of its objects: a third of COCO's, parsed in half the time.

    `parse` is to tell errors of the whole content, as lines move; mistakes within polygons are gone with them.
    """
    return _POLYGONS.sub(b'"segmentation":0', content)


def _with_whole_numbers(written: Any) -> Any:
    """Return the content of a file, a list of records or some such lists, with its whole numbers as such."""
    lists = written.values() if isinstance(written, dict) else [written]
    for record in itertools.chain.from_iterable(records for records in lists if isinstance(records, list)):
        if isinstance(record, dict):
            record |= {field: _whole(record[field]) for field in _WHOLE if field in record}
    return written


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def _sentence(error: ValidationError, content: bytes, expected: str) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        if found := undecodable(content):
            return f"found {found}, expected JSON in UTF-8"
        return f"not valid JSON, {first['ctx']['error']}"
    found = _short(first["input"])
    if not first["loc"]:
        return f"found {found}, expected {expected}"
    field, name = "", "images"
    for step in first["loc"]:
        if isinstance(step, int):
            field += f"[{step}]"
        else:
            field, name = f"{field}.{step}".removeprefix("."), step
    if first["type"] == "missing":
        return f"field {field} is missing, expected {_EXPECTED[name]}"
    return f"field {field} is {found}, expected {_EXPECTED[name]}"


def _short(value: Any) -> str:
    """Return a value as messages have it: without what is in the records of a list."""
    shortener = reprlib.Repr()
    shortener.maxlevel = 2
    return shortener.repr(value)


class _HasId(Protocol):
    @property
    def id(self) -> int: ...


def _check(file: AnnotationFile, path: Path, repeated_files: RepeatedFiles) -> None:
    image_ids = _unique_ids(file.images, "images", path)
    category_ids = _unique_ids(file.categories, "categories", path)
    _unique_ids(file.annotations, "annotations", path)
    _check_known([record.image_id for record in file.annotations], image_ids, "image_id", "images", path)
    _check_known([record.category_id for record in file.annotations], category_ids, "category_id", "categories", path)
    file_names: set[str] = set()
    for position, image in enumerate(file.images):
        field = f"field images[{position}].file_name is {image.file_name!r}"
        if not _stays_inside(image.file_name):
            raise InputError(f"{path}: {field}, expected a relative path inside the image folder, with forward slashes")
        name = normpath(image.file_name)
        if name in file_names and repeated_files == "refuse":
            first = next(n for n, other in enumerate(file.images) if normpath(other.file_name) == name)
            raise InputError(
                f"{path}: {field} again, expected unique names: images[{first}] is the same file under another id "
                "(dataset.repeated_files: allow, or --repeated-files allow, takes each for an image)"
            )
        file_names.add(name)


def _stays_inside(file_name: str) -> bool:
    # Windows' separators and drive letters count anywhere: what one system refuses, all do.
    return not (
        file_name.startswith("/")
        or file_name[1:2] == ":"
        or ".." in file_name.split("/")
        or "\\" in file_name
        or "\0" in file_name
    )


def _unique_ids(records: Sequence[_HasId], field: str, path: Path) -> set[int]:
    seen: set[int] = set()
    for position, record in enumerate(records):
        if record.id in seen:
            raise InputError(f"{path}: field {field}[{position}].id is {record.id} again, expected unique ids")
        seen.add(record.id)
    return seen


def _check_known(ids: Sequence[int], known: set[int], field: str, records: str, path: Path) -> None:
    if not known.issuperset(ids):
        position = next(position for position, used in enumerate(ids) if used not in known)
        raise InputError(
            f"{path}: field annotations[{position}].{field} is {ids[position]}, "
            f"expected the id of one of the {len(known)} {records}"
        )
