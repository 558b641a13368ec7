"""The live view of a running sweep: one panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from statistics import mean
from types import TracebackType
from typing import Any

from ray.tune import Callback
from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.engine.scheduling.deaths import death_of
from sweeps.engine.scheduling.health import Health
from sweeps.engine.scheduling.queue import Queue
from sweeps.engine.scheduling.whereabouts import Whereabouts
from sweeps.planning.durations import in_words, without_pauses
from sweeps.planning.plan import Plan

LINE_EVERY_S = 10.0
"""Seconds between plain lines, at least."""

PAUSE_S = 30.0
"""Seconds without a tick, where there is one a second: this process stood still, and its workers with it."""

MOST_CAUSES = 8
"""Failure causes shown at a time: the view stays within a screen."""


TRIAL, WORKER = "a trial's process", "a worker's process"
"""Whose deaths are told."""

ROW = ""
"""What counts as a row among the names of stages."""


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
        self._running: dict[str, str] = {}
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

    def watch(self, queue: Queue, health: Health, *, no_room: str = "") -> None:
        """Also show what the trials of a queue wait for, other runs or room, and which nodes are left out."""
        self._queue, self._health, self._no_room = queue, health, no_room

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
        self._running[trial.trial_id] = f"{trial.config['trial'].label}: starting"
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
        self._running[trial.trial_id] = f"{ours.label}: {result.get('begun', work)}"
        self._line()

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
        running = [
            Text(f"  {text}", style="cyan", overflow="ellipsis", no_wrap=True) for text in self._running.values()
        ]
        causes = [Text(f"  {text}", style="yellow", overflow="ellipsis", no_wrap=True) for text in self._notes()]
        causes += [
            Text(f"  {count} × {failure}", style="red", overflow="ellipsis", no_wrap=True)
            for failure, count in self.failures.most_common(MOST_CAUSES)
        ]
        return Group(counts, *running[: max(1, self._console.height - len(causes) - 4)], *causes)

    def _line(self, *, force: bool = False) -> None:
        if self._screen is not None or (not force and time.monotonic() - self._last_line < LINE_EVERY_S):
            return
        self._last_line = time.monotonic()
        finished = len(self._plan.finished) + self.done
        failed = self._failed_before + self.failures.total()
        self._console.print(
            f"rows {finished}/{self._plan.rows}  trials {self._trials_done()}/{len(self._plan.todo)}  "
            f"failed {failed}  {self._clock()}  {'; '.join([*self._notes(), *self._running.values()])}",
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


def _duration(seconds: float) -> str:
    if seconds >= 24 * 3600:
        return in_words(seconds)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
