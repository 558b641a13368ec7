"""Sweeps of the layered study on storage, run without an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sweeps import spec
from sweeps.planning import kept_rows, plan
from sweeps.planning.plan import Plan
from sweeps.spec import Spec, recorded
from sweeps.storage import Store, rows
from tests.support.layered_study import SPEC

TIMES = {"started_at": "2026-01-01T00:00:00+00:00", "finished_at": "2026-01-01T00:00:02+00:00"}


class LayeredSweep:
    """Runs sweeps of the layered study without an engine: heights count the rows, in the order they are made in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.made = folder, Store(str(folder)), 0

    def load(self, *changes: str) -> Spec:
        return kept_rows.carried(spec.parse(SPEC, "layered.yaml", changes), self.store)

    def plan(self, *changes: str) -> Plan:
        return plan.make(self.load(*changes), self.store)

    def run(self, *changes: str) -> Plan:
        loaded = self.load(*changes)
        found = plan.make(loaded, self.store)
        found.check_unchanged("here")
        kept_rows.publish(loaded, self.store, found.kept, found.cells_of(found.failed))
        self.store.write_spec(loaded.name, loaded.to_yaml())
        recorded.write(replace(loaded, merged=found.merged), self.store)
        for row in (row for trial in found.todo for row in trial.rows):
            self.made += 1
            provenance: dict[str, Any] = {name: kind(0) for name, kind in rows.PROVENANCE.items()}
            provenance |= {"code": None, "files_key": None, "row_key": str(row.key), **TIMES}
            measured = {"height": self.made / 7, "grow_s": 1.0, "tune_s": None}
            table = rows.table({**row.cell, **measured, **provenance}, loaded.study)
            self.store.publish_row(loaded.name, str(row.key), table)
        return found

    def read(self) -> pd.DataFrame:
        """Return the rows as pandas finds them, with what the keys are in front."""
        return pd.read_parquet(self.folder / "layered" / "results")

    def heights(self) -> dict[str, float]:
        return dict(zip(self.read()["row_key"], self.read()["height"], strict=True))

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / "layered" / "results").iterdir()}
