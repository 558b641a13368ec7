"""What is said of weights given: how often they are right, on how many images, and when that is suspicious."""

import pytest

from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure import given
from tests.robustprune.attacks.classifiers.linear import linear


def test_a_good_classifier_is_told_with_its_normalisation() -> None:
    problem = linear(5, saturated=False, count=40)
    assert given.given_weights(problem.classifier, problem.images) == (
        "normalised by mean (0.4914, 0.4822, 0.4465) and std (0.247, 0.2435, 0.2616): right about 100.0% of 40 test "
        "images"
    )


def test_one_that_guesses_is_suspicious() -> None:
    problem = linear(5, saturated=False, count=40)
    wrong = LabelledImages(
        pixels=problem.images.pixels, labels=(problem.labels + 1) % 5, classes=problem.images.classes
    )
    assert "right about 0.0% of 40 test images, hardly more than by chance: is that its" in given.given_weights(
        problem.classifier, wrong
    )


def test_a_large_network_is_asked_about_fewer_images(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = linear(5, saturated=False, count=40)
    forward = 2 * 48 * 5
    for affordable, asked in ((30, 30), (3, given.LEAST_IMAGES), (1000, 40)):
        monkeypatch.setattr(given, "MOST_OPERATIONS", affordable * forward)
        assert f" of {asked} test images" in given.given_weights(problem.classifier, problem.images)
