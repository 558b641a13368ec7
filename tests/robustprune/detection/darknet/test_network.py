"""The detector as a whole: its graph, shapes and memory."""

import copy
import weakref
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, build, cfg, float_count
from robustprune.detection.darknet.layers import Convolutional, MaxPool, Shortcut
from tests.robustprune.detection.darknet import published

BUNDLED = ["yolov3-nano", "yolov3-tiny"]


@pytest.fixture(scope="module")
def nano() -> Detector:
    torch.manual_seed(0)
    return Detector.from_cfg("yolov3-nano").eval()


@pytest.mark.parametrize(
    ("name", "count"), [("yolov3", 62_001_757), ("yolov3-spp", 63_052_381), ("yolo-fastest-1.1", 346_062)]
)
def test_published_detectors_have_their_published_size(darknet_data: Path, name: str, count: int) -> None:
    with torch.device("meta"):
        assert float_count(Detector.from_cfg(darknet_data / f"{name}.cfg")) == count


@pytest.mark.parametrize(
    ("text", "count"), [(published.yolov4_tiny(), 6_062_814), (published.yolov3_tiny_prn(), 4_939_758)]
)
def test_detectors_rebuilt_from_their_structure_have_their_published_size(text: str, count: int) -> None:
    with torch.device("meta"):
        assert float_count(build(cfg.parse(text))) == count


@pytest.mark.parametrize(
    ("text", "strides"),
    [
        (published.yolov4_tiny(), [32, 16]),
        (published.yolov3_tiny_prn(), [32, 16]),
        (published.squeeze_and_excitation(), [32]),
    ],
)
def test_other_published_sections_run_at_any_multiple_of_the_stride(text: str, strides: list[int]) -> None:
    detector = build(cfg.parse(text)).eval()
    assert detector.stride == 32
    assert [head.stride for head in detector.heads] == strides
    outputs = detector(torch.rand(1, 3, 64, 96))
    assert [tuple(output.shape[2:4]) for output in outputs] == [(64 // stride, 96 // stride) for stride in strides]
    assert detector.decode(outputs, (64, 96)).isfinite().all()


def test_new_coords_move_the_logistic_function_from_the_convolution_to_the_decoding() -> None:
    text = published.squeeze_and_excitation()
    front, _, back = text.rpartition("activation=linear\n")
    newer = build(cfg.parse(f"{front}activation=logistic\n{back}new_coords=1\n"))
    last = newer.layers[-2]
    assert isinstance(last, Convolutional)
    assert isinstance(last.activation, nn.Identity)
    older = build(cfg.parse(text)).eval()
    older.load_state_dict(newer.state_dict())
    images = torch.rand(1, 3, 64, 64)
    (expected,), (found,) = older(images), newer.eval()(images)
    assert torch.equal(found[..., :2], expected[..., :2])
    assert torch.equal(found[..., 4:], expected[..., 4:])
    torch.testing.assert_close(found[..., 2:4].exp(), (2 * expected[..., 2:4].sigmoid()) ** 2)


@pytest.mark.parametrize(
    ("name", "count"), [("yolov3-tiny", 8_858_734), ("yolov3", 62_001_757), ("yolov3-spp", 63_052_381)]
)
def test_bundled_detectors_have_their_published_size(name: str, count: int) -> None:
    with torch.device("meta"):
        assert float_count(Detector.from_cfg(name)) == count


@torch.no_grad()
@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov3", "yolov3-spp"])
def test_bundled_detectors_are_darknets(darknet_data: Path, name: str) -> None:
    # Only the small one with numbers: of what has the same layers at the same places, these are the same.
    with torch.device("cpu" if name == "yolov3-tiny" else "meta"):
        ours, theirs = (Detector.from_cfg(each).eval() for each in (name, darknet_data / f"{name}.cfg"))
    assert ours.inputs == theirs.inputs
    assert str(ours.layers) == str(theirs.layers)
    for mine, published_head in zip(ours.heads, theirs.heads, strict=True):
        assert str(mine) == str(published_head)
        assert mine.anchors.is_meta or torch.equal(mine.anchors, published_head.anchors)
        for field in ("stride", "classes", "scale_x_y", "ignore_thresh"):
            assert getattr(mine, field) == getattr(published_head, field)
    if name != "yolov3-tiny":
        return
    theirs.load_state_dict(ours.state_dict(), assign=True)
    images = torch.rand(1, 3, 64, 96)
    assert all(torch.equal(*outputs) for outputs in zip(ours(images), theirs(images), strict=True))


def test_nano_is_what_the_demo_needs(nano: Detector) -> None:
    assert sum(parameter.numel() for parameter in nano.parameters()) <= 190_000
    assert [head.stride for head in nano.heads] == [16, 8]
    assert {MaxPool, Shortcut, nn.Upsample} <= {type(layer) for layer in nano.layers}
    assert (nano.stride, nano.image_size) == (16, (64, 64))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (16, 32)])
