"""What a worker process computes: one stage, or one row. Plain functions; where they run is told in `trial`."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import ray

from sweeps.engine.job import Job
from sweeps.errors import StorageError
from sweeps.planning.plan import Row
from sweeps.storage import row_files, rows, tables
from sweeps.storage.progress import KeptProgress
from sweeps.study import Cell, Checkpoint, Progress, StageName


class Outcome(NamedTuple):
    """What became of a row: published where `failure` is None, else recorded as failed for that cause.

    Where the device's memory was too small for the row beside others, nothing is recorded: it may be tried alone.
    """

    failure: str | None
    seconds: float
    needs_room: bool = False


def compute_stage(job: Job, name: StageName, key: str, cell: Cell, after: Checkpoint | None) -> Checkpoint:
    """Compute a shared stage, publish it under its key, and return it.

    Args:
        after: the result of the stage before it, if it has one.
    """
    # A worker of a run that died may have published it since.
    published = job.store.load_checkpoint(key)
    if published is not None:
        return published
    start, started_at = time.perf_counter(), _now()
    progress = KeptProgress(job.store, f"checkpoints/{key}/progress")
    checkpoint = _call(job, name, cell, after, progress)
    meta = {
        "stage": name,
        "cell": cell,
        "seconds": progress.seconds_before + time.perf_counter() - start,
        "started_at": started_at,
        "host": socket.gethostname(),
        "git_commit": job.git_commit,
    }
    job.store.publish_checkpoint(key, checkpoint, meta)
    progress.forget()
    return checkpoint


def compute_row(
    job: Job,
    row: Row,
    checkpoint: Checkpoint,
    scores: Checkpoint | None,
    costs: Mapping[StageName, float | None],
    attempt: int,
    alone: bool,
) -> Outcome:
    """Compute a row and publish it, after the files and tables that belong to it: where a row is, they are.

    A failure is recorded in the storage with its traceback; it never ends the worker or its trial.

    Args:
        scores: of the trial; an initializer that scores per row is run here instead.
        costs: seconds that the trial's shared stages took, by stage.
        attempt: from 1; more where a worker died before.
        alone: it has its device to itself, so there is no use in giving it more room.

    Raises:
        StorageError: the storage failed, which is no fault of the row.
    """
    stage: StageName = "score"
    begin, started_at = time.perf_counter(), _now()
    if job.store.has_row(job.sweep, str(row.key)):
        return Outcome(None, 0.0)
    places = f"{job.sweep}/progress/{row.key}"
    try:
        seconds = dict(costs)
        if row.scores is not None and not row.scores.shared:
            start = time.perf_counter()
            progress = KeptProgress(job.store, f"{places}/score")
            scores = job.study.score(row.cell, checkpoint, progress)
            seconds["score"] = progress.seconds_before + time.perf_counter() - start
        stage = "evaluate_row"
        progress = KeptProgress(job.store, f"{places}/evaluate_row")
        values = job.study.evaluate_row(row.cell, checkpoint, scores if row.scores is not None else None, progress)
        provenance = {
            "pretrain_s": seconds.get("pretrain"),
            "score_s": seconds.get("score") if row.scores is not None else None,
            "sweep": job.sweep,
            "row_key": str(row.key),
            "spec_hash": job.spec_hash,
            "checkpoint_key": row.checkpoint.key,
            "host": socket.gethostname(),
            "attempt": attempt,
            "started_at": started_at,
            "finished_at": _now(),
            "git_commit": job.git_commit,
            "ray_version": ray.__version__,
            "schema_version": rows.SCHEMA_VERSION,
        }
        beside = job.study.tables.keys() | job.study.files.keys()
        columns = {name: value for name, value in values.items() if name not in beside}
        finished = rows.table({**row.cell, **columns, **provenance}, job.study)
        files = row_files.files(values, job.study)
        for name, table in tables.tables(values, str(row.key), job.study).items():
            job.store.publish_table(job.sweep, name, str(row.key), table)
        for folder, ending, data in files:
            job.store.publish_file(job.sweep, folder, str(row.key), ending, data)
        job.store.publish_row(job.sweep, str(row.key), finished)
        job.store.forget_progress(places)
    except StorageError:
        raise
    except Exception as error:
        needs_room = isinstance(error, MemoryError) and not alone
        if not needs_room:
            record_failure(job, row, stage=stage, error=error)
        return Outcome(cause(error), time.perf_counter() - begin, needs_room)
    return Outcome(None, time.perf_counter() - begin)


def record_failure(job: Job, row: Row, *, stage: str, error: BaseException) -> None:
    """Keep why a row could not be computed."""
    job.store.record_failure(
        job.sweep,
        str(row.key),
        {
            "cell": row.cell,
            "row_key": str(row.key),
            "stage": stage,
            "cause": cause(error),
            "traceback": "".join(traceback.format_exception(error)),
            "host": socket.gethostname(),
            "failed_at": _now(),
        },
    )


def cause(error: BaseException) -> str:
    """Return an error in one line: its type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _call(job: Job, name: StageName, cell: Cell, after: Checkpoint | None, progress: Progress) -> Checkpoint:
    if name == "base":
        return job.study.base(cell, progress)
    if name == "pretrain":
        return job.study.pretrain(cell, after, progress)
    assert after is not None, "there is nothing to score"
    return job.study.score(cell, after, progress)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
