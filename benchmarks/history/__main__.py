"""Runs the short benchmarks and keeps their ratios as the figures of this commit; says which are slower than before.

Every benchmark is run `--rounds` times, in turns with the others. Ratios alone are kept, with their spread over rounds
and with the ratio of two equals where a benchmark measures it, and compared with the latest earlier commit that was
measured on the same kind of processor with as many cores: times of different machines say nothing of each other, and
ratios little. A ratio that fell further than both spreads together, and than 5%, is a slowdown.

The figures of a tree with changes that are not committed are compared, and not kept. With `--compare` nothing is
measured: the latest file of this processor is compared with that before.

Exit status: 0 nothing is slower; 1 something is, or a benchmark failed; 2 there is nothing to compare, or a file is
wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.history import comparison
from benchmarks.history.record import FOLDER, Record, before, figures, processor, read, versions
from benchmarks.history.short import SHORT, Ratio, Short, run
from robustprune.core.errors import InputError


def main() -> None:
    """Measure, keep and compare."""
    arguments = _command_line().parse_args()
    try:
        records = read(arguments.folder)
        if arguments.compare:
            sys.exit(compared(records, latest(records)))
        chosen = [short for short in SHORT if short.benchmark in arguments.only]
        record = measured(chosen, arguments.rounds)
        if changed_files():
            print(f"Not kept: there are changes that are not committed ({', '.join(changed_files()[:3])}).")
        elif len(chosen) < len(SHORT):
            print("Not kept: not all benchmarks were run.")
        else:
            print(f"Kept as {record.write(arguments.folder)}.")
        sys.exit(compared(records, record))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def measured(shorts: Sequence[Short], rounds: int) -> Record:
    """Run benchmarks in turns, so many rounds of them, and return the figures of this commit."""
    found: list[dict[str, Ratio]] = []
    failed: dict[str, str] = {}
    for turn in range(rounds):
        for short in shorts:
            print(f"round {turn + 1} of {rounds}: {short.benchmark}", file=sys.stderr)
            try:
                found.append(run(short))
            except ChildProcessError as error:
                failed[short.benchmark] = str(error)
    return Record(
        commit=_git("rev-parse", "HEAD"),
        date=datetime.now(UTC).replace(microsecond=0),
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        versions=versions(),
        figures=figures(found),
        failed=failed,
    )


def compared(records: Sequence[Record], record: Record) -> int:
    """Print a sentence for each figure, and return the exit status."""
    for benchmark, why in record.failed.items():
        print(f"FAILED  {benchmark}: {why}.")
    for name, figure in record.figures.items():
        print(f"{name}: {figure.median:.3g} ± {figure.spread:.0%}, {len(figure.values)} rounds.")
    then = before(records, record)
    if then is None:
        print(f"No earlier figures of {record.processor} with {record.cores} cores to compare with.")
        return 1 if record.failed else 0
    print(f"Compared with {then.commit[:12]} of {then.date:%Y-%m-%d}:")
    changes = comparison.changes(then, record)
    for change in changes:
        print(change)
    for name in comparison.lost(then, record):
        print(f"gone    {name}.")
    if then.versions != record.versions:
        others = [f"{name} {then.versions.get(name)}" for name in record.versions if _differs(name, then, record)]
        print(f"That was with {', '.join(others)}: a change may be theirs.")
    return 1 if record.failed or any(change.is_slower for change in changes) else 0


def latest(records: Sequence[Record]) -> Record:
    """Return the latest of the records of this machine.

    Raises:
        InputError: there is none.
    """
    machine = (processor(), len(os.sched_getaffinity(0)))
    own = [record for record in records if (record.processor, record.cores) == machine]
    if not own:
        raise InputError(f"found no figures of {machine[0]} with {machine[1]} cores, expected a file of them")
    return own[-1]


def changed_files() -> list[str]:
    """Return the files that differ from the commit; figures are none of the code."""
    changed = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    names = [line.split(maxsplit=1)[-1] for line in changed]
    return [name for name in names if not name.startswith("benchmarks/history/files/")]


def _differs(name: str, then: Record, now: Record) -> bool:
    return then.versions.get(name) != now.versions[name]


def _git(*command: str) -> str:
    ran = subprocess.run(["git", *command], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise InputError(f"git {command[0]}: {ran.stderr.strip()}, expected a clone of the repository")
    return ran.stdout.strip()


def _command_line() -> argparse.ArgumentParser:
    names = list(dict.fromkeys(short.benchmark for short in SHORT))
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.history", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=3, help="of all benchmarks (%(default)s)")
    made.add_argument("--only", nargs="+", choices=names, default=names, help="run these, and keep no file")
    made.add_argument("--compare", action="store_true", help="measure nothing, compare what there is")
    made.add_argument("--folder", type=Path, default=FOLDER, help="of the files (%(default)s)")
    return made


if __name__ == "__main__":
    main()