def test_any_multiple_of_the_stride_works(nano: Detector, height: int, width: int) -> None:
    outputs = nano(torch.rand(2, 3, height, width))
    assert [tuple(o.shape) for o in outputs] == [(2, 3, height // s, width // s, 11) for s in (16, 8)]
    boxes = nano.decode(outputs, (height, width))
    assert boxes.shape == (2, 3 * (height * width // 256 + height * width // 64), 11)


def test_other_sizes_are_refused(nano: Detector) -> None:
    with pytest.raises(InputError, match="images are 64x72 pixels, expected multiples of 16"):
        nano(torch.rand(1, 3, 72, 64))


def test_other_channels_are_refused(nano: Detector) -> None:
    with pytest.raises(InputError, match=r"images have 1 channels, the \.cfg's \[net\] expects 3"):
        nano(torch.rand(1, 1, 64, 64))


def test_decode_orders_boxes_by_scale_anchor_row_column(nano: Detector) -> None:
    outputs = [torch.zeros(1, 3, side, side, 11) for side in (4, 8)]
    outputs[1][0, 2, 5, 6, 4] = 10.0
    best = nano.decode(outputs, 64)[0, :, 4].argmax()
    assert best == 3 * 16 + 2 * 64 + 5 * 8 + 6


def test_an_untrained_detector_sees_nothing(nano: Detector) -> None:
    boxes = nano.decode(nano(torch.rand(4, 3, 64, 64)), 64)
    assert boxes[..., 4].max() < 0.1
    assert boxes.isfinite().all()


def test_channels_last_changes_nothing(nano: Detector) -> None:
    images = torch.rand(2, 3, 64, 64)
    other = copy.deepcopy(nano).to(memory_format=torch.channels_last)
    for expected, found in zip(nano(images), other(images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BUNDLED)
def test_every_module_runs_once_and_not_in_place(name: str) -> None:
    detector = Detector.from_cfg(name).eval()
    calls: Counter[nn.Module] = Counter()
    leaves = [module for module in detector.modules() if not list(module.children())]
    for leaf in leaves:
        leaf.register_forward_hook(lambda module, *_: calls.update([module]))
    detector(torch.rand(1, 3, 64, 64))
    assert all(calls[leaf] == 1 for leaf in leaves)
    assert not any(getattr(leaf, "inplace", False) for leaf in leaves)


def test_the_graph_describes_the_computation(nano: Detector) -> None:
    """Walking `layers` and `inputs` by hand gives the forward pass."""
    images = torch.rand(1, 3, 64, 64)
    tensors = {-1: images}
    for index, (layer, inputs) in enumerate(zip(nano.layers, nano.inputs, strict=True)):
        tensors[index] = layer(*(tensors[source] for source in inputs))
    heads = [index for index, section in enumerate(nano.sections[1:]) if section.name == "yolo"]
    for index, output in zip(heads, nano(images), strict=True):
        assert torch.equal(tensors[index], output)


@torch.no_grad()
def test_outputs_that_nobody_reads_any_more_are_freed() -> None:
    detector = Detector.from_cfg("yolov3-nano").eval()
    made: dict[int, weakref.ref[Tensor]] = {}
    alive: list[int] = []

    def remember(index: int, output: Tensor) -> None:
        made[index] = weakref.ref(output)
        alive[:] = [i for i, tensor in made.items() if tensor() is not None]

    for index, layer in enumerate(detector.layers):
        layer.register_forward_hook(lambda _module, _input, output, index=index: remember(index, output))
    detector(torch.rand(1, 3, 64, 64))
    # The last head, what it reshapes, and the same of the other scale.
    assert set(alive) <= {16, 17, 24, 25}


@pytest.mark.parametrize(("name", "classes"), [("yolov3-nano", 80), ("yolov3-tiny", 6), ("yolov3-tiny", 80)])
def test_classes_are_rewritten_with_the_filters_before_each_head(name: str, classes: int) -> None:
    detector = Detector.from_cfg(name, classes=classes)
    assert [head.classes for head in detector.heads] == [classes, classes]
    assert all(o.shape[-1] == 5 + classes for o in detector(torch.rand(1, 3, 64, 64)))
    by_cfg = Detector.from_cfg(name)
    assert detector.prunable_layers().keys() == by_cfg.prunable_layers().keys()
    for layer, same in zip(detector.prunable_layers().values(), by_cfg.prunable_layers().values(), strict=True):
        assert layer.weight.shape == same.weight.shape


def test_prunable_layers_leave_out_what_feeds_a_head(nano: Detector) -> None:
    modules = dict(nano.named_modules())
    everything, prunable = nano.prunable_layers(heads=True), nano.prunable_layers()
    assert list(everything) == [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    assert everything.keys() - prunable.keys() == {"layers.16.conv", "layers.24.conv"}
    assert all(modules[name] is layer for name, layer in everything.items())


def test_state_holds_weights_only_and_heads_follow_the_module(nano: Detector) -> None:
    assert not any("anchors" in name for name in nano.state_dict())
    moved = copy.deepcopy(nano).to(torch.float64)
    assert all(head.anchors.dtype == torch.float64 for head in moved.heads)


def test_gradients_reach_every_weight() -> None:
    detector = Detector.from_cfg("yolov3-nano")
    sum(output.square().sum() for output in detector(torch.rand(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in detector.parameters())
