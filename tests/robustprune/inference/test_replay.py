"""A replay is of one kind of images; others are run, and so is all that cannot be recorded.

The GPU is a pretended one. That a real one computes the same is asked by `benchmarks.gpu`, where there is one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.inference import engine
from robustprune.inference.engine import dense_engine, fastest_engine
from robustprune.inference.graph import IMAGE, GraphNetwork, Step
from robustprune.inference.replay import WARM_UP, Replay, replayed
from tests.support.pretended_gpu import GPU, PretendedGpu


class Net(nn.Module):
    """Counts its calls; on a GPU it may ask for a number, for which it has to wait."""

    def __init__(self, *, waits: bool = False) -> None:
        super().__init__()
        self.conv, self.waits, self.calls = nn.Conv2d(3, 4, 3), waits, 0

    def forward(self, images: Tensor) -> list[Tensor]:
        self.calls += 1
        found = self.conv(images)
        if self.waits and float(found.sum()) > 1e9:
            return []
        return [found]


@pytest.fixture
def gpu() -> Iterator[PretendedGpu]:
    with PretendedGpu() as there:
        yield there


def images(side: int = 8, count: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)).to(GPU)


def same(found: Any, expected: Any) -> bool:
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


def test_it_is_replayed_on_its_kind_of_images_and_run_on_others(gpu: PretendedGpu) -> None:
    network = Net().to(GPU).eval()
    recorded = Replay(network, images())
    assert network.calls == WARM_UP + 2
    first = recorded(images(seed=1))
    assert same(first, network(images(seed=1)))
    expected = network(images(seed=2))
    second = recorded(images(seed=2))
    assert second[0] is first[0]  # overwritten, as its docstring says
    assert same(second, expected)
    assert recorded._recording is not None
    for other in (
        images(12),
        images(count=2),
        images().contiguous(memory_format=torch.channels_last),
        images().double(),
    ):
        run = network.double() if other.dtype == torch.float64 else network
        found = recorded(other)
        assert same(found, run(other))
        assert found[0] is not first[0]


def test_a_copy_is_recorded_anew(gpu: PretendedGpu) -> None:
    recorded = Replay(Net().to(GPU).eval(), images())
    copied = copy.deepcopy(recorded)
    assert copied.network is not recorded.network
    assert copied._recording is not None
    with torch.no_grad():
        for parameter in copied.network.parameters():
            parameter.zero_()
    kept = [each.clone() for each in recorded(images(seed=1))]
    assert not same(copied(images(seed=1)), kept)
    assert same(recorded(images(seed=1)), kept)


def test_what_waits_for_the_gpu_is_not_replayed_and_neither_is_anything_on_a_cpu(gpu: PretendedGpu) -> None:
    assert replayed(Net(waits=True).to(GPU).eval(), images()) is None
    assert replayed(Net().eval(), torch.rand(1, 3, 8, 8)) is None
    with pytest.raises(RuntimeError, match="synchronizing"):
        Replay(Net(waits=True).to(GPU).eval(), images())


def test_engines_are_replayed_where_that_is_faster(gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def times(replays: float) -> Callable[..., list[float]]:
        def told(candidates: Any, device: torch.device) -> list[float]:
            return [replays if isinstance(each.func, Replay) else 1.0 for each in candidates]

        return told

    def compacted(_: int) -> GraphNetwork:
        conv, flat = copy.deepcopy(whole)
        return GraphNetwork([Step(conv, (IMAGE,)), Step(flat, (0,))], heads=[1], widths={})

    convolution = nn.Conv2d(3, 8, 3)
    whole = nn.Sequential(convolution, nn.Flatten()).to(GPU).eval()
    for share, kind in ((0.5, Replay), (2.0, nn.Sequential)):
        monkeypatch.setattr(engine, "_milliseconds", times(share))
        dense = dense_engine(whole, images())
        assert isinstance(dense.network, kind)
        unpruned = fastest_engine(whole, compacted, images(), dense=dense)
        assert (unpruned.name, type(unpruned.network)) == ("dense", kind)
    monkeypatch.setattr(engine, "_milliseconds", times(0.5))
    eager = dense_engine(whole, images())._replace(network=whole)
    convolution.weight.data[:, 0] = 0
    pruned = fastest_engine(whole, compacted, images(), dense=eager)
    assert (pruned.name, type(pruned.network)) == ("compact", Replay)
    torch.testing.assert_close(pruned.network(images())[0], whole(images()))
