"""What sections mean, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, build, cfg
from robustprune.detection.darknet.build_heads import with_classes
from robustprune.detection.darknet.layers import Convolutional, Route

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
HEAD = "[convolutional]\nfilters=8\nactivation=linear\n[yolo]\nmask=0\nanchors=4,6\nnum=1\nclasses=3\n"
CONV = "[convolutional]\nfilters=4\nactivation=relu\n"


def detector(text: str) -> Detector:
    return build(cfg.parse(text, "d.cfg"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NET + "[lstm]\n" + HEAD, "line 5, [lstm]: unsupported section, expected one of [convolutional], "),
        (NET + "[net]\n" + HEAD, "line 5, [net]: unsupported section"),
        ("[net]\nwidth=32\nheight=32\n" + HEAD, "line 1, [net]: the option `channels` is missing"),
        (NET.replace("=3\n", "=three\n") + HEAD, "[net]: `channels` is 'three', expected a whole number"),
        (NET + CONV, "line 1, [net]: the file has no [yolo] section"),
        (NET + "[conv]\nsize=x\n" + HEAD, "line 5, [convolutional]: `size` is 'x', expected a whole number"),
        (NET + "[conv]\nstride=0\n" + HEAD, "`stride` is 0, expected at least 1"),
        (NET + "[conv]\nactivation=gulu\n" + HEAD, "unknown activation 'gulu', expected one of leaky, "),
        (
            NET + "[conv]\ngroups=2\nfilters=4\n" + HEAD,
            "`groups` 2 does not divide both 3 input channels and 4",
        ),
        (NET + "[conv]\nsize=40\n" + HEAD, "`size` 40 is larger than the padded input of 32x32 pixels"),
        (NET + "[conv]\ndilation=2\n" + HEAD, "`dilation` 2 is not supported, expected 1"),
        (NET + "[maxpool]\nsize=2\npadding=3\n" + HEAD, "`padding` 3 leaves windows without a pixel"),
        (
            NET + "[dropout]\nprobability=1\n" + HEAD,
            "`probability` is 1.0, expected at least 0 and less than 1",
        ),
        (NET + CONV + "[route]\n" + HEAD, "line 8, [route]: the option `layers` is missing"),
        (
            NET + CONV + "[route]\nlayers=1\n" + HEAD,
            "`layers` 1 leads to layer 1, which is not before this one",
        ),
        (
            NET + CONV + "[route]\nlayers=-2\n" + HEAD,
            "`layers` -2 leads to layer -1, which is not before this",
        ),
        (
            NET + CONV + "[route]\nlayers=9\n" + HEAD,
            "`layers` 9 leads to layer 9, which is not before this one",
        ),
        (
            NET + CONV + "[shortcut]\nfrom=1\n" + HEAD,
            "`from` 1 leads to layer 1, which is not before this one",
        ),
        (NET + CONV + "[route]\nlayers=-1\ngroups=3\n" + HEAD, "`groups` 3 does not divide the 4 channels"),
        (NET + CONV + "[route]\nlayers=-1\ngroups=2\ngroup_id=2\n" + HEAD, "`group_id` 2 is out of range"),
        (
            NET + CONV + "[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1,-2\n" + HEAD,
            "layer 1 has 16x16 pixels and layer 0 has 32x32",
        ),
        (
            NET + CONV + CONV + "stride=2\n" + CONV + "stride=2\n[shortcut]\nfrom=-2,-3\n" + HEAD,
            "layer 2 has 8x8 pixels and layer 1 has 16x16",
        ),
        (NET + CONV + CONV + "[shortcut]\nalpha=2\nfrom=-2\n" + HEAD, "`alpha` 2 is not supported, expected 1"),
        (NET + "[conv]\nbatch_normalize=2\n" + HEAD, "`batch_normalize` 2 is not supported, expected 0 or 1"),
        (NET + "[reorg]\nstride=2\n" + HEAD, "`stride` 2 does not divide 32x32 pixels, or its square not 3 channels"),
        (NET + CONV + "[reorg]\nreverse=1\n" + HEAD, "[reorg]: `reverse` 1 is not supported, expected 0"),
        (NET + HEAD.replace("yolo", "region") + "tree=9k.tree", "[region]: `tree` is not supported"),
        (
            NET + HEAD.replace("yolo", "region").replace("4,6\nnum=1", "4,6,2,2\nnum=2"),
            "but the [region] after it needs 16: 2 anchors",
        ),
        (
            NET + HEAD.replace("filters=8", "filters=16").replace("yolo]\nmask=0", "region]").replace("num=1", "num=2"),
            "`anchors` has 1 pairs, expected `num` 2",
        ),
        (
            NET + CONV + CONV + "[scale_channels]\nfrom=-2\n" + HEAD,
            "layer 1 has 4 channels of 32x32 pixels, expected 4 of 1x1 to multiply layer 0 by",
        ),
        (
            NET + CONV + CONV + "stride=2\n[sam]\nfrom=-2\n" + HEAD,
            "layer 1 has 4 channels of 16x16 pixels, expected 4 of 32x32 to multiply layer 0 by",
        ),
        (NET + CONV + CONV + "[sam]\nfrom=-2,-1\n" + HEAD, "`from` is -2,-1, expected one layer"),
        (NET + "[conv]\nstride_x=2\n" + HEAD, "line 5, [convolutional]: `stride_x` is not supported"),
        (NET + "[conv]\ndontload=1\n" + HEAD, "`dontload` 1 is not supported, expected 0"),
        (NET + "[upsample]\n" + HEAD, "[yolo]: its grid of 64x64 cells is finer than the image of 32x32 pixels"),
        (
            NET + HEAD + CONV.replace("[", "[route]\nlayers=0\n[") + HEAD.replace("=8", "=9").replace("=3", "=4"),
            "line 21, [yolo]: `classes` is 4, but 3 in the head before it",
        ),
        (NET + HEAD + "[route]\nlayers=1\n", "it reads layer 1, which is a [yolo] head and feeds no layer"),
        (NET + HEAD + CONV, "it reads layer 1, which is a [yolo] head and feeds no layer"),
        (NET + HEAD.replace("mask=0", "mask=1"), "line 8, [yolo]: `mask` 1 is out of range, expected 0 to 0"),
        (NET + HEAD.replace("4,6", "4,6,1"), "`anchors` must be pairs of positive numbers, found 4,6,1"),
        (
            NET + HEAD.replace("classes=3", "classes=3\nnew_coords=1"),
            "`new_coords` needs a [convolutional] with activation=logistic before it, not linear",
        ),
        (
            NET + HEAD.replace("classes=3", "classes=4"),
            "line 5, [convolutional]: `filters` is 8, but the [yolo] after it needs 9: 1 anchors x (5 + ",
        ),
        (
            NET + CONV + "[maxpool]\n" + HEAD.split("linear\n")[1],
            "the layer before it must be [convolutional]",
        ),
    ],
)
def test_inconsistent_files_are_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        detector(text)
    assert str(error.value).startswith("d.cfg, line ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


_options = st.dictionaries(
    st.sampled_from(
        [
            *["filters", "size", "stride", "pad", "padding", "groups", "group_id", "layers", "from", "mask"],
            *["num", "anchors", "classes", "activation", "batch_normalize", "probability", "new_coords"],
        ]
    ),
    st.integers(-3, 9).map(str) | st.sampled_from(["", "x", "-1,-2", "4,6", "linear", "mish", ".5", "4096"]),
    max_size=4,
)
_names = st.sampled_from(
    [
        *["convolutional", "maxpool", "avgpool", "upsample", "route", "shortcut", "scale_channels", "sam", "dropout"],
        *["yolo", "region", "reorg"],
    ]
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(_names, _options), max_size=4))
def test_any_sections_are_built_or_refused(contents: list[tuple[str, dict[str, str]]]) -> None:
    body = cfg.dump([cfg.Section(name, options, 1, "") for name, options in contents])
    with torch.device("meta"):
        try:
            built = detector(NET + body + HEAD)
        except InputError:
            return
    assert len(built.layers) == len(built.inputs) == len(contents) + 2


def test_options_reach_the_modules() -> None:
    layers = detector(
        NET
        + "[conv]\nfilters=6\nsize=5\nstride=2\npad=1\npadding=9\n"
        + "groups=3\nbatch_normalize=1\nactivation=mish\n"
        + "[conv]\nfilters=4\nsize=5\npadding=2\n"
        + "[route]\nlayers=0,-1\ngroups=2\ngroup_id=1\n"
        + "[upsample]\n"
        + HEAD
    ).layers
    first, second, route = layers[0], layers[1], layers[2]
    assert isinstance(first, Convolutional)
    assert isinstance(second, Convolutional)
    assert isinstance(route, Route)
    assert (first.conv.stride, first.conv.padding, first.conv.groups) == ((2, 2), (2, 2), 3)
    assert isinstance(first.activation, torch.nn.Mish)
    assert first.conv.bias is None
    assert second.conv.padding == (2, 2)
    assert second.batch_norm is None
    # Darknet's default activation.
    assert isinstance(second.activation, torch.nn.Sigmoid)
    assert (route.groups, route.group_id) == (2, 1)


def test_a_mask_left_out_means_all_anchors() -> None:
    text = HEAD.replace("mask=0\n", "").replace("num=1", "num=2").replace("4,6", "4,6,8,9").replace("=8", "=16")
    (head,) = detector(NET + text).heads
    assert head.anchors.tolist() == [[4, 6], [8, 9]]


def test_the_anchors_of_a_region_are_in_cells_and_its_classes_exclude_each_other() -> None:
    head = "[convolutional]\nfilters=16\nactivation=linear\n[region]\nanchors=0.5,1,2,3\nnum=2\nclasses=3\nsoftmax=1\n"
    (found,) = detector(NET + "[maxpool]\nstride=8\nsize=8\n" + head).heads
    assert found.anchors.tolist() == [[4, 8], [16, 24]]
    assert (found.stride, found.classes, found.softmax) == (8, 3, True)
    (other,) = detector(NET + "[maxpool]\nstride=8\nsize=8\n" + head.replace("softmax=1", "softmax=0")).heads
    assert not other.softmax


def test_a_region_is_rebuilt_for_other_classes() -> None:
    head = "[convolutional]\nfilters=16\nactivation=linear\n[region]\nanchors=1,1,2,2\nnum=2\nclasses=3\n"
    sections = with_classes(cfg.parse(NET + head), 7)
    assert build(sections).heads[0].classes == 7


def test_silu_is_another_name_of_swish() -> None:
    silu = detector(NET + "[conv]\nfilters=4\nactivation=silu\n" + HEAD).layers[0]
    assert isinstance(silu, Convolutional)
    assert isinstance(silu.activation, torch.nn.SiLU)
