"""A compacted detector, written as Darknet's files and read again, computes what the masked one computes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, cfg, load_weights, save_weights
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.detection.darknet.compact.export import as_darknet
from tests.robustprune.detection.pruned import HEAD, assert_same, conv, detector_of, prune, randomised, zero_filters


def through_files(detector: Detector, folder: Path) -> Detector:
    written = as_darknet(compact(detector), detector.sections, image_size=96)
    (folder / "small.cfg").write_text(cfg.dump(written.sections))
    save_weights(written, folder / "small.weights")
    read = Detector.from_cfg(folder / "small.cfg").eval()
    load_weights(read, folder / "small.weights")
    return read


def images_of(side: int = 96) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def bundled() -> dict[str, Detector]:
    return {name: randomised(Detector.from_cfg(name)) for name in ("yolov3-nano", "yolov3-tiny")}


@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny"])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.9, 0.99])
def test_bundled_detectors(bundled: dict[str, Detector], name: str, ratio: float, tmp_path: Path) -> None:
    detector = copy.deepcopy(bundled[name])
    prune(detector, "structured", ratio)
    small = through_files(detector, tmp_path)
    assert_same(small, detector, images_of())
    assert (small.image_size, small.stride) == ((96, 96), detector.stride)
    for head, original in zip(small.heads, detector.heads, strict=True):
        assert torch.equal(head.anchors, original.anchors)
        assert (head.stride, head.classes, head.scale_x_y) == (original.stride, original.classes, original.scale_x_y)
    assert all(layer.batch_norm is None for layer in small.layers if hasattr(layer, "batch_norm"))


@pytest.mark.parametrize("name", ["yolo-fastest-1.1", "yolov3-spp"])
def test_published_detectors(darknet_data: Path, name: str, tmp_path: Path) -> None:
    detector = randomised(Detector.from_cfg(darknet_data / f"{name}.cfg"))
    prune(detector, "structured", 0.75)
    assert_same(through_files(detector, tmp_path), detector, images_of(64))


def test_readers_of_a_layer_share_its_channel_of_ones(tmp_path: Path) -> None:
    detector = detector_of(conv(8), conv(4), "[route]\nlayers=0\n", conv(6, "stride=2"), HEAD)
    zero_filters(detector, 0, 0)
    small = through_files(detector, tmp_path)
    assert_same(small, detector, images_of())
    assert [module.out_channels for module in small.modules() if isinstance(module, nn.Conv2d)] == [7, 1, 6, 14]


def test_unlike_convolutions_and_pools(tmp_path: Path) -> None:
    padded = "[convolutional]\nfilters=6\nsize=3\npadding=2\nactivation=relu\n"
    grouped = conv(6, "groups=3", size=1, activation="mish")
    pools = "[maxpool]\nsize=2\nstride=1\n[maxpool]\nsize=5\nstride=1\n"
    sections = (
        conv(8),
        conv(6, "stride=2", activation="swish"),
        grouped,
        padded,
        pools,
        "[upsample]\nstride=2\n",
        HEAD,
    )
    detector = detector_of(*sections)
    zero_filters(detector, 0, 0)
    assert_same(through_files(detector, tmp_path), detector, images_of())


def test_new_coords_keep_the_logistic_function_before_the_head(tmp_path: Path) -> None:
    head = HEAD.replace("activation=linear", "activation=logistic") + "new_coords=1\nscale_x_y=2.0\n"
    detector = detector_of(conv(8), conv(4), head)
    zero_filters(detector, 0, 0)
    small = through_files(detector, tmp_path)
    assert_same(small, detector, images_of())
    assert "activation=logistic" in cfg.dump(small.sections)


@pytest.mark.parametrize(
    ("sections", "pruned", "message"),
    [
        ((conv(8), conv(8, "groups=2"), HEAD), (0,), "a choice of a layer's channels, after layers.0.conv"),
        (
            (conv(8), conv(8, "groups=2"), HEAD),
            (0, 4),
            "constants that end at the border in the grouped convolution layers.1.conv",
        ),
        (
            (conv(8), conv(8), "[shortcut]\nfrom=0\nactivation=linear\n", HEAD),
            (0,),
            "a sum of layers that hold different channels, or of constants, after layers.1.conv",
        ),
        (
            (conv(8), "[avgpool]\n", conv(8, size=1), "[scale_channels]\nfrom=0\n", HEAD),
            (),
            "a layer of type AveragePool, after layers.0.conv",
        ),
    ],
)
def test_what_darknet_has_no_layer_for_is_named(
    sections: tuple[str, ...], pruned: tuple[int, ...], message: str
) -> None:
    detector = detector_of(*sections)
    zero_filters(detector, 0, *pruned)
    with pytest.raises(InputError, match=f"^Darknet has no layer for what is left of this detector: {message}$"):
        as_darknet(compact(detector), detector.sections, image_size=32)
