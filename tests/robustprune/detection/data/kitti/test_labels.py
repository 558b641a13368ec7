"""Label files are read to the last field, and what is wrong with one is a sentence with its file, line and field."""

from pathlib import Path

import pytest

from robustprune.core.errors import InputError
from robustprune.detection.data.kitti.labels import label_line, read_folder, read_labels
from robustprune.detection.data.kitti.levels import COUNTS, IGNORED, LEVELS, OTHER, standing
from tests.support.kitti_files import CAR, DONT_CARE, PEDESTRIAN, VAN


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "000007.txt"


def changed(field: int, value: str) -> str:
    written = CAR.split()
    written[field] = value
    return " ".join(written)


def test_a_file_is_read(file: Path) -> None:
    file.write_text(f"{CAR}\r\n\n{DONT_CARE}  \n{PEDESTRIAN}")
    labels = read_labels(file)
    assert labels.types == ("Car", "DontCare", "Pedestrian")
    assert labels.truncated.tolist() == [0, -1, 0.2]
    assert labels.occluded.tolist() == [0, -1, 2]
    assert labels.boxes.tolist() == [[10, 5, 30, 25], [90, 10, 110, 20], [50, 4, 60, 36]]


def test_a_picture_may_hold_nothing(file: Path) -> None:
    file.write_text("")
    assert read_labels(file).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Car 0 0", "found 3 fields, expected 15, type to rotation_y$"),
        (f"{CAR} 0.9", "found 16 fields, expected 15, type to rotation_y; a sixteenth is the score of a detection$"),
        (changed(0, "car"), "field type: found 'car', expected one of Car, Van, .*; did you mean Car"),
        (changed(1, "1.5"), r"field truncated: found '1.5', expected a part of \[0, 1\], or -1$"),
        (changed(2, "0.5"), "field occluded: found '0.5', expected 0, 1, 2 or 3, or -1$"),
        (changed(4, "left"), "field left: found 'left', expected a finite number$"),
        (changed(8, "nan"), "field height: found 'nan', expected a finite number$"),
        (changed(6, "9"), "field right: found 9, expected at least 10, where the box begins$"),
        (changed(7, "4.5"), "field bottom: found 4.5, expected at least 5, where the box begins$"),
    ],
)
def test_a_bad_line_is_told_by_file_line_and_field(file: Path, line: str, message: str) -> None:
    file.write_text(f"{CAR}\n{line}\n")
    with pytest.raises(InputError, match=rf"^{file}: line 2(, |: ){message}"):
        read_labels(file)


def test_a_file_of_another_encoding_is_told(file: Path) -> None:
    file.write_bytes(CAR.encode() + b"\n\xff\xe9")
    with pytest.raises(InputError, match="not UTF-8"):
        read_labels(file)


def test_a_picture_without_labels_is_told(tmp_path: Path, file: Path) -> None:
    file.write_text(CAR)
    assert len(read_folder(tmp_path, ["000007"])) == 1
    with pytest.raises(InputError, match=r"000008.txt: No such file or directory, expected the labels of the picture"):
        read_folder(tmp_path, ["000007", "000008"])


def test_what_is_written_is_read(file: Path) -> None:
    file.write_text(
        label_line("Car", (10, 5, 30, 25), before=(0, 0, 1.55), after=(1.57, 1.73, 4.15, 1, 1.75, 13.22, 1.62))
    )
    assert file.read_text() == CAR.replace(" 1.00 1.75", " 1 1.75")
    assert label_line("DontCare", (90, 10, 110, 20)) == DONT_CARE
    assert label_line("Car", (1, 2, 3, 4), score=0.25).endswith(" -1000 -10 0.25")


def of_levels(file: Path, line: str, class_: str = "Car", pixel: float = 1.0) -> list[int]:
    file.write_text(line)
    return [int(standing(read_labels(file), class_, level, pixel=pixel)[0]) for level in LEVELS]


@pytest.mark.parametrize(
    ("height", "truncated", "occluded", "expected"),
    [
        (40.1, 0.15, 0, [COUNTS, COUNTS, COUNTS]),
        (40.0, 0.15, 0, [IGNORED, COUNTS, COUNTS]),
        (40.1, 0.16, 0, [IGNORED, COUNTS, COUNTS]),
        (40.1, 0.3, 1, [IGNORED, COUNTS, COUNTS]),
        (25.1, 0.31, 1, [IGNORED, IGNORED, COUNTS]),
        (25.1, 0.5, 2, [IGNORED, IGNORED, COUNTS]),
        (25.1, 0.51, 2, [IGNORED, IGNORED, IGNORED]),
        (25.0, 0, 0, [IGNORED, IGNORED, IGNORED]),
        (90.0, 0, 3, [IGNORED, IGNORED, IGNORED]),
    ],
)
def test_levels_go_by_height_truncation_and_occlusion(
    file: Path, height: float, truncated: float, occluded: int, expected: list[int]
) -> None:
    line = label_line("Car", (0, 0, 50, height), before=(truncated, occluded, 0))
    assert of_levels(file, line) == expected
    # The same car, in a picture of half the size.
    smaller = label_line("Car", (0, 0, 25, height / 2), before=(truncated, occluded, 0))
    assert of_levels(file, smaller, pixel=2.0) == expected


def test_neighbours_are_ignored_and_others_are_none(file: Path) -> None:
    tall = {type_: label_line(type_, (0, 0, 50, 90), before=(0, 0, 0)) for type_ in ("Van", "Person_sitting", "Truck")}
    assert of_levels(file, tall["Van"]) == [IGNORED] * 3
    assert of_levels(file, tall["Van"], "Pedestrian") == [OTHER] * 3
    assert of_levels(file, tall["Person_sitting"], "Pedestrian") == [IGNORED] * 3
    assert of_levels(file, tall["Truck"]) == of_levels(file, VAN, "Cyclist") == [OTHER] * 3
