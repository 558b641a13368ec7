"""What a sweep asks of an object store, by operation: requests, bytes, and seconds where each request takes a while.

A real S3 server on this machine holds a sweep of many published rows; the operations go to it through a proxy that
counts requests and delays each. `--rows` is how many rows are there before: looking up a trial must not depend on it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import simulated_study
from benchmarks.output import parser, write
from sweeps import spec
from sweeps.engine import tasks
from sweeps.engine.job import job_of
from sweeps.planning import plan as planning
from sweeps.planning.keys import digest
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.storage.leases import Leases
from tests.support import counting_proxy, s3_server

FAILED = 1000


def main() -> None:
    """Fill a bucket, measure, and print the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=100_000, help="published before (default: 100000)")
    arguments.add_argument("--delay-ms", type=float, default=30.0, help="of each request (default: 30)")
    given = arguments.parse_args()
    os.environ.update(s3_server.ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="sweeps-storage-") as folder:
        diary = Path(folder, "diary")
        diary.mkdir()
        changes = [f"diary={diary}", "pretrain=0.0", "score=0.0", "ratio=0.0"]
        loaded = spec.parse(simulated_study.SPEC, "simulated", changes)
        with s3_server.running(Path(folder)) as endpoint, counting_proxy.before(endpoint) as proxy:
            direct, counted = (
                f"s3://bucket/runs?scheme=http&endpoint_override={address}"
                for address in (endpoint, f"http://127.0.0.1:{proxy.port}")
            )
            rows = fill(Store(direct), loaded, given.rows)
            proxy.delay_s = given.delay_ms / 1000
            figures = {"rows_before": rows, "delay_ms": given.delay_ms, **measure(counted, loaded, proxy)}
    write(figures, given.format)


def fill(store: Store, loaded: Spec, count: int) -> int:
    """Publish as many rows, and some failures, as if a sweep had left them; return how many."""
    store.write_spec(loaded.name, loaded.to_yaml())
    names = [f"{loaded.name}/results/{digest(number)}-{digest([number])}.parquet" for number in range(count)]
    start = time.monotonic()
    for first in range(0, count, 10_000):
        # Nobody reads these; a row's file is about this large.
        store.files.publish_many(names[first : first + 10_000], bytes(4000))
        print(f"{min(first + 10_000, count)} rows after {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return count


def measure(location: str, loaded: Spec, proxy: counting_proxy.Proxy) -> dict[str, Any]:
    """Return what each operation took."""
    figures: dict[str, Any] = {}

    @contextlib.contextmanager
    def counted(name: str) -> Iterator[None]:
        proxy.clear()
        start = time.perf_counter()
        yield
        figures[f"requests_per_{name}"] = len(proxy.asked)
        figures[f"bytes_sent_per_{name}"], figures[f"bytes_received_per_{name}"] = proxy.sent, proxy.received
        figures[f"{name}_s"] = time.perf_counter() - start
        print(f"{name}: {dict(proxy.counts)}", file=sys.stderr, flush=True)

    job = job_of(loaded, Store(location))
    with counted("open"):
        store = job.store
    everything = planning.trials(loaded)
    trial = everything[0]
    # What a process finds out once, with its first file.
    store.files.check_writable()
    with counted("listing_of_all_rows"):
        store.row_keys(loaded.name)
    with counted("trial_start"):
        store.settled(loaded.name, [str(row.key) for row in trial.rows])
    with Leases(store.files, loaded.name, beat_every_s=3600) as leases:
        with counted("claim"):
            leases.claim({"trial-1", *(stage.key for stage in trial.shared)})
        with counted("100_claims"):
            leases.claim_each([{f"trial-{number}"} for number in range(100, 200)])
        with counted("check_of_leases"):
            leases.check()
        with counted("heartbeat"):
            leases._beat()
        with counted("release"):
            leases.release({"trial-1"})
    pretrain, score = trial.shared
    with counted("checkpoint"):
        weights = tasks.compute_stage(job, pretrain.name, pretrain.key, trial.cell_of(pretrain), axes=pretrain.axes)
    with counted("checkpoint_from_another"):
        declared: dict[str, Any] = {"reads": score.reads, "axes": score.axes}
        scores = tasks.compute_stage(job, score.name, score.key, trial.cell_of(score), weights, **declared)
    with counted("checkpoint_load"):
        store.load_checkpoint(pretrain.key)
    shared = [read_only(weights), read_only(scores)]
    with counted("row"):
        outcome = tasks.compute_row(job, trial.rows[0], {}, 1, True, [pretrain.key, score.key], *shared)
    assert outcome.failure is None, outcome.failure
    failed = [str(row.key) for each in everything for row in each.rows][:FAILED]
    failed += [f"{digest(number)}-failed" for number in range(FAILED - len(failed))]
    store.files.publish_many([f"{loaded.name}/failures/{key}.json" for key in failed], b"{}\n")
    with counted("trial_start_beside_1000_failures"):
        store.settled(loaded.name, [str(row.key) for row in everything[1].rows])
    with counted(f"retry_failed_{FAILED}"):
        store.forget_failures(loaded.name, failed)
    return figures


def read_only(checkpoint: Any) -> dict[str, Any]:
    """Return arrays as a worker sees them in the object store."""
    arrays = {name: np.array(array) for name, array in checkpoint.items()}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


if __name__ == "__main__":
    main()
