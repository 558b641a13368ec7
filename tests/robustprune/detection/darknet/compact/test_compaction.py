"""A compacted detector computes what the masked one computes in eval mode, and less of it."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, build, cfg, load_weights
from robustprune.detection.darknet.compact.compaction import CompactDetector, compact
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.samples import Samples
from robustprune.inference.compact_layers import BorderedConvolution, Complete, Select, Sum
from robustprune.inference.cost import size
from robustprune.structures import masks as masking
from robustprune.structures.removal import departing, kept_decisions
from tests.robustprune.detection.darknet import published
from tests.robustprune.detection.darknet.random_cfg import cfg_texts
from tests.robustprune.detection.pruned import (
    HEAD,
    assert_same,
    conv,
    convolution,
    detector_of,
    drawn_masks,
    prune,
    randomised,
    zero_filters,
)

RATIOS = (0.0, 0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99)


def images_of(height: int = 64, width: int = 96, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def widths(network: CompactDetector) -> list[tuple[int, int]]:
    return list(network.widths.values())


@pytest.fixture(scope="module")
def random_bundled() -> dict[str, Detector]:
    return {name: randomised(Detector.from_cfg(name)) for name in ("yolov3-nano", "yolov3-tiny")}


@pytest.mark.parametrize(
    ("name", "structure", "ratio"),
    [
        *((name, "structured", ratio) for name in ("yolov3-nano", "yolov3-tiny") for ratio in RATIOS),
        *(("yolov3-nano", "unstructured", ratio) for ratio in (0.5, 0.9, 0.95, 0.99)),
        ("yolov3-tiny", "unstructured", 0.99),
    ],
)
def test_bundled_detectors(random_bundled: dict[str, Detector], name: str, structure: str, ratio: float) -> None:
    detector = copy.deepcopy(random_bundled[name])
    prune(detector, structure, ratio)
    assert_same(compact(detector), detector, images_of())


@pytest.mark.parametrize(
    ("name", "structure", "ratio"),
    [
        *(("yolo-fastest-1.1", "structured", ratio) for ratio in RATIOS),
        *(("yolo-fastest-1.1", "unstructured", ratio) for ratio in (0.9, 0.99)),
        *(("yolov3", "structured", ratio) for ratio in (0.5, 0.9)),
        ("yolov3-spp", "structured", 0.75),
    ],
)
def test_published_detectors(darknet_data: Path, name: str, structure: str, ratio: float) -> None:
    detector = randomised(Detector.from_cfg(darknet_data / f"{name}.cfg"))
    prune(detector, structure, ratio)
    assert_same(compact(detector), detector, images_of(count=1))


@pytest.mark.parametrize("structure", ["structured", "unstructured"])
def test_trained_weights_on_real_images(darknet_data: Path, coco_root: Path, structure: str) -> None:
    trained = Detector.from_cfg(darknet_data / "yolo-fastest-1.1.cfg").eval()
    load_weights(trained, darknet_data / "yolo-fastest-1.1.weights")
    samples = Samples(load_split(coco_root, "val2017"), image_size=320, cache_bytes=0)
    (batch,) = samples.stream(iter([[0, 1]]))
    for ratio in RATIOS:
        detector = copy.deepcopy(trained)
        prune(detector, structure, ratio)
        with torch.inference_mode():
            for output, expected in zip(compact(detector)(batch.images), detector(batch.images), strict=True):
                torch.testing.assert_close(output, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    "text", [published.yolov4_tiny(), published.yolov3_tiny_prn(), published.squeeze_and_excitation()]
)
def test_other_published_sections(text: str, ratio: float) -> None:
    detector = randomised(build(cfg.parse(text)))
    prune(detector, "structured", ratio, heads=True)
    assert_same(compact(detector), detector, images_of())


@settings(max_examples=100)
@given(
    text=cfg_texts(),
    structure=st.sampled_from(["structured", "unstructured"]),
    ratio=st.floats(0, 1),
    round_to=st.sampled_from([1, 1, 4]),
    seed=st.integers(0, 2**16),
)
def test_any_graph_and_any_zeros(text: str, structure: str, ratio: float, round_to: int, seed: int) -> None:
    torch.manual_seed(seed)
    detector = randomised(build(cfg.parse(text)), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # Unlike our masks these may leave a layer nothing at all.
        for layer in detector.prunable_layers(heads=True).values():
            shape = (len(layer.weight), 1, 1, 1) if structure == "structured" else layer.weight.shape
            layer.weight.mul_(torch.rand(shape, generator=generator) >= ratio)
    images = images_of(2 * detector.stride, 3 * detector.stride)
    assert_same(compact(detector, round_to=round_to), detector, images)


def test_a_chain_shrinks_to_what_its_masks_keep() -> None:
    detector = detector_of(conv(8), conv(16), "[maxpool]\nsize=2\nstride=2\n", conv(12), HEAD)
    zero_filters(detector, 0, *range(6))  # 2 left
    zero_filters(detector, 1, *range(11))  # 5
    zero_filters(detector, 3, 0, 4, 5)  # 9
    network = compact(detector)
    assert widths(network) == [(3, 2), (2, 5), (5, 9), (9, 14)]
    weights = 9 * (3 * 2 + 2 * 5 + 5 * 9) + 9 * 14
    taps = 9 * (5 + 9)  # of the constants that the second and the third layer read
    found = size(network, images_of(32, 32, 1))
    assert found.params == weights + taps + 2 + 5 + 9 + 14
    assert found.macs == 32**2 * 9 * (3 * 2 + 2 * 5) + 16**2 * (9 * 5 * 9 + 9 * 14)
    assert_same(network, detector, images_of(32, 32))


def test_filters_that_left_with_their_batch_norm_leave_nothing_behind() -> None:
    detector = detector_of(conv(8), conv(16), "[maxpool]\nsize=2\nstride=2\n", conv(12), HEAD)
    layers = detector.prunable_layers()
    groups = couplings(detector, layers)
    masks = drawn_masks(detector, "structured", 0.75)
    masking.apply(masks | departing(detector, groups, kept_decisions(groups, masks)), detector)
    network = compact(detector)
    assert widths(network) == [(3, 2), (2, 4), (4, 3), (3, 14)]
    # A network of that size and no more: no constant of a filter that left is folded into what is still there.
    weights, biases = 9 * (3 * 2 + 2 * 4 + 4 * 3) + 3 * 14, 2 + 4 + 3 + 14
    assert size(network, images_of(32, 32, 1)).params == weights + biases
    assert not any(isinstance(module, BorderedConvolution) for module in network.modules())
    assert_same(network, detector, images_of(32, 32))


def test_nothing_but_batch_norms_goes_where_nothing_is_zero() -> None:
    detector = detector_of(conv(8), conv(16), HEAD)
    network = compact(detector)
    assert widths(network) == [(3, 8), (8, 16), (16, 14)]
    assert size(network, images_of(32, 32, 1)).params == size(detector, images_of(32, 32, 1)).params - 8 - 16
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_filters_that_nobody_reads_go_with_all_that_only_they_read() -> None:
    detector = detector_of(conv(8), conv(6, size=1), conv(4), HEAD)
    with torch.no_grad():
        convolution(detector, 2).weight[:, 3:] = 0  # the second layer's last filters are unread,
        convolution(detector, 1).weight[:3, 5:] = 0  # and nobody else reads the first one's last
    network = compact(detector)
    assert widths(network) == [(3, 5), (5, 3), (3, 4), (4, 14)]
    assert_same(network, detector, images_of(32, 32))


def test_a_residual_sum_is_as_wide_as_its_inputs_together_and_each_of_them_is_no_wider() -> None:
    detector = detector_of(conv(8), conv(8), "[shortcut]\nfrom=-2\nactivation=linear\n", conv(4), HEAD)
    zero_filters(detector, 0, 0, 1, 2, 3, 4)  # 5, 6, 7 are left,
    zero_filters(detector, 1, 2, 3, 4, 5, 6, 7)  # 0 and 1, so that 2, 3 and 4 of the sum are constant
    network = compact(detector)
    assert widths(network) == [(3, 3), (3, 2), (5, 4), (4, 14)]
    assert_same(network, detector, images_of(32, 32))


@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny", "yolov3"])
@pytest.mark.parametrize("ratio", [0.25, 0.75, 0.99])
def test_what_couplings_keep_needs_no_bookkeeping(name: str, ratio: float) -> None:
    detector = Detector.from_cfg(name)
    prune(detector, "structured", ratio)
    network = compact(detector)
    assert not any(isinstance(module, Select | Complete) for module in network.modules())
    for module in network.modules():
        if isinstance(module, Sum):
            assert not module.missing
            assert not list(module.buffers())
    # Filters and their inputs both fall with the ratio; the image and the heads do not.
    left = size(network, images_of(64, 64, 1)).params / size(detector, images_of(64, 64, 1)).params
    assert (1 - ratio) ** 2 - 0.01 < left < (1 - ratio) ** 2 + 0.04


def test_depthwise_filters_go_with_their_inputs() -> None:
    detector = detector_of(conv(8, size=1), conv(8, "groups=8"), conv(4, size=1), HEAD)
    zero_filters(detector, 1, 0, 1, 2)
    network = compact(detector)
    assert widths(network) == [(3, 5), (5, 5), (5, 4), (4, 14)]
    assert_same(network, detector, images_of(32, 32))


def test_a_route_may_take_a_slice_of_which_nothing_is_left() -> None:
    half = "[route]\nlayers=-2,-1\ngroups=2\ngroup_id=1\n"
    detector = detector_of(conv(4), conv(8), half, conv(4), HEAD)
    zero_filters(detector, 1, 4, 5, 6, 7)
    network = compact(detector)
    assert network.widths["layers.3.conv"] == (2, 4)
    assert "layers.1.conv" not in network.widths
    assert_same(network, detector, images_of(32, 32))


def test_heads_keep_all_their_channels() -> None:
    detector = randomised(Detector.from_cfg("yolov3-nano"))
    prune(detector, "structured", 0.75, heads=True)
    network = compact(detector)
    for head in ("layers.16.conv", "layers.24.conv"):
        assert network.widths[head][1] == 3 * (5 + 6)
    assert_same(network, detector, images_of())


def test_a_detector_that_lost_every_weight_still_answers() -> None:
    detector = randomised(Detector.from_cfg("yolov3-nano"))
    with torch.no_grad():
        for layer in detector.prunable_layers(heads=True).values():
            layer.weight.zero_()
    network = compact(detector)
    assert_same(network, detector, images_of())
    assert all(inputs <= 3 for inputs, _ in widths(network))


@pytest.mark.parametrize("round_to", [4, 8])
def test_widths_are_rounded_up_where_asked(round_to: int) -> None:
    detector = randomised(Detector.from_cfg("yolov3-nano"))
    prune(detector, "structured", 0.65)
    exact, rounded = compact(detector), compact(detector, round_to=round_to)
    for name, layer in detector.prunable_layers().items():
        width = rounded.widths[name][1]
        assert width == layer.out_channels or width % round_to == 0
        assert exact.widths[name][1] <= width < exact.widths[name][1] + round_to
    assert_same(rounded, detector, images_of())


def test_one_network_serves_every_size_in_either_memory_format() -> None:
    detector = randomised(Detector.from_cfg("yolov3-nano"))
    prune(detector, "structured", 0.5)
    network = compact(detector)
    for height, width in ((64, 64), (32, 96), (16, 16), (64, 64)):
        assert_same(network, detector, images_of(height, width))
    network = network.to(memory_format=torch.channels_last)
    for height, width in ((64, 64), (32, 96)):
        assert_same(network, detector, images_of(height, width).contiguous(memory_format=torch.channels_last))
    with pytest.raises(InputError, match="images are 64x72 pixels, expected multiples of 16"):
        network(torch.rand(1, 3, 72, 64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_it_stays_on_the_detectors_device() -> None:
    detector = randomised(Detector.from_cfg("yolov3-nano"))
    prune(detector, "structured", 0.75)
    network = compact(detector.cuda())
    assert all(tensor.is_cuda for tensor in network.state_dict().values())
    for layout in (torch.contiguous_format, torch.channels_last):
        assert_same(network.to(memory_format=layout), detector, images_of().cuda().contiguous(memory_format=layout))


def test_the_detector_and_the_random_numbers_are_left_alone() -> None:
    detector = randomised(Detector.from_cfg("yolov3-nano")).train()
    prune(detector, "structured", 0.5)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    state = torch.get_rng_state()
    network = compact(detector)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.zero_()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in detector.modules())
    assert all(parameter.requires_grad for parameter in detector.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())
