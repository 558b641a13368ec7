"""The live view of a running sweep: one panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from statistics import mean
from types import TracebackType
from typing import Any, NamedTuple

from ray.tune import Callback
from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.engine.progress.listening import Listener
from sweeps.engine.scheduling.deaths import death_of
from sweeps.engine.scheduling.health import Health
from sweeps.engine.scheduling.queue import Queue
from sweeps.engine.scheduling.whereabouts import Whereabouts
from sweeps.planning.durations import in_words, without_pauses
from sweeps.planning.plan import Plan
from sweeps.planning.underway import UnderWay, in_short, summed_up

LINE_EVERY_S = 10.0
"""Seconds between plain lines, at least."""

SOON_S = 2.0
"""Seconds since the last plain line after which one tells that a shared stage begins."""

MOST_TRIALS = 4
"""Trials of which a plain line tells each how far it is; of more it tells all together."""

MOST_NEWS = 200
"""Stages told to those who ask the storage."""

PAUSE_S = 30.0
"""Seconds without a tick, where there is one a second: this process stood still, and its workers with it."""

MOST_CAUSES = 8
"""Failure causes shown at a time: the view stays within a screen."""


TRIAL, WORKER = "a trial's process", "a worker's process"
"""Whose deaths are told."""

ROW = ""
"""What counts as a row among the names of stages."""


class _Running(NamedTuple):
    """A trial that runs; `stage` is the key of the shared one that it computes, if it does."""

    number: int
    label: str
    step: str
    stage: str | None = None

    def __str__(self) -> str:
        return f"{self.label}: {self.step}"


class Live(Callback):
    """Follows a sweep through Tune's callbacks. What Tune calls a trial is one start of ours."""

    def __init__(self, plan: Plan, console: Console) -> None:
        """Start counting from what the plan found finished."""
        self._plan, self._console = plan, console
        self._started = time.monotonic()
        self._last_line = 0.0
        self._ticked = self._started
        self._pauses: list[tuple[float, float]] = []
        self._left = Counter(plan.checkpoints_to_train().values()) + Counter({ROW: plan.missing})
        self._seconds: dict[str, list[float]] = {}
        self._told: dict[str, str | None] = {}
        self._open = {trial.number: {str(row.key) for row in trial.rows} for trial in plan.todo}
        # Those computed again in this run count as open.
        self._failed_before = len(plan.failed.difference(*self._open.values()))
        self._rows = {trial.number: [str(row.key) for row in trial.rows] for trial in plan.todo}
        self._running: dict[str, _Running] = {}
        self._listener: Listener | None = None
        self._heard: tuple[float, tuple[UnderWay, ...]] = (0.0, ())
        self._queue: Queue | None = None
        self._health: Health | None = None
        self._said: set[str] = set()
        self._no_room = ""
        self._processes: dict[str, Whereabouts] = {}
        self._deaths: dict[tuple[str, str], list[str]] = {}
        self._screen: RichLive | None = None

    def __enter__(self) -> Live:
        """Begin to draw."""
        if self._console.is_terminal:
            self._screen = RichLive(get_renderable=self._render, console=self._console, refresh_per_second=4)
            self._screen.start()
        else:
            self._line(force=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        if self._screen is not None:
            self._screen.stop()
        else:
            self._line(force=True)

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its callbacks for a restore that we do not use."""
        return {}

    def watch(self, queue: Queue, health: Health, *, no_room: str = "", listener: Listener | None = None) -> None:
        """Also show what the trials of a queue wait for, other runs or room, which nodes are left out, and how far
        stages are.
        """
        self._queue, self._health, self._no_room, self._listener = queue, health, no_room, listener

    def news(self) -> dict[str, Any]:
        """Return how far stages are, in plain values; from whichever thread."""
        at, stages = self._heard
        passed = time.monotonic() - at
        return {"stages": [{**stage._asdict(), "age_s": stage.age_s + passed} for stage in stages[:MOST_NEWS]]}

    def say(self, sentence: str) -> None:
        """Print a sentence, from whichever thread."""
        self._console.print(sentence, soft_wrap=True, highlight=False, markup=False)

    def _say_again(self, sentence: str) -> None:
        """Say once what many rows may meet."""
        if sentence not in self._said:
            self._said.add(sentence)
            self.say(sentence)

    def tick(self) -> None:
        """Show that time passes, also while nothing happens."""
        now = time.monotonic()
        if now - self._ticked > PAUSE_S:
            self._pauses.append((self._ticked, now))
        self._ticked = now
        if self._listener is not None:
            self._listener.look()
            self._heard = now, tuple(stage for each in self._running.values() for stage in self._stages(each))
        self._line()

    @property
    def done(self) -> int:
        """Rows that this run found finished or finished itself."""
        return sum(failure is None for failure in self._told.values())

    @property
    def deaths(self) -> list[str]:
        """The last death of each kind that trials' own processes died, the most frequent kind first."""
        kinds = [alike for (whose, _), alike in self._deaths.items() if whose == TRIAL]
        return [alike[-1] for alike in sorted(kinds, key=len, reverse=True)]

    @property
    def failures(self) -> Counter[str]:
        """Causes of this run's failed rows."""
        return Counter(failure for failure in self._told.values() if failure is not None)

    def tell_row(self, number: int, key: str, failure: str | None, seconds: float | None = None) -> None:
        """Count a row of a trial, once however often it is told."""
        if key not in self._told:
            self._measured(ROW, seconds)
        if failure is not None and self._told.get(key) is not None:
            return  # a trial that starts anew knows only that it failed before
        if failure is not None and failure not in self.failures and self._screen is None:
            # The panel lists causes; plain lines tell each once.
            self._console.print(f"failed: {failure}", soft_wrap=True, highlight=False, markup=False)
        self._told[key] = failure
        self._open[number].discard(key)

    # What Tune tells

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show the trial."""
        self._no_room = ""
        ours = trial.config["trial"]
        self._running[trial.trial_id] = _Running(ours.number, ours.label, "starting")
        self._line()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Show a trial's step, or count its row."""
        ours = trial.config["trial"]
        if "row" in result:
            self.tell_row(ours.number, result["row"], result["failure"], result["seconds"])
        elif "process" in result:
            self._processes[trial.trial_id] = Whereabouts(*result["process"])
        elif "died" in result:
            self._died(ours.label, WORKER, result["died"], result["told"])
        elif "unfit" in result:
            self._say_again(f"node {result['host']} cannot run the study: {result['unfit']}")
        elif "again" in result:
            self._say_again(f"{result['cause']} on node {result['host']}; tried again on another node")
        elif "published" in result:
            self._measured(result["stage"], result["seconds"])
        work = f"{len(ours.rows) - len(self._open[ours.number])} of {len(ours.rows)} rows"
        self._running[trial.trial_id] = _Running(
            ours.number, ours.label, result.get("begun", work), result.get("key") if "begun" in result else None
        )
        self._line(every=SOON_S if "begun" in result else LINE_EVERY_S)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Take the trial off the view."""
        self._running.pop(trial.trial_id, None)
        self._processes.pop(trial.trial_id, None)
        self._line()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say why a trial's process died; the queue decides whether it is started again."""
        self._running.pop(trial.trial_id, None)
        death = death_of(trial, self._processes.pop(trial.trial_id, None))
        self._died(trial.config["trial"].label, TRIAL, death.why, str(death))
        self._line(force=True)

    def _died(self, label: str, whose: str, why: str, told: str) -> None:
        """Count a death; the first of its kind is told with all that is known."""
        alike = self._deaths.setdefault((whose, why), [])
        alike.append(told)
        if told != why and len(alike) == 1:
            self.say(f"trial {label}: {whose} died: {told}")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Show that time passes."""
        self.tick()

    # What a person sees

    def seconds_left(self) -> float | None:
        """Return the work left, at what each kind took so far, over the trials now running; None before a row is done.

        A kind of stage that was not measured yet counts like a row.
        """
        if ROW not in self._seconds:
            return None
        left = {kind: count for kind, count in self._left.items() if count > 0}
        work = sum(
            count * mean(without_pauses(self._seconds.get(kind, self._seconds[ROW]))) for kind, count in left.items()
        )
        return work / max(1, len(self._running))

    def _measured(self, kind: str, seconds: float | None) -> None:
        """Count a stage or row off; `seconds` None says that this run did not do the work."""
        self._left[kind] -= 1
        if seconds is not None:
            began = time.monotonic() - seconds
            paused = sum(end - start for start, end in self._pauses if start >= began)
            self._seconds.setdefault(kind, []).append(seconds - paused)

    def _notes(self) -> list[str]:
        """What is neither progress nor failure, but explains them."""
        deaths = sorted(self._deaths.items(), key=lambda item: -len(item[1]))
        notes = [f"{len(alike)} × {whose} died: {why}" for (whose, why), alike in deaths[:MOST_CAUSES]]
        if self._no_room:
            notes.append(self._no_room)
        notes += self._health.remarks() if self._health is not None else []
        other = self._queue.waits_for() if self._queue is not None else None
        if other is not None:
            notes.append(f"some trials wait for another run of this storage, on {other.host}, process {other.pid}")
        return notes

    def _render(self) -> Group:
        finished = len(self._plan.finished) + self.done
        failed = self._failed_before + self.failures.total()
        counts = Table.grid(padding=(0, 2))
        counts.add_row(
            "rows",
            ProgressBar(total=self._plan.rows, completed=finished, width=40),
            f"{finished} of {self._plan.rows}",
            Text(f"{failed} failed", style="red" if failed else "dim"),
        )
        counts.add_row(
            "trials",
            ProgressBar(total=len(self._plan.todo), completed=self._trials_done(), width=40),
            f"{self._trials_done()} of {len(self._plan.todo)}",
            self._clock(),
        )
        causes = [Text(f"  {text}", style="yellow", overflow="ellipsis", no_wrap=True) for text in self._notes()]
        causes += [
            Text(f"  {count} × {failure}", style="red", overflow="ellipsis", no_wrap=True)
            for failure, count in self.failures.most_common(MOST_CAUSES)
        ]
        room = max(1, self._console.height - len(causes) - 4)
        running = [Text(line, style="cyan", overflow="ellipsis", no_wrap=True) for line in self._lines(room)]
        return Group(counts, *running, *causes)

    def _stages(self, running: _Running) -> list[UnderWay]:
        """Return what a trial computes, of what said how far it is."""
        known = self._listener.stages if self._listener is not None else {}
        keys = self._rows[running.number] if running.stage is None else [running.stage]
        still = self._open[running.number]
        return [known[key] for key in keys if key in known and (key in still or key == running.stage)]

    def _lines(self, room: int) -> list[str]:
        """Return lines of what runs: one for each row too, where there is room, and else one for each trial."""
        lines: list[str] = []
        running = [*self._running.values()]
        for each in running:
            stages = self._stages(each)
            rows = [] if each.stage is not None else stages
            lines.append(f"  {each}" if rows else f"  {_told(each, stages)}")
            lines += [f"    {stage.row}, {stage.stage}: {in_short(stage)}" for stage in rows]
        if len(lines) > room:
            lines = [f"  {_told(each, self._stages(each))}" for each in running]
        return lines[:room]

    def _in_line(self) -> list[str]:
        """Return phrases of what runs."""
        running = [*self._running.values()]
        if len(running) <= MOST_TRIALS:
            return [_told(each, self._stages(each)) for each in running]
        stages = [stage for each in running for stage in self._stages(each)]
        return [*map(str, running), *([summed_up(stages)] if stages else [])]

    def _line(self, *, force: bool = False, every: float = LINE_EVERY_S) -> None:
        if self._screen is not None or (not force and time.monotonic() - self._last_line < every):
            return
        self._last_line = time.monotonic()
        finished = len(self._plan.finished) + self.done
        failed = self._failed_before + self.failures.total()
        self._console.print(
            f"rows {finished}/{self._plan.rows}  trials {self._trials_done()}/{len(self._plan.todo)}  "
            f"failed {failed}  {self._clock()}  {'; '.join([*self._notes(), *self._in_line()])}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )

    def _trials_done(self) -> int:
        return sum(not rows for rows in self._open.values())

    def _clock(self) -> str:
        left = self.seconds_left()
        elapsed = time.monotonic() - self._started
        return f"{_duration(elapsed)} elapsed, {_duration(left) if left is not None else '?'} left"


def _told(running: _Running, stages: list[UnderWay]) -> str:
    """Return what a trial does, and how far it is with that."""
    if not stages:
        return str(running)
    if running.stage is not None:
        return f"{running}, {in_short(stages[0])}"
    alone = f"{stages[0].row}, {stages[0].stage}: {in_short(stages[0])}"
    return f"{running}; {alone if len(stages) == 1 else summed_up(stages)}"


def _duration(seconds: float) -> str:
    if seconds >= 24 * 3600:
        return in_words(seconds)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
