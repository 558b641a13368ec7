"""Detection as a task: its batches, its losses, and the detectors that it makes."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from robustprune.core.arrays import to_arrays
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples, flip_horizontally
from robustprune.detection.losses import LOSSES, ciou
from robustprune.detection.losses.assignment import Assignment
from robustprune.detection.task import DetectionTask
from robustprune.plugins import TaskEntry
from robustprune.task import first_images
from tests.robustprune.detection.tasks import Assigned, assigned, batch_of, clean, task_of


def assert_assigned(targets: Sequence[Assignment], position: int, expected: Assigned) -> None:
    """See that the targets of one image of a batch are those of the image by itself."""
    for positive, alone in zip(targets, expected.targets, strict=True):
        own = positive.of_image(position)
        assert all(torch.equal(column, wanted) for column, wanted in zip(own, alone, strict=True))


def test_batches_hold_every_sample_once_in_an_order_of_the_seed(nano: Detector, samples: Samples) -> None:
    def order(seed: int | None, count: int | None = None) -> list[int]:
        found = []
        for images, targets in task_of(nano, samples).batches(
            4,
            augmented=False,
            generator=None if seed is None else torch.Generator().manual_seed(seed),
            images=count,
        ):
            assert images.is_contiguous(memory_format=torch.channels_last)
            for position, image in enumerate(images):
                index = next(i for i in range(len(samples)) if torch.equal(samples[i].image, image))
                assert_assigned(targets, position, batch_of(nano, samples, [index]))
                found.append(index)
        return found

    assert sorted(order(0)) == list(range(6))
    assert len({tuple(order(seed)) for seed in range(5)}) > 1
    assert order(3) == order(3)
    assert sorted(order(0, count=4)) == [0, 1, 2, 3]
    assert sorted(order(0, count=100)) == list(range(6))
    assert order(None) == list(range(6))
    assert order(None, count=4) == list(range(4))


def test_about_half_of_the_images_are_mirrored_with_their_boxes(nano: Detector, samples: Samples) -> None:
    generator = torch.Generator().manual_seed(0)
    mirrored = []
    for _ in range(10):
        ((images, targets),) = task_of(nano, samples).batches(6, generator=generator)
        for position, image in enumerate(images):
            index, flipped = next(
                (i, flip)
                for i in range(len(samples))
                for flip in (False, True)
                if torch.equal(samples[i].image.flip(-1) if flip else samples[i].image, image)
            )
            expected = samples.batch([index])
            wanted = flip_horizontally(expected.images, expected.targets, torch.tensor([flipped]))
            assert_assigned(targets, position, assigned(nano, *wanted))
            mirrored.append(flipped)
    assert 15 < sum(mirrored) < 45


@pytest.mark.parametrize(("asked", "used"), [(None, 6), (4, 4), (100, 6)])
def test_there_are_as_many_batches_as_are_told(nano: Detector, samples: Samples, asked: int | None, used: int) -> None:
    task = task_of(nano, samples)
    assert task.images == 6
    assert first_images(task, asked) == used
    for batch_size in (1, 4, 6, 7):
        sizes = [len(images) for images, _ in task.batches(batch_size, images=asked)]
        assert len(sizes) == task.steps(used, batch_size)
        assert sum(sizes) == used
        assert all(size == batch_size for size in sizes[:-1])


def test_the_loss_of_an_image_is_that_of_a_batch_of_its_own(trained: Detector, samples: Samples) -> None:
    task = task_of(trained)
    images, targets = batch_of(trained, samples, range(4))
    with torch.no_grad():
        losses = task.losses(task.outputs(trained, images, {}), targets)
        for index, loss in enumerate(losses):
            alone = batch_of(trained, samples, [index])
            torch.testing.assert_close(loss, clean(trained)(trained, *alone))


def test_what_attacks_ascend_is_the_sum_of_the_images_own_losses(
    trained: Detector, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches_only(*given: Any) -> torch.Tensor:
        return ciou(*given)

    task = task_of(trained)
    images, targets = batch_of(trained, samples, range(4))
    outputs = task.outputs(trained, images, {})
    losses = task.losses(outputs, targets)
    torch.testing.assert_close(task.attack_loss(outputs, targets), losses.sum())
    # A loss that knows no images is asked of each by itself.
    monkeypatch.setitem(LOSSES._entries, "ciou", TaskEntry(task="detection", provides=batches_only))
    torch.testing.assert_close(task.losses(outputs, targets), losses)
    torch.testing.assert_close(task.attack_loss(outputs, targets), losses.sum())


def test_halves_part_what_was_put_together(trained: Detector, samples: Samples) -> None:
    task = task_of(trained)
    images, _ = batch_of(trained, samples, range(3))
    with torch.no_grad():
        once = task.outputs(trained, images, {})
        first, second = task.halves(task.outputs(trained, torch.cat([images, images.flip(-1)]), {}))
        mirrored = task.outputs(trained, images.flip(-1), {})
    for found, expected in ((first, once), (second, mirrored)):
        for output, own in zip(found, expected, strict=True):
            torch.testing.assert_close(output, own, rtol=1e-4, atol=1e-4)


def nano_task() -> DetectionTask:
    return DetectionTask(build=lambda: Detector.from_cfg("yolov3-nano"), image_size=64)


def test_a_fresh_detector_is_of_its_seed_alone() -> None:
    task = nano_task()
    torch.manual_seed(1)
    state, first = torch.get_rng_state(), task.fresh(seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = task.fresh(seed=0), task.fresh(seed=1)
    weight = "layers.0.conv.weight"
    assert torch.equal(first.get_parameter(weight), again.get_parameter(weight))
    assert not torch.equal(first.get_parameter(weight), other.get_parameter(weight))


def test_given_weights_stand_in_for_those_drawn(nano: Detector) -> None:
    def fill(detector: torch.nn.Module) -> None:
        detector.load_state_dict(nano.state_dict())

    task = DetectionTask(build=nano_task().build, image_size=64, weights=fill)
    fresh = task.fresh(seed=9)
    assert all(torch.equal(tensor, nano.state_dict()[name]) for name, tensor in fresh.state_dict().items())


def test_a_restored_detector_is_a_copy_in_eval_mode(nano: Detector) -> None:
    arrays = {name: array.copy() for name, array in to_arrays(nano.state_dict()).items()}
    for array in arrays.values():
        array.flags.writeable = False
    restored = nano_task().restored(arrays)
    assert all(torch.equal(tensor, nano.state_dict()[name]) for name, tensor in restored.state_dict().items())
    assert not any(module.training for module in restored.modules())
    with torch.no_grad():
        for parameter in restored.parameters():
            parameter.zero_()
    assert any(array.any() for array in arrays.values())


def test_a_task_of_a_detector_at_hand_changes_nothing_of_it(samples: Samples) -> None:
    detector = Detector.from_cfg("yolov3-nano")
    before = {name: (tensor.clone(), tensor.stride()) for name, tensor in detector.state_dict().items()}
    for _ in task_of(detector, samples).batches(3):
        pass
    for name, tensor in detector.state_dict().items():
        assert torch.equal(tensor, before[name][0])
        assert tensor.stride() == before[name][1]
