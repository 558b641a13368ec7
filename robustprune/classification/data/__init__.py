"""Labelled images: the embedded set `emblems`, CIFAR-10, and class folders."""

from robustprune.classification.data.datasets import DATASETS, Cifar10, Emblems, Folders, Split

__all__ = ["DATASETS", "Cifar10", "Emblems", "Folders", "Split"]
