"""The .weights format, byte by byte."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, build, cfg, float_count, load_weights, save_weights
from robustprune.detection.darknet.layers import Convolutional

SMALL = (
    "[net]\nwidth=8\nheight=8\nchannels=2\n"
    "[convolutional]\nfilters=4\nsize=3\npad=1\ngroups=2\nbatch_normalize=1\nactivation=leaky\n"
    "[maxpool]\nsize=2\nstride=2\n"
    "[convolutional]\nfilters=6\nactivation=linear\n[yolo]\nmask=0\nanchors=4,6\nnum=1\nclasses=1\n"
)
NORMALISED = 4 * 4 + 4 * 1 * 3 * 3
FLOATS = NORMALISED + 6 + 6 * 4


def small() -> Detector:
    return build(cfg.parse(SMALL, "small.cfg"))


def content(floats: int, header: bytes = struct.pack("<iiiq", 0, 2, 5, 7)) -> bytes:
    return header + np.arange(floats, dtype="<f4").tobytes()


def test_order_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "small.weights"
    file.write_bytes(content(FLOATS))
    detector = small()
    assert float_count(detector) == FLOATS
    load_weights(detector, file)
    first, last = detector.layers[0], detector.layers[2]
    assert isinstance(first, Convolutional)
    assert isinstance(last, Convolutional)
    assert first.batch_norm is not None
    state = first.batch_norm.state_dict()
    for place, name in enumerate(["bias", "weight", "running_mean", "running_var"]):
        assert state[name].tolist() == [4 * place, 4 * place + 1, 4 * place + 2, 4 * place + 3]
    assert first.conv.weight[3, 0, 2, 1] == 16 + 3 * 9 + 2 * 3 + 1
    assert last.conv.bias is not None
    assert last.conv.bias[0] == NORMALISED
    assert last.conv.weight[5, 3, 0, 0] == FLOATS - 1


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<iiii", 0, 1, 0, 32_013_312),
        struct.pack("<iiiq", 0, 2, 0, 32_013_312),
        struct.pack("<iiiq", 0, 2, 5, 2**40),
        struct.pack("<iiiq", 1, 0, 9, 3),
        struct.pack("<iiii", 1001, 2, 0, 3),
    ],
)
def test_round_trip_keeps_every_byte(header: bytes, tmp_path: Path) -> None:
    before, after = tmp_path / "a 0.weights", tmp_path / "b.weights"
    before.write_bytes(content(FLOATS, header))
    detector = small()
    load_weights(detector, before)
    save_weights(detector.to(memory_format=torch.channels_last), after)
    assert after.read_bytes() == before.read_bytes()


def test_a_published_file_comes_out_as_it_went_in(darknet_data: Path, tmp_path: Path) -> None:
    published = darknet_data / "yolo-fastest-1.1.weights"
    detector = Detector.from_cfg(darknet_data / "yolo-fastest-1.1.cfg")
    load_weights(detector, published)
    save_weights(detector, tmp_path / "again.weights")
    assert (tmp_path / "again.weights").read_bytes() == published.read_bytes()
    assert all(o.isfinite().all() for o in detector.eval()(torch.rand(1, 3, 320, 320)))


def test_a_new_detector_is_saved_in_todays_version(tmp_path: Path) -> None:
    save_weights(small(), tmp_path / "new.weights")
    saved = (tmp_path / "new.weights").read_bytes()
    assert struct.unpack_from("<iiiq", saved) == (0, 2, 5, 0)
    assert len(saved) == 20 + 4 * FLOATS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found an empty file, expected weights as Darknet writes them"),
        (b"abc", "expected a header of 16 bytes, found 3 bytes in all"),
        (b"version https://git-lfs.github.com/spec/v1\n", "found a Git LFS pointer, whose content was not downloaded"),
        (b"<!DOCTYPE html>", "found a web page (HTML)"),
        (b"PK\x03\x04" + bytes(200), "found a zip archive, expected weights as Darknet writes them"),
        (
            b"[net]\nwidth=32\nheight=32\n",
            "floats, found 2 and a part of another; the header, of version 1952804443, is none of Darknet's",
        ),
        (content(0)[:19], "expected a header of 20 bytes, found 19 bytes in all"),
        (
            content(0),
            f"expected {FLOATS} floats, found 0; they ran out in layer 0, [convolutional] in line 5 of",
        ),
        (
            content(NORMALISED - 1),
            f"found {NORMALISED - 1}; they ran out in layer 0, [convolutional] in line 5",
        ),
        (content(NORMALISED), f"found {NORMALISED}; they ran out in layer 2, [convolutional] in line 15 of"),
        (content(FLOATS)[:-1], f"found {FLOATS - 1} and a part of another; they ran out in layer 2"),
        (content(FLOATS + 3), f"found {FLOATS + 3}; 3 are left over after the last layer"),
        (
            content(FLOATS) + b"\0",
            f"expected {FLOATS} floats, found {FLOATS} and a part of another",
        ),
    ],
)
def test_another_length_is_refused_and_changes_nothing(data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.weights"
    file.write_bytes(data)
    detector = small()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_weights(detector, file)
    assert str(error.value).startswith(f"{file}: ")
    assert message in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.state_dict().items())


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_no_numbers_are_refused(value: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.weights"
    numbers = np.ones(FLOATS, dtype="<f4")
    numbers[7] = float(value)
    file.write_bytes(content(0) + numbers.tobytes())
    with pytest.raises(InputError, match=f"broken.weights: found {value} as float 7 after the header, expected finite"):
        load_weights(small(), file)


def test_a_truncated_published_file_says_where_it_ends(darknet_data: Path) -> None:
    with torch.device("meta"):
        detector = Detector.from_cfg(darknet_data / "yolov3.cfg")
    with pytest.raises(InputError, match=r"expected 62,001,757 floats, found 20,398 .* ran out in layer 2, "):
        load_weights(detector, darknet_data / "truncated-yolov3.weights")


def test_a_missing_file_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.weights: the weights cannot be read \(No such file"):
        load_weights(small(), tmp_path / "none.weights")


@pytest.mark.parametrize(("floats", "bits"), [(FLOATS + 1, 64), (FLOATS - 1, 32)])
def test_a_count_that_is_off_by_one_is_said_to_be_the_header(floats: int, bits: int, tmp_path: Path) -> None:
    file = tmp_path / "other.weights"
    file.write_bytes(content(floats))
    with pytest.raises(InputError, match=f"the header seems to be of another version .* with {bits} bits"):
        load_weights(small(), file)


def test_a_backbones_weights_are_named_as_such_and_fill_the_first_layers_when_asked_to(tmp_path: Path) -> None:
    file = tmp_path / "small.conv.1"
    file.write_bytes(content(NORMALISED))
    detector, untouched = small(), small()
    with pytest.raises(InputError, match=r"the first 1 layers alone, a backbone.s, .*detector.weights_cutoff: 1"):
        load_weights(detector, file)
    untouched.load_state_dict(detector.state_dict())
    load_weights(detector, file, cutoff=1)
    loaded, before = detector.layers[0], untouched.layers[0]
    assert not torch.equal(loaded.conv.weight, before.conv.weight)  # type: ignore[union-attr, arg-type]
    assert torch.equal(detector.layers[2].conv.weight, untouched.layers[2].conv.weight)  # type: ignore[union-attr, arg-type]


def test_a_whole_file_may_be_cut_off_too_but_not_one_that_is_too_short(tmp_path: Path) -> None:
    whole, short = tmp_path / "whole.weights", tmp_path / "short.weights"
    whole.write_bytes(content(FLOATS))
    short.write_bytes(content(NORMALISED - 1))
    load_weights(small(), whole, cutoff=1)
    with pytest.raises(InputError, match=f"expected {NORMALISED} floats, found {NORMALISED - 1}"):
        load_weights(small(), short, cutoff=1)
    with pytest.raises(InputError, match="cut off after 99 layers, expected at most 4, all there are"):
        load_weights(small(), whole, cutoff=99)
