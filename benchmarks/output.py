"""How a benchmark prints what it measured: a table for people, csv and json for programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a command line with the `--format` that all benchmarks share."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--format", choices=["table", "csv", "json"], default="table")
    return made


def write(figures: Mapping[str, Any] | Sequence[Mapping[str, Any]], form: str) -> None:
    """Print one set of named figures, or several as the rows of a table."""
    frame = pd.DataFrame([figures] if isinstance(figures, Mapping) else figures)
    if form == "csv":
        frame.to_csv(sys.stdout, index=False)
    elif form == "json":
        frame.to_json(sys.stdout, orient="records", indent=1)
        sys.stdout.write("\n")
    elif len(frame) > 1:
        print(frame.to_string(index=False, float_format="{:.4g}".format))
    else:
        print(frame.T.to_string(header=False, float_format="{:.4g}".format))
