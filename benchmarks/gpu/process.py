"""The process in which parts run: one after another in the same one, for as long as its device works.

A GPU's context takes seconds to make, and an error that breaks it ends with the process. So parts share a process, and
after a failure that may have harmed it, or a part that had to be stopped, the next part gets a new one.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.gpu.figures import Bench, Figure, Part, Result, Sizes

GRACE = 15.0
"""Seconds that a part may go on for after its time is over, until it has measured what it is at."""

MOST = 300
"""Characters of an error that are told."""


class Worker:
    """A process of its own, started when it is first needed and again once it has been ended."""

    def __init__(self, device: str, sizes: Sizes) -> None:
        """Start nothing yet."""
        self._device, self._sizes = device, sizes
        self._process: Any = None
        self._connection: Connection | None = None

    def run(self, part: Part, *, seconds: float) -> Result:
        """Run a part for so many seconds at most, and a little longer."""
        start = time.monotonic()
        connection = self._begun()
        connection.send((part.run, seconds))
        figures: list[Figure] = []

        def became(state: Any, cause: str = "") -> Result:
            return Result(part.name, state, time.monotonic() - start, tuple(figures), cause)

        while True:
            if not connection.poll(max(0.0, start + seconds + GRACE - time.monotonic())):
                self.end()
                return became("cut short", f"stopped after {seconds + GRACE:.0f} s")
            try:
                kind, what = connection.recv()
            except EOFError:
                assert self._process is not None
                self._process.join()
                code = self._process.exitcode
                self.end()
                return became("failed", f"the process ended with status {code}")
            if kind == "figure":
                figures.append(Figure(*what))
            elif kind == "failed":
                # Whatever it was, the next part shall not suffer for it.
                self.end()
                return became("failed", what)
            else:
                return became("done" if kind == "done" else "cut short", what)

    def end(self) -> None:
        """End the process, if there is one."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None

    def _begun(self) -> Connection:
        if self._connection is None:
            # Not forked: a forked process could not use CUDA if this one had.
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self._device, self._sizes))
            self._process.start()
            theirs.close()
        return self._connection


def _serve(connection: Connection, device: str, sizes: Sizes) -> None:
    """Run the parts that are asked for until nobody is left to ask."""
    # Read when cuBLAS is first used; without it, its results may differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if device == "cpu":
        # Small work is not worth more threads, and cores may be shared; PyTorch reads it when it is imported.
        os.environ["OMP_NUM_THREADS"] = "1"
    while True:
        try:
            path, seconds = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_outcome(connection, path, Bench(device, sizes, time.monotonic() + seconds)))


def _outcome(connection: Connection, path: str, bench: Bench) -> tuple[str, str]:
    module, _, function = path.partition(":")
    try:
        run = getattr(importlib.import_module(module), function)
        for figure in run(bench):
            connection.send(("figure", tuple(figure)))
            if bench.left < 0:
                return "cut short", "its time was over"
    except Exception as error:
        lines = traceback.extract_tb(error.__traceback__)
        where = f" ({lines[-1].filename.rpartition('/')[2]}:{lines[-1].lineno})" if lines else ""
        said = " ".join(str(error).split())[:MOST]
        return "failed", f"{type(error).__name__}: {said}{where}"
    return "done", ""
