"""Toy sweeps on storage without an engine: rows, failures and checkpoints put there by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sweeps import spec
from sweeps.planning import plan
from sweeps.planning.plan import Plan, Row
from sweeps.spec import Spec
from sweeps.storage import Store, rows
from sweeps.study import Cell
from tests.support.toy_study import SPEC


def load(*changes: str) -> Spec:
    """Return the toy spec with changes laid over it."""
    return spec.parse(SPEC, "toy.yaml", changes)


def all_rows(found: Plan) -> list[Row]:
    """Return every row of a plan, the baseline first."""
    return [row for trial in found.trials for row in trial.rows]


def outcome(cell: Cell) -> float:
    """Return a metric that differs between methods, the more so at higher doses, and a little between seeds."""
    dose, seed = float(cell["dose"]), float(cell["seed"])
    return 1 / 3 - 0.1 * dose * len(str(cell["method"])) + 0.01 * seed * (1 + dose) * len(str(cell["shape"]))


def values(row: Row, loaded: Spec, **changes: Any) -> dict[str, Any]:
    """Return what a finished row of the toy study holds."""
    measured = {
        "outcome": outcome(row.cell),
        "effort_s": 2.0,
        "machine": "toy",
        "base_s": 0.5,
        "pretrain_s": 1.5,
        "score_s": None,
    }
    provenance: dict[str, Any] = {name: kind(0) for name, kind in rows.PROVENANCE.items()}
    provenance |= {"code": None, "files_key": None}
    said = {"sweep": loaded.name, "row_key": str(row.key)}
    said |= {"started_at": "2026-01-01T00:00:00+00:00", "finished_at": "2026-01-01T00:00:02+00:00"}
    return {**row.cell, **measured, **provenance, **said, **changes}


def publish(store: Store, loaded: Spec, wanted: Iterable[Row] | None = None, **changes: Any) -> None:
    """Publish rows of a sweep, all of them by default, and the spec beside them."""
    store.write_spec(loaded.name, loaded.to_yaml())
    for row in all_rows(plan.make(loaded, store)) if wanted is None else wanted:
        store.publish_row(loaded.name, str(row.key), rows.table(values(row, loaded, **changes), loaded.study))


def publish_checkpoints(store: Store, keys: Sequence[str], seconds: float = 1.0) -> None:
    """Publish checkpoints that say what stage they are of."""
    for key in keys:
        meta = {"stage": key.split("-")[0], "seconds": seconds}
        store.publish_checkpoint(key, {"weights": np.zeros(1)}, meta)


def fail(store: Store, loaded: Spec, wanted: Iterable[Row], cause: str = "ArithmeticError: not a number") -> None:
    """Record that rows failed."""
    store.write_spec(loaded.name, loaded.to_yaml())
    for row in wanted:
        failure = {"cell": row.cell, "row_key": str(row.key), "stage": "evaluate_row", "cause": cause}
        failure |= {"traceback": f"Traceback:\n  {cause}\n", "host": "toy", "failed_at": "2026-01-01T00:00:00+00:00"}
        store.record_failure(loaded.name, str(row.key), failure)
