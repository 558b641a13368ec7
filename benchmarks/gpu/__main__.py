"""Is a GPU used rightly and well? In six minutes: bars, parity with the CPU, memory, pace, engines.

`python -m benchmarks.gpu --budget 360` needs no network, and Ray for its part `sweep` alone. Parts run in order of
their worth, each for a share of the time; what there is no time for is named. A part that fails is told with its cause,
and the others go on. Where there is no GPU, everything runs small on the CPU: that shows that it works, no more.

Printed is a Markdown table, or JSON with `--format json`; `--write FOLDER` leaves both there, as gpu.md and gpu.json,
anew after every part. The exit status is 1 where a part failed or a figure is not as it must be, else 0.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.gpu import tiny_sweep
from benchmarks.gpu.figures import ON_CPU, ON_GPU, Part, Result, Sizes
from benchmarks.gpu.process import Worker
from benchmarks.gpu.tables import as_json, as_markdown

PARTS = (
    Part("device", "benchmarks.gpu.about:run", least=0, most=30),
    Part("bars: step", "benchmarks.gpu.bars:step", least=20, most=60),
    Part("bars: compact", "benchmarks.gpu.bars:compact_networks", least=10, most=30),
    Part("bars: CUDA graphs", "benchmarks.gpu.bars:replays", least=10, most=30),
    Part("parity", "benchmarks.gpu.parity:run", least=20, most=90),
    Part("out of memory", "benchmarks.gpu.memory:survival", least=15, most=45),
    Part("CUDA graph", "benchmarks.gpu.steps:graphed", least=15, most=40),
    Part("step", "benchmarks.gpu.steps:eager", least=30, most=80),
    Part("timing null", "benchmarks.gpu.engines:null", least=10, most=30),
    Part("teraflops", "benchmarks.gpu.pace:teraflops", least=15, most=45),
    Part("memory", "benchmarks.gpu.memory:batches", least=20, most=50),
    Part("determinism", "benchmarks.gpu.determinism:run", least=15, most=45),
    Part("engines", "benchmarks.gpu.engines:speedups", least=15, most=45),
    tiny_sweep.PART,
    Part("loader", "benchmarks.gpu.pace:loader", least=30, most=60),
    Part("compiled step", "benchmarks.gpu.steps:compiled", least=45, most=240),
)
"""In order of their worth, after what the device is."""

ON_CPU_LONGER = 4.0
"""Times as long as on a GPU that a part may take on a CPU."""

RESERVE = 3.0
"""Seconds of the budget to write down what was found."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts and print what they found; return the exit status."""
    asked = _command_line().parse_args(arguments)
    device = asked.device or _device()
    sizes = ON_CPU if device == "cpu" else ON_GPU
    wanted = [part for part in PARTS if not asked.only or part.name in asked.only or part.name == "device"]

    def told(results: Sequence[Result]) -> None:
        if asked.write is not None:
            asked.write.mkdir(parents=True, exist_ok=True)
            (asked.write / "gpu.json").write_text(as_json(results), encoding="utf-8")
            (asked.write / "gpu.md").write_text(as_markdown(results), encoding="utf-8")

    results = run(wanted, device=device, sizes=sizes, budget=asked.budget, told=told)
    print(as_json(results) if asked.format == "json" else as_markdown(results))
    wrong = [each for each in results if each.state == "failed" or any(f.holds is False for f in each.figures)]
    return 1 if wrong else 0


def run(
    parts: Sequence[Part],
    *,
    device: str,
    sizes: Sizes,
    budget: float,
    told: Callable[[Sequence[Result]], None] = lambda results: None,
) -> list[Result]:
    """Return what became of each part, in order.

    Args:
        parts: to run.
        device: a name of PyTorch's.
        sizes: of the work.
        budget: seconds for all of them.
        told: is called with all results so far, after each.
    """
    end = time.monotonic() + budget - RESERVE
    worker, results = Worker(device, sizes), list[Result]()
    # Times of parts are a GPU's. What runs on a CPU is small, but that may be shared with anything.
    least, most = (0.0, ON_CPU_LONGER) if device == "cpu" else (1.0, 1.0)
    try:
        for part in parts:
            seconds = min(most * part.most, end - time.monotonic())
            if seconds <= 0 or seconds < least * part.least:
                cause = f"{max(0.0, seconds):.0f} s were left of {budget:.0f}, and it takes {part.least:.0f} at least"
                results.append(Result(part.name, "not run", 0.0, cause=cause))
            elif part.name == tiny_sweep.PART.name:
                # Whatever memory this process has in use, the sweep's own processes have not.
                worker.end()
                results.append(tiny_sweep.run(device, seconds=seconds))
            else:
                results.append(worker.run(part, seconds=seconds))
            print(f"{part.name}: {results[-1].state}, {results[-1].seconds:.0f} s", file=sys.stderr)
            told(results)
    finally:
        worker.end()
    return results


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > RESERVE:
        raise argparse.ArgumentTypeError(f"found {text}, expected more than {RESERVE:g} seconds")
    return seconds


def _command_line() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--budget", type=_seconds, default=360.0, metavar="SECONDS", help="for everything (%(default)s)")
    made.add_argument("--device", help="such as cuda or cpu; by default the GPU, where there is one")
    made.add_argument("--only", action="append", choices=[part.name for part in PARTS], help="this part (repeatable)")
    made.add_argument("--format", choices=["table", "json"], default="table", help="what to print (%(default)s)")
    made.add_argument("--write", type=Path, metavar="FOLDER", help="where to write gpu.json and gpu.md")
    return made


if __name__ == "__main__":
    sys.exit(main())
