"""What a worker process computes: one stage, or one row. Plain functions; where they run is told in `worker`."""

from __future__ import annotations

import json
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import ray

from sweeps import __version__
from sweeps.engine.declared import DeclaredCell, UndeclaredError
from sweeps.engine.job import Job
from sweeps.engine.progress.reports import StageReports, Tell, nobody
from sweeps.errors import NodeError, SpecError, StorageError, StudyError
from sweeps.planning.fingerprints import code_of, merged, outdated, row_today
from sweeps.planning.plan import Row
from sweeps.planning.trials import label_of
from sweeps.planning.underway import UnderWay
from sweeps.storage import row_files, rows, tables
from sweeps.storage.progress import KeptProgress
from sweeps.storage.store import Settled, recorded_code
from sweeps.study import Cell, Checkpoint, Progress, Study, is_device_lost

_READ_ONLY = ("assignment destination is read-only", "output array is read-only")
"""What numpy says of arrays that many processes share."""


class Outcome(NamedTuple):
    """What became of a row: published where `failure` is None, else what is to be kept of its failure.

    Nothing is recorded yet: where the device's memory was too small for the row beside others (`needs_room`) it may be
    tried alone, where the device broke (`device_is_broken`) in another process, and else on another node.
    """

    failure: dict[str, Any] | None
    seconds: float
    needs_room: bool = False
    device_is_broken: bool = False
    node: str | None = None
    host: str = ""


def compute_stage(
    job: Job,
    name: str,
    key: str,
    cell: Cell,
    *results: Checkpoint | None,
    reads: Sequence[str | None] = (),
    fields: tuple[str, ...] | None = None,
    axes: Sequence[str] = (),
    tell: Tell = nobody,
) -> Checkpoint:
    """Compute a shared stage, publish it under its key, and return what is published there.

    Args:
        results: that the stage reads, in order.
        reads: their keys.
        fields: the settings it may look at; None: all.
        axes: of the cell, that it may look at.
        tell: whom to tell how far it is.

    Raises:
        StudyError: the study breaks what it declares.
        StorageError: the storage failed.
        NodeError: this node cannot run the study.
    """
    make_study(job)
    code = merged(code_of(job.study, name, cell), [_code(job.store.checkpoint_meta(each)) for each in reads if each])
    # A worker of a run that died may have published it since.
    published = job.store.load_published(key)
    if published is not None and not outdated(_code(published.meta), code, job.recompute):
        return published.tensors
    start, started_at = time.perf_counter(), _now()
    report = StageReports(tell, key, _under_way(job.study, name, cell))
    progress = KeptProgress(job.store, f"checkpoints/{key}/progress", every_s=job.progress_every_s, report=report)
    study, own = job.study_at(cell, fields)
    checkpoint = call(study, name, DeclaredCell(own, axes), results, progress)
    if not isinstance(checkpoint, Mapping) or not all(isinstance(array, np.ndarray) for array in checkpoint.values()):
        raise StudyError(f"stage {name!r}: found a {type(checkpoint).__name__}, expected named arrays")
    meta = {
        "stage": name,
        "cell": cell,
        "seconds": progress.seconds_before + time.perf_counter() - start,
        "started_at": started_at,
        "host": socket.gethostname(),
        "git_commit": job.git_commit,
        "code": code,
    }
    winner = job.store.publish_checkpoint(key, checkpoint, meta, replace=published is not None)
    progress.forget()
    # Where another run published first, rows are made from what it published: there is one result of a key.
    return checkpoint if winner is None else winner.tensors


def compute_row(
    job: Job,
    row: Row,
    metas: Mapping[str, Mapping[str, Any]],
    attempt: int,
    alone: bool,
    keys: Sequence[str] = (),
    *shared: Checkpoint,
    tell: Tell = nobody,
) -> Outcome:
    """Compute a row and publish it, after the files and tables that belong to it: where a row is, they are.

    A failure is returned with its traceback; it never ends the worker or its trial.

    Args:
        metas: what was published with the shared results that the row goes through, such as `seconds`, by key.
        attempt: from 1; more where a worker died before.
        alone: it has its device to itself, so there is no use in giving it more room.
        keys: of the shared results.
        shared: the results themselves.
        tell: whom to tell how far it is.

    Raises:
        StorageError: the storage failed, which is no fault of the row.
        StudyError: the study breaks what it declares, which is none either.
        NodeError: this node cannot run the study, nor is that one.
    """
    *_, last = make_study(job).stages
    name = last
    begin, started_at = time.perf_counter(), _now()
    code = _code_of_row(job, row, metas)
    replace = job.store.has_row(job.sweep, str(row.key))
    if replace and not row_outdated(job, row):
        return Outcome(None, 0.0)
    began: list[KeptProgress] = []

    def progress_of(stage: str) -> KeptProgress:
        place, about = f"{job.sweep}/progress/{row.key}/{stage}", _under_way(job.study, stage, row.cell, of_row=True)
        report = StageReports(tell, str(row.key), about)
        began.append(KeptProgress(job.store, place, every_s=job.progress_every_s, report=report))
        return began[-1]

    try:
        results: dict[str | None, Checkpoint | None] = {None: None, **dict(zip(keys, shared, strict=True))}
        seconds = {stage.name: metas.get(stage.key, {}).get("seconds") for stage in row.stages if stage.shared}
        for stage in row.own:
            name, start = stage.name, time.perf_counter()
            progress = progress_of(name)
            read = [results[key] for key in stage.reads]
            study, own = job.study_at(row.at, stage.fields)
            results[stage.key] = call(study, name, DeclaredCell(own, stage.axes), read, progress)
            seconds[name] = progress.seconds_before + time.perf_counter() - start
        name = last
        study, own = job.study_at(row.at, row.fields)
        values = call(study, last, own, [results[key] for key in row.reads], progress_of(last))
        whole, _ = job.study_at(row.at)
        rows.check_returned(values, whole)
        files_key = rows.files_key(str(row.key))
        lines = tables.tables(values, str(row.key), files_key, whole)
        files = row_files.files(values, whole)
        checkpoint_key = row.checkpoint.key if row.checkpoint is not None else None
        provenance = {
            **{f"{stage}_s": seconds.get(stage) for stage in job.study.stages[:-1]},
            "sweep": job.sweep,
            "row_key": str(row.key),
            "spec_hash": job.spec_hash,
            "checkpoint_key": checkpoint_key,
            "checkpoint_sha256": metas.get(checkpoint_key or "", {}).get("sha256"),
            "files_key": files_key if lines or files else None,
            "host": socket.gethostname(),
            "attempt": attempt,
            "started_at": started_at,
            "finished_at": _now(),
            "git_commit": job.git_commit,
            "ray_version": ray.__version__,
            "schema_version": rows.SCHEMA_VERSION,
            "sweeps_version": __version__,
            "code": json.dumps(code, sort_keys=True),
        }
        beside = whole.tables.keys() | whole.files.keys()
        columns = {column: value for column, value in values.items() if column not in beside}
        finished = rows.table({**row.cell, **columns, **provenance}, job.study)
        job.store.publish_attempt(
            job.sweep, str(row.key), finished, files_key=files_key, tables=lines, files=files, replace=replace
        )
        for progress in began:
            progress.forget()
    except (StorageError, StudyError, NodeError):
        raise
    except Exception as error:
        return Outcome(
            failure_of(name, error),
            time.perf_counter() - begin,
            needs_room=isinstance(error, MemoryError) and not alone,
            device_is_broken=is_device_lost(error),
        )
    return Outcome(None, time.perf_counter() - begin)


