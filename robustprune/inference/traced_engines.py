"""The engines of any network, through its traced graph; how the fastest one is found is told in `engine`."""

from __future__ import annotations

from torch import Tensor, nn

from robustprune.inference import engine
from robustprune.inference.engine import Engine
from robustprune.inference.tracing import traced


def dense_engine(network: nn.Module, image: Tensor) -> Engine:
    """Return a whole network, its batch norms folded, in the memory format in which it is faster.

    Args:
        network: what zeros it has are made no use of.
        image: (1, channels, H, W), what is timed with, on the network's device.
    """
    return engine.dense_engine(traced(network, image), image)


def fastest_engine(network: nn.Module, smaller: nn.Module, image: Tensor, *, dense: Engine) -> Engine:
    """Return the engine that runs a pruned network fastest.

    Args:
        network: of whose zeros no use is made.
        smaller: what is left of it without what zeros made idle; see `without_channels`.
        image: as for `dense_engine`.
        dense: what is to be beaten, the engine of such a network that is not pruned.
    """
    compact = traced(smaller, image)
    return engine.fastest_engine(traced(network, image), lambda _: compact, image, dense=dense)
