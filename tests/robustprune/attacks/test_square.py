"""Square asks for answers alone, stays in its ball, and its margins are what their name says."""

import torch
from torch import Tensor

from robustprune.attacks.square import margins, square
from tests.robustprune.attacks.losses import seeded


def hidden(images: Tensor) -> Tensor:
    """Logits for the brighter side of an image, cut into steps: there is no gradient anywhere."""
    left, right = (half.mean(dim=(1, 2, 3)) for half in images.chunk(2, dim=3))
    difference = ((left - right) * 1000).round() / 1000
    return torch.stack([difference, -difference], dim=1)


def test_it_fools_a_network_without_gradients_within_its_ball() -> None:
    images = torch.full((2, 3, 8, 8), 0.5)
    images[0, :, :, :4], images[1, :, :, 4:] = 0.6, 0.6
    labels = torch.tensor([0, 1])
    attacked = square(hidden, images, labels, epsilon=0.08, queries=500, generator=seeded(0))
    assert hidden(attacked).argmax(dim=1).tolist() == [1, 0]
    assert (attacked - images).abs().max() <= 0.08 + 1e-6
    # Half the difference of the sides is what a pixel has to move, at the least.
    held = square(hidden, images, labels, epsilon=0.04, queries=500, generator=seeded(0))
    assert hidden(held).argmax(dim=1).tolist() == [0, 1]


def test_an_image_does_not_depend_on_its_neighbours_and_stays_in_range() -> None:
    images = torch.rand(3, 3, 8, 8, generator=seeded(1)).round()
    labels = hidden(images).argmax(dim=1)

    def attacked(chosen: slice) -> Tensor:
        return square(hidden, images[chosen], labels[chosen], epsilon=0.01, queries=40, generator=seeded(0))

    together = attacked(slice(None))
    assert (float(together.min()), float(together.max())) == (0, 1)
    assert torch.equal(together[1:2], attacked(slice(1, 2)))


def test_margins_are_of_the_true_logit_over_the_largest_other() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]])
    assert margins(logits, torch.tensor([1, 2])).tolist() == [2, -2]
