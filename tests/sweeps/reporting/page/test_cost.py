"""Hours: what is shared counts once, whoever shares it, and what sharing saved is told against trials on their own."""

import re

import pandas as pd
import pytest

from sweeps.reporting.page.sections.cost import cost, cost_html
from sweeps.results.origins import Origins
from sweeps.statistics.roles import Roles

STAGES = Origins(("base", "pretrain", "score"), everywhere=("base",))
ROLES = Roles(("method", "seed", "sparsity"), replicate="seed", along="sparsity")

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two methods on the checkpoint of each of two seeds, three rows a trial; `slow` scores each row of its own."""
    cells = [(method, seed, at) for method in ("quick", "slow") for seed in (0, 1) for at in (0.0, 0.5, 0.9)]
    rows = pd.DataFrame(cells, columns=list(ROLES.axes))
    rows["checkpoint_key"] = "pretrain-" + rows["seed"].astype(str)
    rows["base_s"] = float("nan")
    rows["pretrain_s"] = 1000.0 + rows["seed"]
    shared = 10.0 + rows["seed"]
    rows["score_s"] = shared.where(rows["method"] == "quick", 40.0 + rows.index).where(rows["sparsity"] > 0)
    rows["evaluate_s"] = 5.0
    rows["device"] = "cpu"
    rows["row_key"] = [f"row-{method}-{seed}-{at}" for method, seed, at in cells]
    baseline = {"method": "none", "seed": 0, "sparsity": 0.0, "checkpoint_key": "base-0", "base_s": 300.0}
    return pd.concat([pd.DataFrame([baseline | {"evaluate_s": 5.0, "device": "cpu"}]), rows], ignore_index=True)


def by_stage(rows: pd.DataFrame, *, rows_at_a_time: int = 1) -> dict[str, tuple[int, float, float]]:
    own = {key: {"score"} for key in rows["row_key"].dropna() if "slow" in key}
    found = cost(rows, roles=ROLES, origins=STAGES._replace(own=own), rows_at_a_time=rows_at_a_time)
    lines = found[["stage", "times", "seconds", "alone"]].itertuples(index=False, name=None)
    return {stage: (times, seconds, alone) for stage, times, seconds, alone in lines}


def test_a_shared_result_counts_once(rows: pd.DataFrame) -> None:
    own_scores = sum(40.0 + index for index in (7, 8, 10, 11))
    assert by_stage(rows) == {
        "base": (1, 300.0, 300.0),
        # Two checkpoints, which four trials would have trained.
        "pretrain": (2, 2001.0, 4002.0),
        "score": (6, 21.0 + own_scores, 21.0 + own_scores),
        "evaluate": (13, 65.0, 65.0),
    }


def test_a_score_that_trials_share_counts_once_too(rows: pd.DataFrame) -> None:
    other = rows[rows["method"] == "quick"].assign(method="quick, in another structure")
    assert by_stage(pd.concat([rows, other]))["score"][0] == 6
    assert by_stage(pd.concat([rows, other]))["score"][2] == by_stage(rows)["score"][1] + 21.0


def test_rows_that_share_a_gpu_took_less_of_it_each(rows: pd.DataFrame) -> None:
    assert by_stage(rows, rows_at_a_time=2) == by_stage(rows), "a CPU is not shared"
    rows["device"] = "Fast GPU"
    alone, beside = by_stage(rows), by_stage(rows, rows_at_a_time=2)
    assert beside["evaluate"][1] == alone["evaluate"][1] / 2
    assert beside["pretrain"] == alone["pretrain"]
    # One score per seed was shared by rows; the others were computed with their row.
    assert beside["score"][1] == 21.0 + (alone["score"][1] - 21.0) / 2


def test_what_trials_share_is_whole_though_a_single_row_has_it(rows: pd.DataFrame) -> None:
    found = by_stage(rows[(rows["sparsity"] == 0.5) & (rows["seed"] == 0)].assign(device="GPU"), rows_at_a_time=4)
    assert found["pretrain"][1] == 1000
    assert found["score"][1] == 10 + 47 / 4
    assert by_stage(rows[7:8].assign(device="GPU"), rows_at_a_time=4)["pretrain"] == (1, 1000, 1000)


def test_a_device_that_another_one_spared_a_stage_is_told_what_it_was_spared(rows: pd.DataFrame) -> None:
    seed = rows[rows["seed"] == 0].iloc[1:].copy()
    seed["device"] = ["A"] * 3 + ["B"] * 3
    found = cost(seed, roles=ROLES, origins=STAGES).query("stage == 'pretrain'")
    assert found["device"].tolist() == ["A", "B"]
    assert found["times"].tolist() == [1, 0]
    assert found["seconds"].tolist() == [1000, 0]
    assert found["alone"].tolist() == [1000, 1000]
    assert "sharing saved" in cost_html(found, rows=6)


def test_what_all_trials_have_in_common_counts_once_however_it_is_shared(rows: pd.DataFrame) -> None:
    """Nobody would train the one base again in every trial; the key of a result tells it from others."""
    shared = {key: {"base": "base-0"} for key in rows["row_key"].dropna()}
    every = rows.assign(base_s=300.0)
    found = cost(every, roles=ROLES, origins=STAGES._replace(shared=shared)).query("stage == 'base'")
    assert found[["device", "times", "seconds", "alone"]].to_numpy().tolist() == [["cpu", 2, 600.0, 600.0]]
    found = cost(every[1:], roles=ROLES, origins=STAGES._replace(shared=shared)).query("stage == 'base'")
    assert found[["device", "times", "seconds", "alone"]].to_numpy().tolist() == [["cpu", 1, 300.0, 300.0]]
    assert "0.0833 process-hours" in cost_html(found, rows=0)


def test_seconds_of_unlike_devices_are_not_added(rows: pd.DataFrame) -> None:
    times = pd.DataFrame({"device": ["cpu", "GPU"], "stage": "evaluate", "times": 2, "seconds": [8.0, 20.0]})
    html = cost_html(times.assign(alone=times["seconds"]), rows=4)
    assert "That is 2 s per row of the sweep" in html
    assert "That is 5 s per row of the sweep" in html


def test_hours_are_told_by_device_with_what_sharing_saved(rows: pd.DataFrame) -> None:
    rows.loc[rows["seed"] == 1, "device"] = "Fast GPU <2>"
    html = cost_html(cost(rows.drop(columns="base_s"), roles=ROLES, origins=STAGES), rows=len(rows))
    words = re.sub(r"<[^>]+>", " ", html)
    # Seed 0: 1000 + 10 + 47 + 48 of 2 × 1000 + 10 + 47 + 48 seconds, and 7 rows of 5.
    assert f"{1140 / 3600:.3f} process-hours  on cpu; sharing saved 0.278 process-hours (47%)" in words
    assert "GPU-hours  on Fast GPU &lt;2&gt;; sharing saved 0.278 GPU-hours" in words
    assert f'data-value="{1140 / 3600}"' in html


def test_rows_without_durations_cost_nothing_known() -> None:
    nothing = cost(pd.DataFrame(columns=list(ROLES.axes)), roles=ROLES, origins=STAGES)
    assert "No durations" in cost_html(nothing, rows=0)
