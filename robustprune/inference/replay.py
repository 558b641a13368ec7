"""A network whose kernels a GPU is handed all at once: recorded as a CUDA graph, and replayed.

One image keeps a GPU busy for less time than Python takes to launch a small network's kernels one by one, so that how
fast it is would depend on the number of its layers alone. A graph is launched at once. It is of one size and format of
images, and reads and writes the memory that it was recorded with.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

WARM_UP = 3
"""Calls before a recording, so that libraries have chosen their kernels and what a network keeps has been computed."""


class Replay(nn.Module):
    """A network for inference that is replayed on images like those that it was recorded with, and run on others.

    Its weights may be changed in place; not moved, converted or replaced, which a recording would not see. A copy is
    recorded anew.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        """Record `network` on its GPU.

        Args:
            network: in eval mode; nothing in it may wait for the GPU.
            images: (N, channels, H, W), on the GPU, of the size, type and memory format to be replayed on.

        Raises:
            RuntimeError: it could not be recorded.
        """
        super().__init__()
        self.network = network
        self._recording: _Recording | None = _recorded(network, images)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Any:
        """Return what the network does; what a replay returns is overwritten by the next one."""
        recording = self._recording
        if recording is None or not _alike(images, recording.images):
            return self.network(images)
        recording.images.copy_(images)
        recording.graph.replay()
        return recording.outputs

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy of its own memory; where it cannot be recorded, it runs as the network."""
        copied = type(self).__new__(type(self))
        nn.Module.__init__(copied)
        memo[id(self)] = copied
        copied.network = copy.deepcopy(self.network, memo)
        copied.train(self.training)
        copied._recording = None
        if self._recording is not None:
            recorded = replayed(copied.network, self._recording.images)
            copied._recording = None if recorded is None else recorded._recording
        return copied


def replayed(network: nn.Module, images: Tensor) -> Replay | None:
    """Return `network` to be replayed on such images; None where there are no graphs, or none can be made of it."""
    if images.device.type != "cuda":
        return None
    try:
        return Replay(network, images)
    except RuntimeError:
        # It waits for the GPU, or there is no memory for one more copy of its outputs: it can be run all the same.
        return None


class _Recording(NamedTuple):
    """A graph, and the memory that it reads and writes; `kept` is what the network may let go of meanwhile."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    outputs: Any
    kept: list[Tensor]


@torch.inference_mode()
def _recorded(network: nn.Module, images: Tensor) -> _Recording:
    static = images.clone()
    current = torch.cuda.current_stream(images.device)
    aside = torch.cuda.Stream(images.device)
    aside.wait_stream(current)
    try:
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                network(static)
            # Before a recording, of which one that fails leaves the allocator waiting for its end.
            with _waiting_refused():
                network(static)
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as a loader's, may ask the GPU for memory meanwhile.
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            outputs = network(static)
    finally:
        # A recording that fails does not leave its stream by itself.
        torch.cuda.set_stream(current)
        current.wait_stream(aside)
    return _Recording(graph, static, outputs, [*network.parameters(), *network.buffers()])


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Let what would make the host wait for the GPU raise RuntimeError meanwhile."""
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


def _alike(images: Tensor, others: Tensor) -> bool:
    return (images.shape, images.stride(), images.dtype, images.device) == (
        others.shape,
        others.stride(),
        others.dtype,
        others.device,
    )
