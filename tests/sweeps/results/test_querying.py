"""docs/querying.md is true: its blocks run in order in one namespace, and print what stands below them.

    WRITE_OUTPUTS=1 python -m pytest tests/sweeps/test_querying.py

writes the outputs anew, to be read before they are committed.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest

from sweeps.reporting.page.sections.cost import cost
from sweeps.results.origins import Origins
from sweeps.storage import Store
from tests.support import demo_sweep
from tests.support.roles import ROLES

PAGE = Path(__file__).parents[3] / "docs" / "querying.md"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)


@pytest.fixture
def storage(tmp_path: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with `runs/demo` and `runs/longer`; the first is in a bucket too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.chdir(tmp_path)
    demo_sweep.publish(Store("runs"))
    bucket, _ = pyarrow.fs.FileSystem.from_uri("s3://bucket")
    for part in ("spec.yaml", "results"):
        place = f"runs/demo/{part}"
        pyarrow.fs.copy_files(place, f"bucket/{place}", destination_filesystem=bucket)


@pytest.mark.usefixtures("storage")
def test_every_output_is_what_the_lines_above_it_print() -> None:
    page = PAGE.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {}
    printed = BLOCK.sub(printing(namespace), page)
    if os.environ.get("WRITE_OUTPUTS"):
        PAGE.write_text(printed, encoding="utf-8")
    assert printed == page
    costs = cost(namespace["models"], roles=ROLES, origins=Origins(("pretrain", "score")))
    assert [namespace["paid"], namespace["alone"]] == pytest.approx(costs[["seconds", "alone"]].sum().tolist())


def printing(namespace: dict[str, Any]) -> Callable[[re.Match[str]], str]:
    """Return a function that runs a block, after those it ran before, and returns it with what it printed."""

    def run(block: re.Match[str]) -> str:
        line = block.string.count("\n", 0, block.start("code"))
        code = compile("\n" * line + block["code"], str(PAGE), "exec")
        with redirect_stdout(io.StringIO()) as said:
            exec(code, namespace)
        lines = [line.rstrip() for line in said.getvalue().rstrip().splitlines()]
        output = "\n".join(["```", *lines, "```", ""])
        return f"```python\n{block['code']}```\n" + (f"\n{output}" if lines else "")

    return run
