"""What was found, as JSON for programs and as Markdown for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from benchmarks.gpu.figures import Result, Value


def as_json(results: Sequence[Result]) -> str:
    """Return one object: `parts`, each with its state, seconds, cause and figures."""
    parts = [
        {
            "part": result.part,
            "state": result.state,
            "seconds": round(result.seconds, 1),
            "cause": result.cause,
            "figures": [figure._replace(value=_finite(figure.value))._asdict() for figure in result.figures],
        }
        for result in results
    ]
    return json.dumps({"parts": parts}, indent=1, ensure_ascii=False)


def as_markdown(results: Sequence[Result]) -> str:
    """Return a table of all figures, and below it what became of each part."""
    lines = ["| part | figure | value | as it must be |", "| --- | --- | ---: | --- |"]
    lines += [line for result in results for line in _figures(result)]
    lines += ["", "| part | state | seconds | |", "| --- | --- | ---: | --- |"]
    for result in results:
        lines.append(f"| {result.part} | {result.state} | {result.seconds:.0f} | {_cell(result.cause)} |")
    return "\n".join([*lines, ""])


def _figures(result: Result) -> Iterator[str]:
    for name, value, unit, holds in result.figures:
        mark = {True: "yes", False: "**no**", None: ""}[holds]
        yield f"| {result.part} | {_cell(name)} | {_cell(' '.join(filter(None, [_shown(value), unit])))} | {mark} |"


def _finite(value: Value) -> Value:
    """Return a value that JSON has."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
