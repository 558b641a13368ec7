"""What a piece of work leaves on the device: nothing, even where its error is kept. A stand-in counts for a tensor."""

import traceback
import weakref
from collections.abc import Callable

import pytest
import torch

from robustprune.core.device_memory import hands_back_memory


class Activations:
    """What weighs on the device."""


class Device:
    """A device in use, which knows what is still held when its cache is emptied."""

    def __init__(self) -> None:
        self.held: list[weakref.ref[Activations]] = []
        self.left_at_emptying: list[int] = []

    def activations(self) -> Activations:
        activations = Activations()
        self.held.append(weakref.ref(activations))
        return activations

    def empty_cache(self) -> None:
        self.left_at_emptying.append(sum(held() is not None for held in self.held))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", device.empty_cache)
    return device


def work(device: Device, error: Exception | None) -> Callable[[], int]:
    @hands_back_memory
    def pretrain() -> int:
        activations = device.activations()

        def attack() -> int:
            if error is not None:
                raise error
            return len([activations])

        return attack()

    return pretrain


def test_a_result_comes_through_and_the_cache_is_emptied_after_it(device: Device) -> None:
    assert work(device, None)() == 1
    assert device.left_at_emptying == [0]


def test_out_of_memory_is_said_in_a_sentence_and_leaves_nothing(device: Device) -> None:
    with pytest.raises(MemoryError) as caught:
        work(device, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))()
    assert device.left_at_emptying == [0], "the error holds memory while it is told"
    assert str(caught.value) == "pretrain ran out of memory on the device"
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert "Tried to allocate 20.00 GiB" in "".join(traceback.format_exception(caught.value))


def test_another_error_comes_through_with_its_lines_but_without_what_they_held(device: Device) -> None:
    @hands_back_memory
    def score() -> None:
        activations = device.activations()
        raise ArithmeticError(f"the loss became {len([activations])}")

    with pytest.raises(ArithmeticError, match="the loss became 1") as caught:
        score()
    assert device.left_at_emptying == [0]
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "score"


def test_where_no_device_is_in_use_none_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "empty_cache", device.empty_cache)
    assert work(device, None)() == 1
    assert device.left_at_emptying == []
