"""Shortcuts of option A, pruned on either side, against a plain reading of what they do."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from robustprune.classification.networks.cifar import ChannelShortcut
from robustprune.classification.networks.shortcut_pruning import ChannelShortcutPruner

CHANNELS = 6


@given(
    more=st.integers(0, 5),
    steps=st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 10))), max_size=4),
)
def test_what_stays_is_copied_as_before(more: int, steps: list[tuple[bool, set[int]]]) -> None:
    shortcut = ChannelShortcut(CHANNELS, CHANNELS + more, stride=1)
    x = torch.arange(1.0, CHANNELS + 1).view(1, -1, 1, 1).expand(1, -1, 2, 2)
    expected = shortcut(x)
    pruner = ChannelShortcutPruner()
    taken, given_out = list(range(CHANNELS)), list(range(CHANNELS + more))
    for of_input, indices in steps:
        side, function = (taken, pruner.prune_in_channels) if of_input else (given_out, pruner.prune_out_channels)
        gone = sorted(index for index in indices if index < len(side))
        if len(gone) == len(side):
            continue
        if of_input:
            for index in gone:
                expected = torch.where(expected == side[index] + 1, 0, expected)
        function(shortcut, gone)
        side[:] = [channel for index, channel in enumerate(side) if index not in gone]
    assert torch.equal(shortcut(x[:, taken]), expected[:, given_out])
    assert pruner.get_in_channels(shortcut) == len(taken)
    assert pruner.get_out_channels(shortcut) == len(given_out)
