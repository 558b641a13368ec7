"""Labelled images: the embedded set `emblems`, CIFAR-10, and class folders."""

from robustprune.classification.data.datasets import Cifar10, Dataset, Emblems, Folders, Split

__all__ = ["Cifar10", "Dataset", "Emblems", "Folders", "Split"]
