"""Rows of masked filters: what is trained in place of the masked classifier ends where that would have."""

from typing import Any

import pytest

from robustprune.classification.task import ClassificationTask
from tests.robustprune.studies.classification.tiny_study import cell, published, row_of, study


def test_a_row_is_that_of_the_masked_network_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    own, of = study(), cell(structure="structured", ratio=0.5)
    checkpoint = published(own.pretrain(of))
    narrow = row_of(own, of, checkpoint)

    def never(*_: Any) -> None:
        return None

    monkeypatch.setattr(ClassificationTask, "narrowed", never)
    masked = row_of(own, of, checkpoint)
    exact = ("params_kept", "macs", "channels_kept", "best_epoch", "accuracy_clean_hard", "accuracy_adv_hard")
    assert {name: narrow[name] for name in exact} == {name: masked[name] for name in exact}
    assert narrow["accuracy_clean"] == pytest.approx(masked["accuracy_clean"], abs=1 / 12 + 1e-9)
    assert narrow["median_l2"] == pytest.approx(masked["median_l2"], rel=0.05)
