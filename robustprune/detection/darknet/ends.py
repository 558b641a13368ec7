"""What a .cfg says of both ends of its network: how a picture meets it, and how overlapping boxes are suppressed.

The original Darknet letterboxes every picture. AlexeyAB's engine, whose .cfg files have options of their own, stretches
it, unless `letter_box=1` stands in [net].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from robustprune.detection.darknet.cfg import Section
from robustprune.detection.darknet.graph import HEADS
from robustprune.detection.data.letterbox import Fit
from robustprune.detection.detector import GREEDY, Suppression

# Options that the original's parser does not know, as far as published files have them.
_ALEXEYAB_HEAD = frozenset(
    (
        "beta_nms",
        "cls_normalizer",
        "counters_per_class",
        "delta_normalizer",
        "embedding_layer",
        "focal_loss",
        "iou_loss",
        "iou_normalizer",
        "iou_thresh",
        "iou_thresh_kind",
        "label_smooth_eps",
        "max_delta",
        "new_coords",
        "nms_kind",
        "obj_normalizer",
        "objectness_smooth",
        "resize",
        "scale_x_y",
        "show_details",
    )
)
_ALEXEYAB: dict[str, frozenset[str]] = {
    "net": frozenset(
        (
            "adversarial_lr",
            "augment_speed",
            "badlabels_rejection_percentage",
            "blur",
            "contrastive",
            "cutmix",
            "dynamic_minibatch",
            "ema_alpha",
            "gaussian_noise",
            "letter_box",
            "loss_scale",
            "mixup",
            "mosaic",
            "mosaic_bound",
            "num_sigmas_reject_badlabels",
            "optimized_memory",
            "resize_step",
            "seq_scales",
            "sgdr_cycle",
            "sgdr_mult",
            "track",
            "try_fix_nan",
            "unsupervised",
            "use_cuda_graph",
            "weights_reject_freq",
            "workspace_size_limit_MB",
        )
    ),
    "convolutional": frozenset(
        (
            "antialiasing",
            "assisted_excitation",
            "bin_output",
            "cbn",
            "coordconv",
            "deform",
            "dilation",
            "grad_centr",
            "rotate",
            "share_index",
            "stream",
            "stretch",
            "stretch_sway",
            "stride_x",
            "stride_y",
            "sway",
            "train_only_bn",
            "wait_stream",
        )
    ),
    "maxpool": frozenset(["antialiasing", "maxpool_depth", "out_channels", "stride_x", "stride_y"]),
    "route": frozenset(["group_id", "groups", "stream", "wait_stream"]),
    "shortcut": frozenset(["weights_normalization", "weights_type"]),
    "dropout": frozenset(["dropblock", "dropblock_size_abs", "dropblock_size_rel"]),
    **dict.fromkeys(HEADS, _ALEXEYAB_HEAD),
}
_ALEXEYAB_SECTIONS = ("sam", "scale_channels")
_ALEXEYAB_ACTIVATIONS = ("mish", "relu6", "swish")

# `cornersnms` computes weights that its loop does not use: what it leaves is what the greedy one does.
_SUPPRESSIONS = {"default": "greedy", "greedynms": "greedy", "cornersnms": "greedy", "diounms": "diou"}


class ChosenFit(NamedTuple):
    """How pictures meet a network, and why, as half a sentence."""

    fit: Fit
    reason: str


def fit_of(sections: Sequence[Section]) -> ChosenFit:
    """Return how the engine that a .cfg was written for brings pictures to the network's size.

    Raises:
        InputError: `letter_box` is no number.
    """
    net = sections[0]
    if "letter_box" in net.options:
        value = net.integer("letter_box", minimum=0)
        return ChosenFit("letterbox" if value else "stretch", f"the .cfg says letter_box={value}")
    mark = next(_alexeyab_marks(sections), None)
    if mark is not None:
        return ChosenFit(
            "stretch", f"the .cfg is of AlexeyAB's engine ({mark}), which stretches without letter_box=1 in [net]"
        )
    return ChosenFit("letterbox", "the .cfg has no option of AlexeyAB's engine, and the original Darknet letterboxes")


def suppression_of(sections: Sequence[Section]) -> Suppression:
    """Return how overlapping boxes are suppressed: as the last head says, whom AlexeyAB's engine asks.

    Raises:
        InputError: a head names no way that there is.
    """
    found = GREEDY
    for section in sections:
        if section.name in HEADS:
            kind = section.text("nms_kind", "default")
            if kind not in _SUPPRESSIONS:
                raise section.error(f"`nms_kind` is {kind!r}, expected one of {', '.join(_SUPPRESSIONS)}")
            beta = section.number("beta_nms", 0.6)
            found = Suppression("diou", beta) if _SUPPRESSIONS[kind] == "diou" else GREEDY
    return found


def _alexeyab_marks(sections: Sequence[Section]) -> Iterator[str]:
    """Yield what shows that a .cfg is of AlexeyAB's engine."""
    for section in sections:
        for key in section.options:
            if key in _ALEXEYAB.get(section.name, ()):
                yield f"`{key}` in line {section.line}'s [{section.name}]"
        if section.name in _ALEXEYAB_SECTIONS:
            yield f"[{section.name}] in line {section.line}"
        if section.options.get("activation") in _ALEXEYAB_ACTIVATIONS:
            yield f"activation={section.options['activation']} in line {section.line}'s [{section.name}]"
        if section.name == "shortcut" and "," in section.options.get("from", ""):
            yield f"several layers in `from` of line {section.line}'s [shortcut]"
