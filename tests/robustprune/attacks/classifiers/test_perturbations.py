"""What is made of the distances found."""

import math
from typing import Any

import pytest
import torch

from robustprune.attacks.norms import distances
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.minimum_norm import minimum_norm
from robustprune.classification.measure.perturbations import (
    Perturbations,
    median_intervals,
    medians,
    smallest,
    success_rate,
)
from tests.robustprune.attacks.classifiers.linear import linear

INF = math.inf


def found(l2: list[float], *, index: list[int] | None = None, **others: Any) -> Perturbations:
    values = torch.tensor(l2, dtype=torch.float64)
    return Perturbations(
        index=torch.tensor(index or range(len(l2)), dtype=torch.int64),
        success=values.isfinite(),
        **{"l0": values, "l1": values, "l2": values, "linf": values, **others},
        forwards=10.0,
        backwards=9.0,
        seconds=0.5,
    )


@pytest.mark.parametrize(
    ("l2", "wrong", "median", "rate"),
    [
        ([3, 1, 2], 0, 2, 1),
        ([1, 2, 3, 4], 0, 2.5, 1),
        ([1, INF, 3], 0, 3, 2 / 3),
        ([1, 2, INF, 3], 0, 2.5, 3 / 4),
        ([1, INF], 0, None, 1 / 2),
        ([1, INF, INF], 0, None, 1 / 3),
        ([INF], 0, None, 0),
        ([1, 2, 3], 1, 1.5, 1),
        ([1, 2, 3], 2, 1, 1),
        ([1, 2, 3], 4, 0, 1),
        ([INF, INF, INF], 1, None, 0),
        ([INF], 2, 0, 0),
        ([], 3, 0, None),
        ([], 0, None, None),
    ],
)
def test_medians_count_failures_and_what_is_wrong_already(
    l2: list[float], wrong: int, median: float | None, rate: float | None
) -> None:
    expected = dict.fromkeys(("median_l0", "median_l1", "median_l2", "median_linf"), median)
    assert medians(found(l2), images=len(l2) + wrong) == expected
    assert success_rate([found(l2), found([0.5] * len(l2))]) == (None if rate is None else pytest.approx(rate))


def interval(l2: list[float], *, wrong: int = 0, seed: int = 0) -> tuple[float | None, float | None]:
    generator = torch.Generator().manual_seed(seed)
    ends = median_intervals(found(l2), images=len(l2) + wrong, generator=generator)
    return ends["median_l2_low"], ends["median_l2_high"]


def test_intervals_of_medians_are_those_of_the_order_statistics() -> None:
    # Of a sample's median, the bootstrap ends at the order statistics that binomial counts single out: of 101 values,
    # P(the median of a drawing is at most the 41st) = P(at least 51 of 101 draws are among 41) = .026.
    low, high = interval([float(value) for value in range(1, 102)])
    assert low is not None
    assert high is not None
    assert abs(low - 41) <= 1
    assert abs(high - 61) <= 1
    assert interval([3.0] * 9) == (3.0, 3.0)
    assert interval([1.0, 2.0, 5.0], seed=1) == interval([1.0, 2.0, 5.0], seed=1)


def test_what_withstood_has_no_upper_end_and_what_is_wrong_counts_as_zero() -> None:
    assert interval([1.0] * 11 + [INF] * 10) == (1.0, None)
    assert interval([2.0] * 11, wrong=10) == (0.0, 2.0)
    assert interval([]) == (None, None)


def test_several_attacks_complete_each_other_image_by_image_and_norm_by_norm() -> None:
    one = found([1, 5, INF, INF], linf=torch.tensor([0.3, 0.4, INF, INF]))
    other = found([2, 4, 6, INF], linf=torch.tensor([0.1, 0.5, 0.6, INF]))
    together = smallest([one, other])
    assert together.l2.tolist() == [1, 4, 6, INF]
    assert together.linf.tolist() == pytest.approx([0.1, 0.4, 0.6, INF])
    assert together.success.tolist() == [True, True, True, False]
    assert (together.forwards, together.backwards, together.seconds) == (20, 18, 1)


def test_attacks_on_other_images_are_not_mixed() -> None:
    with pytest.raises(AssertionError):
        smallest([found([1, 2], index=[0, 1]), found([1, 2], index=[0, 2])])


def test_distances_are_norms_of_the_difference() -> None:
    images = torch.zeros(1, 3, 2, 2)
    others = images.clone()
    others[0, :, 0, 0] = torch.tensor([0.25, -0.5, 0.25])
    measured = {norm: value.tolist() for norm, value in distances(others, images).items()}
    # One pixel, three of its values.
    assert measured == {"l0": [3], "l1": [1], "l2": [pytest.approx(0.375**0.5)], "linf": [0.5]}
    assert all(value.dtype == torch.float64 for value in distances(others, images).values())


def test_only_what_is_right_is_attacked_and_only_what_fools_counts() -> None:
    problem = linear(saturated=False, count=8)
    labels = problem.labels.clone()
    labels[3] = 1 - labels[3]
    images = LabelledImages(pixels=problem.images.pixels, labels=labels, classes=problem.images.classes)
    result = minimum_norm(
        problem.classifier,
        images,
        # The first of a batch is left alone, the others are mirrored in grey, where all classes tie, and far out.
        attack=lambda network, pixels, labels: torch.cat([pixels[:1], 5 * (0.5 - pixels[1:]) + 0.5]),
        batch_size=4,
        device=torch.device("cpu"),
    )
    assert result.index.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert result.success.tolist() == [False, True, True, True, False, True, True]
    mirrored = (5 * (0.5 - problem.pixels) + 0.5).clamp(0, 1)
    largest = (mirrored - problem.pixels).abs().amax(dim=(1, 2, 3))[result.index].double()
    torch.testing.assert_close(result.linf, largest.where(result.success, INF))
    assert (result.forwards, result.backwards) == (0, 0)


def test_a_classifier_that_gets_nothing_right_is_not_attacked() -> None:
    problem = linear(saturated=False, count=4)
    wrong = LabelledImages(pixels=problem.images.pixels, labels=1 - problem.labels, classes=problem.images.classes)

    def unneeded(*arguments: object) -> torch.Tensor:
        raise AssertionError("attacked")

    result = minimum_norm(problem.classifier, wrong, attack=unneeded, batch_size=4, device=torch.device("cpu"))
    assert len(result.index) == len(result.success) == len(result.l0) == 0
    assert (result.forwards, result.backwards, result.seconds) == (0, 0, 0)
    assert set(medians(result, images=4).values()) == {0}
    assert success_rate([result, result]) is None
