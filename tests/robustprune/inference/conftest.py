"""Published Darknet files, where they are at hand."""

from tests.robustprune.darknet.conftest import darknet_data

__all__ = ["darknet_data"]
