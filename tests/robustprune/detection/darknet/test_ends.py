"""What a .cfg says of how pictures meet its network, and of how boxes are suppressed."""

from pathlib import Path

import pytest

from robustprune.core.errors import InputError
from robustprune.detection.darknet import build, cfg
from robustprune.detection.darknet.ends import fit_of, suppression_of
from robustprune.detection.detector import GREEDY, Suppression
from tests.robustprune.detection.darknet import published

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nfilters=8\nactivation=linear\n"
YOLO = "[yolo]\nmask=0\nanchors=4,6\nnum=1\nclasses=3\n"


@pytest.mark.parametrize(
    ("text", "fit", "reason"),
    [
        (NET + CONV + YOLO, "letterbox", "no option of AlexeyAB's engine"),
        (NET + "letter_box=1\n" + CONV + YOLO, "letterbox", "letter_box=1"),
        (NET + "letter_box=0\n" + CONV + YOLO, "stretch", "letter_box=0"),
        (NET + "letter_box=1\n" + CONV + YOLO + "scale_x_y=1.05", "letterbox", "letter_box=1"),
        (NET + "mosaic=1\n" + CONV + YOLO, "stretch", "`mosaic` in line 1's [net]"),
        (NET + CONV + YOLO + "iou_loss=ciou\n", "stretch", "`iou_loss` in line 8's [yolo]"),
        (NET + CONV.replace("linear", "mish") + YOLO, "stretch", "activation=mish in line 5's [convolutional]"),
        (published.yolov4_tiny(), "stretch", "AlexeyAB's engine"),
    ],
)
def test_alexeyabs_files_are_told_by_their_options(text: str, fit: str, reason: str) -> None:
    found = fit_of(cfg.parse(text))
    assert found.fit == fit
    assert reason in found.reason


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("yolov3", "letterbox"),
        ("yolov3-tiny", "letterbox"),
        ("yolov3-spp", "letterbox"),
        ("yolo-fastest-1.1", "stretch"),
    ],
)
def test_published_files(darknet_data: Path, name: str, fit: str) -> None:
    assert fit_of(cfg.read(darknet_data / f"{name}.cfg")).fit == fit


@pytest.mark.parametrize("name", cfg.bundled())
def test_bundled_files_are_letterboxed(name: str) -> None:
    assert fit_of(cfg.read(name)).fit == "letterbox"


@pytest.mark.parametrize(
    ("options", "suppression"),
    [
        ("", GREEDY),
        ("nms_kind=greedynms\nbeta_nms=0.8\n", GREEDY),
        ("nms_kind=diounms\n", Suppression("diou", 0.6)),
        ("nms_kind=diounms\nbeta_nms=1\n", Suppression("diou", 1.0)),
    ],
)
def test_how_boxes_are_suppressed_is_the_heads_choice(options: str, suppression: Suppression) -> None:
    sections = cfg.parse(NET + CONV + YOLO + options)
    assert suppression_of(sections) == build(sections).suppression == suppression


def test_an_unknown_suppression_is_refused() -> None:
    with pytest.raises(InputError, match=r"line 8, \[yolo\]: `nms_kind` is 'softnms', expected one of default, "):
        build(cfg.parse(NET + CONV + YOLO + "nms_kind=softnms\n", "d.cfg"))
