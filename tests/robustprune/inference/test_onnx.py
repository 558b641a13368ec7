"""ONNX files, run by onnxruntime: any number of images, and every layer that a compacted detector has."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from robustprune.core.errors import InputError
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.inference import onnx
from robustprune.inference.compact_layers import BorderedConvolution, Complete, Select, Sum
from tests.robustprune.detection.pruned import HEAD, conv, detector_of, zero_filters

SECTIONS = (
    conv(8),
    conv(8, "groups=2"),
    "[shortcut]\nfrom=0\nactivation=linear\n",
    "[avgpool]\n",
    conv(8, size=1),
    "[scale_channels]\nfrom=2\n",
    HEAD,
)


def test_every_layer_and_any_number_of_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    detector = detector_of(*SECTIONS)
    zero_filters(detector, 0, 0, 1)
    zero_filters(detector, 1, 0)
    network = compact(detector)
    assert {BorderedConvolution, Select, Complete, Sum} <= {type(layer) for layer in network.layers}
    path = tmp_path / "a 0.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        onnx.save_onnx(
            network, path, decode=detector.decode, channels=3, image_size=(64, 64), metadata={"spec": "größer"}
        )
    for count in (1, 3):
        images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = detector.decode(detector(images), 64)
        found = onnx.run_onnx(path, images)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert capfd.readouterr() == ("", "")
    assert "größer".encode() in path.read_bytes()


def test_a_file_is_as_large_as_the_weights_whatever_the_image(tmp_path: Path) -> None:
    detector = detector_of(*SECTIONS)
    zero_filters(detector, 0, 0, 1)
    network = compact(detector)
    assert BorderedConvolution in {type(layer) for layer in network.layers}
    sizes = {}
    for side in (64, 512):
        path = tmp_path / f"{side}.onnx"
        onnx.save_onnx(network, path, decode=detector.decode, channels=3, image_size=(side, side), metadata={})
        sizes[side] = path.stat().st_size
        assert b"test_onnx.py" not in path.read_bytes()  # no trace of who wrote it, and where
    assert sizes[512] - sizes[64] < 10_000  # a row and a column of each grid, where a map would have a million
    assert sizes[512] < 4 * sum(parameter.numel() for parameter in network.parameters()) + 40_000


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "PACKAGES", ("onnx", "onnxscripd"))
    with pytest.raises(InputError, match=r"^ONNX needs onnxscripd, .*; pip install 'robust-pruning-sweeps\[onnx\]'$"):
        onnx.check_packages()
