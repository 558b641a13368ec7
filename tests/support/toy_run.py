"""A toy sweep in a folder of its own, run as a user would, with the diary of what its stages did."""

from __future__ import annotations

import io
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from sweeps import load_results, running, spec
from sweeps.errors import StoppedError, SweepError
from sweeps.reporting import reports
from sweeps.storage import Store
from tests.support import processes, toy_study


class ToyRun:
    def __init__(self, folder: Path, storage: Path | str | None = None) -> None:
        self.location = str(storage or folder / "runs")
        self.storage, self.diary, self.spec = Path(self.location), folder / "diary", folder / "toy.yaml"
        self.diary.mkdir(parents=True)
        self.spec.write_text(toy_study.SPEC)

    def arguments(self, *changes: str) -> list[str]:
        sets = [f"--set={change}" for change in (f"diary={self.diary}", *changes)]
        return ["run", str(self.spec), "--storage", self.location, *sets]

    def start(self, *changes: str) -> subprocess.Popen[str]:
        return processes.start(*self.arguments(*changes))

    def started(self, *changes: str, until: Callable[[], bool]) -> subprocess.Popen[str]:
        """Start a run, and return it when something has come true."""
        driver = self.start(*changes)
        processes.wait_until(lambda: until() or driver.poll() is not None, "the run to get on")
        assert driver.poll() is None, driver.communicate()[0]
        return driver

    def run(self, *changes: str, status: int = 0, address: str | None = None) -> str:
        joined = [] if address is None else ["--address", address]
        return processes.run(*self.arguments(*changes), *joined, status=status)

    def run_here(self, *changes: str, status: int = 0, **options: Any) -> str:
        """Run in this process, on the Ray that it is connected to; return what was printed."""
        printed = io.StringIO()
        console = Console(file=printed, width=120, highlight=False, emoji=False)
        ended = 0
        try:
            loaded = spec.load(str(self.spec), [f"diary={self.diary}", *changes])
            store = Store(self.location)
            after = running.run(loaded, store, console, **options)
            reports.show(loaded, store, after, console)
            ended = reports.exit_status(after)
        except SweepError as error:
            console.print(f"Error: {error}", markup=False, soft_wrap=True)
            ended = 1 if isinstance(error, StoppedError) else 2
        assert ended == status, printed.getvalue()
        return printed.getvalue()

    def outcomes(self) -> pd.DataFrame:
        axes = [axis.name for axis in toy_study.ToyStudy.axes]
        return load_results(Store(self.location).describe("toy"))[[*axes, "outcome"]]

    def stages(self) -> Counter[str]:
        """How often each stage was begun."""
        return Counter(entry.name.split()[0] for entry in self.diary.iterdir())

    def rows_there(self) -> int:
        return len(list((self.storage / "toy" / "results").glob("*.parquet")))

    def snapshot(self) -> dict[str, int]:
        """When each published row and checkpoint was written."""
        published = [*self.storage.glob("*/results/*.parquet"), *self.storage.glob("checkpoints/*/meta.json")]
        return {str(path): path.stat().st_mtime_ns for path in published}

    def claims(self) -> list[Path]:
        """What leases are left."""
        return [path for path in (self.storage / ".leases").rglob("*") if path.is_file()]
