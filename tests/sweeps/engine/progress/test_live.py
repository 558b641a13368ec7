"""The live view counts what Tune tells it, estimates from what it measured, and shows text as text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.exceptions import ActorUnavailableError, RayTaskError
from rich.console import Console

from sweeps.engine.progress import live
from sweeps.engine.progress.live import Live
from sweeps.engine.scheduling.health import Health
from sweeps.planning import plan
from sweeps.planning.plan import Plan
from sweeps.planning.underway import UnderWay, in_short, summed_up
from sweeps.storage import Store
from sweeps.storage.leases import Run
from tests.support import toy_rows, toy_study


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    """The toy sweep with its baseline finished and one row failed."""
    store, loaded = Store(str(tmp_path)), toy_rows.load()
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, rows[:1])
    toy_rows.fail(store, loaded, rows[1:2])
    return plan.make(loaded, store)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("sweeps.engine.progress.live.time.monotonic", lambda: now.seconds)
    return now


class Sweep:
    """Tells a view what Tune would."""

    def __init__(self, view: Live, planned: Plan) -> None:
        self.view, self.planned = view, planned

    def tune_trial(self, index: int) -> Any:
        return SimpleNamespace(
            trial_id=f"id{index}", config={"trial": self.planned.todo[index]}, pickled_error_file=None, error_file=None
        )

    def begin(self, index: int) -> None:
        self.view.on_trial_start(0, [], self.tune_trial(index))

    def result(self, index: int, **result: Any) -> None:
        self.view.on_trial_result(0, [], self.tune_trial(index), result)

    def row(self, index: int, seconds: float | None = 1.0, failure: str | None = None, key: str | None = None) -> None:
        """Tell of a row; by default of the next one of the trial."""
        keys = [str(row.key) for row in self.planned.todo[index].rows]
        open_rows = [key for key in keys if key in self.view._open[self.planned.todo[index].number]]
        self.result(index, row=key or open_rows[0], failure=failure, seconds=seconds)

    def published(self, index: int, stage: str, seconds: float) -> None:
        self.result(index, published=f"{stage}-1", stage=stage, seconds=seconds)

    def complete(self, index: int) -> None:
        self.view.on_trial_complete(0, [], self.tune_trial(index))


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def piped() -> Console:
    return Console(file=io.StringIO(), width=80)


def test_without_a_terminal_there_are_plain_lines_at_a_bearable_rate(
    planned: Plan, piped: Console, clock: SimpleNamespace
) -> None:
    with Live(planned, piped) as view:
        sweep = Sweep(view, planned)
        assert text(piped) == "rows 1/25  trials 0/8  failed 1  0:00 elapsed, ? left  \n"
        sweep.begin(0)
        sweep.row(0)
        assert text(piped).count("\n") == 1
        clock.seconds += live.LINE_EVERY_S
        view.on_step_end(0, [])
        assert text(piped).splitlines()[1:] == [
            # Left are 22 rows and 5 checkpoints, at the second that the row took.
            f"rows 2/25  trials 0/8  failed 1  0:10 elapsed, 0:27 left  {planned.todo[0].label}: 1 of 2 rows"
        ]
        sweep.row(0)
        sweep.complete(0)
    assert text(piped).splitlines()[2] == "rows 3/25  trials 1/8  failed 1  0:10 elapsed, 0:26 left  "
    assert "\x1b" not in text(piped)


def test_rows_failures_and_trials_are_counted(planned: Plan, piped: Console) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    for index in (1, 2):
        sweep.begin(index)
    for index, failure in ((1, None), (1, "ValueError: a"), (1, "ValueError: a"), (2, "KeyError: b")):
        sweep.row(index, failure=failure)
    assert sweep.view.done == 1
    assert sweep.view.failures == {"ValueError: a": 2, "KeyError: b": 1}
    assert sweep.view._trials_done() == 1
    assert [text(piped).count(f"failed: {cause}\n") for cause in ("ValueError: a", "KeyError: b")] == [1, 1]


def test_a_row_counts_once_however_often_it_is_told(planned: Plan, piped: Console) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    key = str(planned.todo[1].rows[0].key)
    for _ in range(2):
        sweep.row(1, key=key)
        sweep.row(1, seconds=None, key=key)
    assert sweep.view.done == 1


def test_a_cluster_that_has_to_grow_is_waited_for_until_a_trial_starts(planned: Plan, piped: Console) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    sweep.view.watch(SimpleNamespace(waits_for=lambda: None), Health(), no_room="waiting for the cluster to grow")  # type: ignore[arg-type]
    with sweep.view:
        assert "waiting for the cluster to grow" in text(piped)
        sweep.begin(0)
    assert "waiting" not in text(piped).splitlines()[-1]


def test_whom_trials_wait_for_is_said(planned: Plan, piped: Console) -> None:
    view = Live(planned, piped)
    other = Run("toy", "node-7", 42, None, None)
    view.watch(SimpleNamespace(waits_for=lambda: other), Health())  # type: ignore[arg-type]
    with view:
        pass
    assert text(piped).endswith("some trials wait for another run of this storage, on node-7, process 42\n")


def test_a_line_tells_what_each_running_trial_does(planned: Plan, piped: Console, clock: SimpleNamespace) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    first, second, third = (trial.label for trial in planned.todo[:3])
    for index in range(3):
        sweep.begin(index)
    sweep.result(1, begun="pretrain")
    sweep.published(2, "pretrain", 1.0)
    sweep.view.on_trial_error(0, [], sweep.tune_trial(0))
    clock.seconds += live.LINE_EVERY_S
    sweep.view.on_step_end(0, [])
    last = text(piped).splitlines()[-1]
    assert last.endswith(f"{second}: pretrain; {third}: 0 of 3 rows")
    assert f"{first}: " not in last, "it is not running any more"
    assert "1 × a trial's process died: it told no reason" in last


def test_a_label_that_looks_like_markup_stays_text(planned: Plan, piped: Console) -> None:
    odd = replace(planned.todo[0], label="[bold]x[/y]")
    with Live(planned, piped) as view:
        Sweep(view, replace(planned, todo=[odd])).begin(0)
    assert text(piped).endswith("[bold]x[/y]: starting\n")


def test_the_time_left_is_the_work_left_at_what_each_kind_took(planned: Plan, piped: Console) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    sweep.begin(1)
    assert planned.checkpoints_to_train()
    assert sweep.view.seconds_left() is None
    sweep.published(1, "base", 5.0)
    sweep.published(1, "pretrain", 100.0)
    assert sweep.view.seconds_left() is None
    sweep.row(1, seconds=2.0)
    sweep.row(1, seconds=4.0, failure="ValueError: a")
    pretrain = (toy_study.PRETRAININGS - 1) * 100.0
    score = toy_study.SHARED_SCORES * 3.0  # not measured yet: counted like rows
    rows = (planned.missing - 2) * 3.0
    assert sweep.view.seconds_left() == pytest.approx(pretrain + score + rows)
    sweep.begin(0)
    assert sweep.view.seconds_left() == pytest.approx((pretrain + score + rows) / 2)


def test_a_row_measured_across_a_pause_counts_without_it(planned: Plan, piped: Console, clock: SimpleNamespace) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    sweep.begin(1)
    sweep.view.tick()
    clock.seconds += 10
    sweep.view.tick()
    clock.seconds += 40_000  # Ctrl-Z, and `fg` the next morning
    sweep.view.tick()
    clock.seconds += 10
    sweep.row(1, seconds=40_020.0)
    assert sweep.view.seconds_left() == 20 * sum(sweep.view._left.values())
    sweep.row(1, seconds=5.0)  # it began afterwards
    # The machine of another worker slept, which nobody here could tell.
    sweep.row(1, seconds=40_000.0)
    assert sweep.view.seconds_left() == pytest.approx(12.5 * sum(sweep.view._left.values()))


def test_nothing_is_left_at_the_end_and_never_less_than_nothing(planned: Plan, piped: Console) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    # The base once more than planned, as where a stored one turns out to be damaged.
    for stage, count in (("base", 2), ("pretrain", 2), ("score", 2)):
        for _ in range(count):
            sweep.published(0, stage, 1.0)
    for index, trial in enumerate(planned.todo):
        for _ in trial.rows:
            sweep.row(index)
    assert sweep.view.seconds_left() == 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599.6, "1:00:00"), (36_061, "10:01:01"), (183_600, "2 d 3 h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert live._duration(seconds) == shown


def test_a_terminal_shows_counts_trials_and_causes_as_they_are_written(planned: Plan) -> None:
    terminal = Console(file=io.StringIO(), width=100, height=30, force_terminal=True, color_system=None)
    with Live(planned, terminal) as view:
        sweep = Sweep(view, planned)
        sweep.begin(0)
        sweep.begin(1)
        sweep.result(1, begun="pretrain")
        sweep.row(0, failure="ValueError: [bold]not[/bold] [/a] number")
    shown = text(terminal)
    assert "1 of 25" in shown
    assert "2 failed" in shown
    assert "0 of 8" in shown
    assert f"{planned.todo[1].label}: pretrain" in shown
    assert "1 × ValueError: [bold]not[/bold] [/a] number" in shown


def test_many_trials_and_causes_stay_within_the_screen(planned: Plan) -> None:
    terminal = Console(file=io.StringIO(), width=60, height=12, force_terminal=True, color_system=None)
    sweep = Sweep(Live(planned, terminal), planned)
    for index in range(len(planned.todo)):
        sweep.begin(index)
        sweep.row(index, failure=f"ValueError: {index} " + "very long " * 20)
    with terminal.capture() as capture:
        terminal.print(sweep.view._render())
    lines = capture.get().splitlines()
    assert len(lines) <= terminal.height
    assert max(map(len, lines)) <= terminal.width


def test_the_first_death_of_a_kind_is_told_with_all_that_is_known_and_others_are_counted(
    planned: Plan, piped: Console
) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    with sweep.view:
        for pid in (7, 8):
            sweep.result(1, died="SIGBUS (bus error)", told=f"SIGBUS (bus error); process {pid} on node gpu-3")
    label = planned.todo[1].label
    assert (
        text(piped).count(f"trial {label}: a worker's process died: SIGBUS (bus error); process 7 on node gpu-3") == 1
    )
    assert "process 8" not in text(piped)
    assert "2 × a worker's process died: SIGBUS (bus error)" in text(piped).splitlines()[-1]
    assert sweep.view.deaths == [], "the trial's own process goes on"


UNREACHED = "its process, or its node, does not answer (ActorUnavailableError)"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RayTaskError("run_trial", "Traceback", OSError("no [space] left\non the device")), "OSError: no [space] left"),
        (ActorUnavailableError("The actor 0123 is unavailable", bytes(16)), UNREACHED),
    ],
)
def test_why_a_process_died_is_said(planned: Plan, piped: Console, tmp_path: Path, error: Exception, told: str) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    sweep.begin(0)
    trial = sweep.tune_trial(0)
    trial.pickled_error_file = str(tmp_path / "error.pkl")
    Path(trial.pickled_error_file).write_bytes(cloudpickle.dumps(error))
    sweep.view.on_trial_error(0, [], trial)
    assert text(piped).splitlines()[-1].rstrip().endswith(f"1 × a trial's process died: {told}")
    assert sweep.view.deaths == [told]


def test_a_failed_row_that_is_computed_again_counts_as_open(planned: Plan, piped: Console) -> None:
    failed = {str(planned.todo[0].rows[0].key)}
    with Live(replace(planned, failed=failed), piped):
        assert "failed 0" in text(piped)
    with Live(replace(planned, failed=failed | {"another"}), piped):
        assert "failed 1" in text(piped).splitlines()[-1]


def heard(view: Live, **stages: UnderWay) -> None:
    """Let the view hear how far stages are."""
    view.watch(SimpleNamespace(waits_for=lambda: None), Health(), listener=SimpleNamespace(stages=stages, look=int))  # type: ignore[arg-type]


def training(row: str = "", *, stage: str = "evaluate_row", done: float = 2.5) -> UnderWay:
    return UnderWay(stage, "round slow 0", row, "epoch", done, 5, {"loss": 0.25}, each_s=10.0)


def test_a_plain_line_tells_how_far_a_shared_stage_is(planned: Plan, piped: Console, clock: SimpleNamespace) -> None:
    with Live(planned, piped) as view:
        sweep = Sweep(view, planned)
        heard(view, **{"pretrain-1": training(stage="pretrain")})
        sweep.begin(1)
        clock.seconds += live.SOON_S
        sweep.result(1, begun="pretrain", key="pretrain-1")
        told = f"{planned.todo[1].label}: pretrain, epoch 3 of 5, loss 0.25, 10 s each, 25 seconds left"
        assert text(piped).splitlines()[-1].endswith(told), "a stage that begins is told soon"
        view.tick()
        assert view.news() == {"stages": [training(stage="pretrain")._asdict()]}
        clock.seconds += 7
        assert view.news()["stages"][0]["age_s"] == 7
        sweep.published(1, "pretrain", 1.0)
        view.tick()
        assert view.news() == {"stages": []}, "it is over, whatever was heard of it last"


def test_a_plain_line_sums_up_rows_that_run_at_once(planned: Plan, piped: Console, clock: SimpleNamespace) -> None:
    keys = [str(row.key) for row in planned.todo[1].rows]
    with Live(planned, piped) as view:
        sweep = Sweep(view, planned)
        sweep.begin(1)
        sweep.row(1, key=keys[0])
        heard(view, **{key: training(f"dose {number}", done=number + 0.5) for number, key in enumerate(keys)})
        assert view._in_line() == [
            f"{planned.todo[1].label}: 1 of 3 rows; 2 × evaluate_row: epoch 2 to 3 of 5, loss 0.25, at most "
            "35 seconds left"
        ]
        sweep.row(1, key=keys[1])
        assert view._in_line() == [
            f"{planned.todo[1].label}: 2 of 3 rows; dose 2, evaluate_row: epoch 3 of 5, loss 0.25, 10 s each, "
            "25 seconds left"
        ]


def test_a_plain_line_of_many_trials_tells_them_together(planned: Plan, piped: Console) -> None:
    sweep = Sweep(Live(planned, piped), planned)
    trials = range(live.MOST_TRIALS + 1)
    for index in trials:
        sweep.begin(index)
    heard(sweep.view, **{str(planned.todo[index].rows[0].key): training("dose 0") for index in trials})
    assert sweep.view._in_line() == [
        *(f"{planned.todo[index].label}: starting" for index in trials),
        "5 × evaluate_row: epoch 3 of 5, loss 0.25, at most 25 seconds left",
    ]


def test_rows_have_lines_of_their_own_where_there_is_room(planned: Plan) -> None:
    label, rows = planned.todo[1].label, planned.todo[1].rows
    terminal = Console(file=io.StringIO(), width=100, height=30, force_terminal=True, color_system=None)
    sweep = Sweep(Live(planned, terminal), planned)
    sweep.begin(1)
    heard(sweep.view, **{str(row.key): training(f"dose {row.cell['dose']}") for row in rows})
    assert sweep.view._lines(room=4) == [
        f"  {label}: starting",
        *(f"    dose {row.cell['dose']}, evaluate_row: {in_short(training())}" for row in rows),
    ]
    assert sweep.view._lines(room=3) == [f"  {label}: starting; {summed_up([training() for _ in rows])}"]
    with terminal.capture() as capture:
        terminal.print(sweep.view._render())
    assert f"    dose 0.5, evaluate_row: {in_short(training())}\n" in capture.get()
