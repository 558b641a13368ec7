"""How a device computes."""

import torch

from robustprune.core.devices import in_full_precision


def test_full_precision_lasts_as_long_as_asked_for() -> None:
    def flags() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic

    before = flags()
    with in_full_precision():
        assert flags() == (False, True)
    assert flags() == before
