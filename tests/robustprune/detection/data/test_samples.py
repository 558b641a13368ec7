import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.ops import box_convert

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import CocoSplit, load_split
from robustprune.detection.data.letterbox import PADDING, Fit, greyscale
from robustprune.detection.data.samples import AHEAD, Batch, Colour, Samples, flip_horizontally


@pytest.fixture(scope="module")
def train(shapes_root: Path) -> CocoSplit:
    return load_split(shapes_root, "train")


def equal(first: Batch, second: Batch) -> bool:
    return (
        torch.equal(first.images, second.images)
        and torch.equal(first.targets, second.targets)
        and first[2:] == second[2:]
    )


def test_boxes_return_to_the_annotations(coco_root: Path) -> None:
    split = load_split(coco_root, "val2017")
    samples = Samples(split, image_size=96)
    for index in range(0, len(split), 8):
        sample = samples[index]
        assert sample.image_id == split.image_ids[index]
        assert sample.classes.tolist() == split.classes(index).tolist()
        assert 0 <= sample.boxes.min() <= sample.boxes.max() <= 1
        square = box_convert(sample.boxes, "cxcywh", "xyxy") * 96
        expected = torch.from_numpy(split.boxes(index))
        torch.testing.assert_close(sample.letterbox.to_image(square), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_boxes_return_from_an_oblong_as_well(coco_root: Path, fit: Fit) -> None:
    split = load_split(coco_root, "val2017")
    samples = Samples(split, image_size=(64, 160), fit=fit)
    for index in range(0, len(split), 16):
        sample = samples[index]
        assert sample.image.shape == (3, 64, 160)
        square = box_convert(sample.boxes, "cxcywh", "xyxy") * torch.tensor([160, 64] * 2)
        expected = torch.from_numpy(split.boxes(index))
        torch.testing.assert_close(sample.letterbox.to_image(square), expected, rtol=0, atol=1e-3)


def test_one_channel_is_the_luma_of_three(train: CocoSplit) -> None:
    grey, colour = Samples(train, image_size=64, channels=1), Samples(train, image_size=64, colour="greyscale")
    found, expected = grey.batch([0, 1]), colour.batch([0, 1])
    assert found.images.shape == (2, 1, 64, 64)
    assert torch.equal(found.images[:, 0], expected.images[:, 0])
    assert torch.equal(found.images, grey.in_colour("greyscale").batch([0, 1]).images)


def test_other_channels_are_refused(train: CocoSplit) -> None:
    with pytest.raises(InputError, match="the network's `channels` is 4, expected 3, colour, or 1, grey"):
        Samples(train, image_size=64, channels=4)


def test_a_batch_is_its_samples(train: CocoSplit) -> None:
    samples = Samples(train, image_size=64)
    indices = [5, 0, 7]
    batch = samples.batch(indices)
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.targets.shape == (sum(len(train.classes(index)) for index in indices), 6)
    assert batch.targets.dtype == batch.images.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    for position, index in enumerate(indices):
        sample = samples[index]
        rows = batch.targets[batch.targets[:, 0] == position]
        assert torch.equal(batch.images[position], sample.image)
        assert rows[:, 1].tolist() == sample.classes.tolist()
        assert torch.equal(rows[:, 2:], sample.boxes)
        assert batch.image_ids[position] == sample.image_id
        assert batch.letterboxes[position] == sample.letterbox


def test_a_batch_may_hold_no_object(coco_content: dict[str, Any], write_coco: Callable[..., Path]) -> None:
    samples = Samples(load_split(write_coco(coco_content), "train"), image_size=32)
    assert samples.batch([0]).targets.shape == (0, 6)
    assert samples.batch([0, 1]).targets[:, :2].tolist() == [[1, 1]]


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("cache_bytes", [0, 5 * 3 * 64 * 64, 2**30])
@pytest.mark.parametrize("colour", ["rgb", "greyscale"])
def test_the_stream_is_the_batches_for_any_number_of_workers(
    workers: int, cache_bytes: int, colour: Colour, train: CocoSplit
) -> None:
    samples = Samples(train, image_size=64, colour=colour, cache_bytes=cache_bytes, workers=workers)
    alone = Samples(train, image_size=64, colour=colour)
    for seed in range(3):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        chunks = [chunk.tolist() for chunk in order.split(5)]
        streamed = list(samples.stream(chunks))
        assert len(streamed) == len(chunks)
        for batch, chunk in zip(streamed, chunks, strict=True):
            assert equal(batch, alone.batch(chunk))


def test_batches_do_not_share_memory(train: CocoSplit) -> None:
    samples = Samples(train, image_size=64, cache_bytes=2**30)
    first, second = samples.stream([[0, 1], [0, 1]])
    first.images.fill_(7)
    assert equal(second, samples.batch([0, 1]))


def test_the_next_batches_are_prepared_while_one_is_used(train: CocoSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = [threading.Event() for _ in range(len(train))]
    image = CocoSplit.image

    def told(split: CocoSplit, index: int) -> Image.Image:
        begun[index].set()
        return image(split, index)

    monkeypatch.setattr(CocoSplit, "image", told)
    stream = Samples(train, image_size=64).stream([index] for index in range(len(train)))
    next(stream)
    assert all(begun[index].wait(30) for index in range(1 + AHEAD))
    assert not any(event.is_set() for event in begun[1 + AHEAD :])
    left(stream)


def left(stream: Iterator[Batch]) -> None:
    """Leave a stream early."""
    assert isinstance(stream, Generator)
    stream.close()


def test_images_are_read_at_the_same_time(train: CocoSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3, timeout=30)
    image = CocoSplit.image

    def meets(split: CocoSplit, index: int) -> Image.Image:
        together.wait()
        return image(split, index)

    monkeypatch.setattr(CocoSplit, "image", meets)
    (batch,) = Samples(train, image_size=64, workers=3).stream([range(6)])
    assert len(batch.images) == 6


def test_a_stream_left_early_leaves_no_thread(train: CocoSplit) -> None:
    before = threading.active_count()
    stream = Samples(train, image_size=64).stream([[0, 1], [2, 3], [4, 5], [6, 7]])
    next(stream)
    assert threading.active_count() > before
    left(stream)
    assert threading.active_count() == before


def test_a_damaged_image_ends_the_stream_at_its_batch(
    coco_content: dict[str, Any], write_coco: Callable[..., Path]
) -> None:
    root = write_coco(coco_content)
    (root / "train" / "a 0.png").write_text("no image")
    stream = Samples(load_split(root, "train"), image_size=32).stream([[0], [0, 1], [0]])
    assert next(stream).image_ids == (3,)
    with pytest.raises(InputError, match=r"a 0\.png"):
        next(stream)


@pytest.mark.parametrize(("kept", "reads"), [(0, 12), (3, 6 + 3), (6, 6), (100, 6)])
@pytest.mark.parametrize("workers", [None, 1, 5])
def test_the_memory_limit_holds(
    kept: int, reads: int, workers: int | None, train: CocoSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    image = CocoSplit.image

    def counted(split: CocoSplit, index: int) -> Image.Image:
        read.append(index)
        return image(split, index)

    monkeypatch.setattr(CocoSplit, "image", counted)
    samples = Samples(train, image_size=64, cache_bytes=kept * 3 * 64 * 64 + 1, workers=workers or 1)
    if workers:
        first, second = samples.stream([range(6)]), samples.stream([range(6)])
        assert equal(next(first), next(second))
    else:
        assert equal(samples.batch(range(6)), samples.batch(range(6)))
    assert len(read) == reads


def test_colours_share_what_was_read(train: CocoSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = Samples(train, image_size=64, colour="greyscale").batch(range(6))
    colour = Samples(train, image_size=64, cache_bytes=2**30)
    assert equal(colour.in_colour("greyscale").batch(range(6)), grey)
    monkeypatch.setattr(CocoSplit, "image", None)
    assert equal(colour.in_colour("greyscale").batch(range(6)), grey)
    assert not torch.equal(colour.batch(range(6)).images, grey.images)


def test_greyscale_keeps_the_padding(coco_content: dict[str, Any], write_coco: Callable[..., Path]) -> None:
    root = write_coco(coco_content)
    Image.new("RGB", (40, 30), (255, 0, 0)).save(root / "train" / "a 0.png")
    image = Samples(load_split(root, "train"), image_size=40, colour="greyscale")[1].image
    assert (image[:, :5] == PADDING).all()
    assert (image[:, 35:] == PADDING).all()
    torch.testing.assert_close(image[:, 5:35], torch.full((3, 30, 40), 0.299))


def test_greyscale_changes_the_image_alone(train: CocoSplit) -> None:
    colour, grey = (Samples(train, image_size=64, colour=c).batch(range(4)) for c in ("rgb", "greyscale"))
    assert torch.equal(grey.images, greyscale(colour.images))
    assert not torch.equal(grey.images, colour.images)
    assert torch.equal(grey.targets, colour.targets)


def test_flipping_moves_pixels_and_boxes_together() -> None:
    images = torch.zeros(3, 3, 10, 10)
    images[:, :, 2:6, 1:4] = 1
    targets = torch.tensor([[position, 5, 0.25, 0.4, 0.3, 0.4] for position in (2, 0, 1)])
    flipped_images, flipped_targets = flip_horizontally(images, targets, torch.tensor([True, False, True]))
    assert flipped_images[:, 0, 3].bool().int().tolist() == [
        [0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
    ]
    torch.testing.assert_close(flipped_targets[:, 2], torch.tensor([0.75, 0.75, 0.25]))
    unmoved = [0, 1, 3, 4, 5]
    assert torch.equal(flipped_targets[:, unmoved], targets[:, unmoved])


def test_flipping_twice_is_no_change(train: CocoSplit) -> None:
    batch = Samples(train, image_size=64).batch(range(4))
    before = batch.targets.clone()
    which = torch.tensor([True, False, True, True])
    images, targets = flip_horizontally(*flip_horizontally(batch.images, batch.targets, which), which)
    assert torch.equal(images, batch.images)
    torch.testing.assert_close(targets, batch.targets)
    assert torch.equal(batch.targets, before)
