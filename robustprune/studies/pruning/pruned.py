"""What a network of a row has gone through: what pruning left of it, and what training made of that."""

from __future__ import annotations

from typing import NamedTuple

from robustprune.structures import Masks
from robustprune.structures.removal import ChannelCounts
from robustprune.training.overfitting import Seen


class Pruned(NamedTuple):
    """What pruning left of a network.

    Attributes:
        masks: of each pruned layer's weights, by the layer's name; none where channels left the network.
        channels: how many there are left, where whole ones were pruned.
        departed: masks of what left with filters that are masked as such, by the parameter's name.
        unread: masks of the weights that read such filters alone, likewise.
    """

    masks: Masks
    channels: ChannelCounts | None
    departed: Masks = {}  # noqa: RUF012 (never changed)
    unread: Masks = {}  # noqa: RUF012 (never changed)

    @property
    def held(self) -> Masks:
        """All that training holds at zero."""
        return self.masks | self.departed

    @property
    def gone(self) -> Masks:
        """What a network without the masked filters would lack besides their weights, by the parameter's name."""
        return self.departed | self.unread


class Retrained(NamedTuple):
    """What became of a pruned network.

    Attributes:
        epoch: that was kept, from 1.
        renew_s: what renewing its statistics took; seconds.
        seen: of catastrophic overfitting; None where that was not watched for.
    """

    epoch: int
    renew_s: float
    seen: Seen | None