def _under_way(study: Study, name: str, cell: Cell, *, of_row: bool = False) -> UnderWay:
    """Return a stage that has not said anything yet."""
    row = f"{study.row_axis} {cell[study.row_axis]}" if of_row else ""
    return UnderWay(name, label_of(cell, study), row, "", 0, 0, {})


def failure_of(stage: str, error: BaseException) -> dict[str, Any]:
    """Return what is kept of a failure, in plain values; which row it is of is added by `record_failure`."""
    return {
        "stage": stage,
        "cause": cause(error),
        "traceback": "".join(traceback.format_exception(error)),
        "host": socket.gethostname(),
        "failed_at": _now(),
    }


def record_failure(job: Job, row: Row, failure: Mapping[str, Any]) -> None:
    """Keep why a row could not be computed."""
    job.store.record_failure(job.sweep, str(row.key), {"cell": row.cell, "row_key": str(row.key), **failure})


def cause(error: BaseException) -> str:
    """Return an error in one line: its type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def make_study(job: Job) -> Study:
    """Return a job's study, made in this process once.

    Raises:
        NodeError: it could be made where the sweep was started, and cannot here.
    """
    try:
        return job.study
    except (SpecError, ImportError) as error:
        raise NodeError(cause(error) if isinstance(error, ImportError) else str(error)) from error


def call(study: Study, name: str, cell: Cell, results: Sequence[Checkpoint | None], progress: Progress) -> Any:
    """Run a stage.

    Raises:
        StudyError: it reads a setting or an axis that it does not declare, or writes into a result that it was handed.
        NodeError: it imports what is not there.
    """
    try:
        return getattr(study, name)(cell, *results, progress)
    except ImportError as error:
        raise NodeError(cause(error)) from error
    except UndeclaredError as error:
        raise StudyError(
            f"stage {name!r} reads the {error.kind} {error.path!r}, which it does not declare: expected it in "
            f"Stage.{'axes' if error.kind == 'axis' else 'fields'}"
        ) from error
    except ValueError as error:
        if str(error) in _READ_ONLY:
            raise StudyError(
                f"stage {name!r} writes into a result that it was handed ({error}), which others read too: "
                "expected it to write into a copy"
            ) from error
        raise


def _code(meta: Mapping[str, Any] | None) -> dict[str, str]:
    return (meta or {}).get("code") or {}


def _code_of_row(job: Job, row: Row, metas: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the code of a row, its own stages, and what they are made from."""
    names = [*(stage.name for stage in row.own), job.study.stages[-1]]
    own = {label: found for name in names for label, found in code_of(job.study, name, row.at).items()}
    return merged(own, [_code(metas.get(stage.key)) for stage in row.stages if stage.shared and stage.key in row.read])


def settled(job: Job, rows: Sequence[Row]) -> Settled:
    """Return the keys of rows that are published by code that need not be run again, and of those that have failed."""
    published, failed = job.store.settled(job.sweep, [str(row.key) for row in rows])
    old = {str(row.key) for row in rows if str(row.key) in published and row_outdated(job, row)}
    if old:
        # Their failures are those of this attempt to make them again.
        failed |= job.store.failure_keys(job.sweep) & old
    return Settled(published - old, failed)


def row_outdated(job: Job, row: Row) -> bool:
    """Say whether a published row is to be made again with today's code."""
    if not job.recompute:
        return False
    published = job.store.read_row(job.sweep, str(row.key))
    code = None
    if published is not None and "code" in published.column_names:
        code = recorded_code(published["code"][0].as_py())
    return outdated(code, row_today(job.study, row), job.recompute)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
