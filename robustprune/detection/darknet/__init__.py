"""Darknet detectors in PyTorch: .cfg files, .weights files, and the module that both describe."""

from robustprune.detection.anchors.heads import MAX_SIZE_LOGIT, Head, decode_head
from robustprune.detection.darknet.build_heads import classes_of
from robustprune.detection.darknet.network import Detector, build
from robustprune.detection.darknet.weights import float_count, load_weights, save_weights

__all__ = [
    "MAX_SIZE_LOGIT",
    "Detector",
    "Head",
    "build",
    "classes_of",
    "decode_head",
    "float_count",
    "load_weights",
    "save_weights",
]
