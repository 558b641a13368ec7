"""Random parts of a data set: balanced, and nested in one another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustprune.classification.data.images import LabelledImages
from robustprune.classification.data.subsets import balanced
from robustprune.core.errors import InputError


def images(*per_class: int) -> LabelledImages:
    labels = torch.repeat_interleave(torch.arange(len(per_class)), torch.tensor(per_class))
    pixels = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return LabelledImages(pixels=pixels, labels=labels, classes=tuple("abcdef"[: len(per_class)]))


def indices(drawn: LabelledImages) -> list[int]:
    return drawn.pixels[:, 0, 0, 0].tolist()


@given(seed=st.integers(0, 1000), count=st.integers(1, 29))
def test_a_larger_draw_extends_a_smaller_one(seed: int, count: int) -> None:
    whole = images(10, 12, 11)
    less, more = (balanced(whole, size, seed=seed, field="n") for size in (count, count + 1))
    assert len(less) == count
    assert indices(less) == sorted(set(indices(less)))
    assert set(indices(less)) < set(indices(more))
    per_class = less.labels.bincount(minlength=3).tolist()
    assert max(per_class) - min(per_class) <= 1
    assert torch.equal(less.labels, whole.labels[indices(less)])


def test_seeds_draw_different_images() -> None:
    drawn = {tuple(indices(balanced(images(5, 5), 4, seed=seed, field="n"))) for seed in range(200)}
    assert len(drawn) > 60, "of 10 * 10 ways"


def test_too_many_of_a_class_are_refused() -> None:
    assert len(balanced(images(3, 9), 6, seed=0, field="n")) == 6
    with pytest.raises(InputError, match="n is 7, which takes 4 images of class 'a', expected at most the 3 that"):
        balanced(images(3, 9), 7, seed=0, field="n")
