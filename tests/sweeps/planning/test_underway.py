"""How far stages are is said in few words, of one and of many, and read back from what other versions wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sweeps.planning.underway import OLD_S, UnderWay, in_short, recorded, summed_up

TRAINING = UnderWay("train", "round quick 0", "", "epoch", 2.5, 10, {"loss": 0.53219}, each_s=12.0)
ROW = TRAINING._replace(stage="evaluate_row", row="dose 0.5")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "epoch 3 of 10, loss 0.532, 12 s each, 2 minutes left"),
        ({"done": 0, "measured": {}, "each_s": None}, "epoch 1 of 10"),
        ({"done": 3}, "epoch 3 of 10 done, loss 0.532, 12 s each, 84 seconds left"),
        ({"done": 10}, "epoch 10 of 10 done, loss 0.532, 12 s each"),
        ({"measured": {"loss": float("nan")}}, "epoch 3 of 10, loss NaN, 12 s each, 2 minutes left"),
        ({"measured": {"loss": 123456.0}, "each_s": 0.0123}, "epoch 3 of 10, loss 1.23e+05, 12 ms each"),
        (
            {"unit": "image", "done": 1200, "of": 5000, "each_s": 2.0},
            "image 1,200 of 5,000 done, loss 0.532, 2 s each, 2 h 7 min left",
        ),
        ({"each_s": 7200.0}, "epoch 3 of 10, loss 0.532, 2 h 0 min each, 15 h 0 min left"),
        ({"age_s": 30.0}, "epoch 3 of 10, loss 0.532, 12 s each, 60 seconds left"),
        ({"age_s": 3 * OLD_S}, "epoch 3 of 10, loss 0.532, 12 s each, as of 3 minutes ago"),
    ],
)
def test_how_far_a_stage_is(changes: dict[str, Any], said: str) -> None:
    assert in_short(TRAINING._replace(**changes)) == said


def test_many_stages_are_summed_up_by_their_kind() -> None:
    rows = [ROW._replace(done=done, measured={"loss": done / 10}) for done in (1.5, 3, 9.5, 9.7)]
    assert summed_up(rows) == "4 × evaluate_row: epoch 2 to 10 of 10, loss 0.15 to 0.97, at most 2 minutes left"
    assert summed_up(rows[:1]) == f"evaluate_row: {in_short(rows[0])}"
    lost = rows[0]._replace(measured={"loss": float("nan")}, each_s=None)
    assert summed_up([lost, lost]) == "2 × evaluate_row: epoch 2 of 10, loss NaN"
    measuring = ROW._replace(unit="image", done=96, of=96)
    assert summed_up([lost, measuring, measuring]).endswith("; 2 × evaluate_row: image 96 of 96, loss 0.532")


def test_the_time_left_passes() -> None:
    assert TRAINING.left_s == 90
    assert TRAINING._replace(age_s=50.0).left_s == 40
    assert TRAINING._replace(age_s=500.0).left_s == 0
    assert TRAINING._replace(each_s=None).left_s is None


@pytest.mark.parametrize("stage", [TRAINING, ROW, ROW._replace(each_s=None, measured={})])
def test_what_was_written_is_read(stage: UnderWay) -> None:
    assert recorded({**json.loads(json.dumps(stage._asdict())), "later": "a field of another version"}) == stage


@pytest.mark.parametrize("said", [None, "epoch 3", [], {}, {**TRAINING._asdict(), "measured": 3}])
def test_what_says_nothing_of_a_stage_is_none(said: object) -> None:
    assert recorded(said) is None
