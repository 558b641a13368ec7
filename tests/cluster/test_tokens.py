"""When the driver uses a token: it is settled before Ray starts, in a process that has imported Ray already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

SAY_MODE = """
import sys
from sweeps.engine import cluster
from ray._private.authentication.authentication_utils import is_token_auth_enabled
cluster.set_environment(sys.argv[1] or None)
print(is_token_auth_enabled())
"""


@pytest.mark.parametrize(
    ("address", "has_token", "mode", "used"),
    [
        ("auto", True, None, True),
        ("192.0.2.1:6379", True, None, True),
        ("192.0.2.1:6379", False, None, False),
        ("192.0.2.1:6379", True, "disabled", False),
        ("", False, None, True),
        ("", True, "disabled", False),
    ],
    ids=["auto", "address", "no token", "disabled by the user", "private", "private, disabled by the user"],
)
def test_a_token_is_used_where_there_is_a_cluster_to_join_that_has_one_and_by_a_private_ray(
    tmp_path: Path, address: str, has_token: bool, mode: str | None, used: bool
) -> None:
    if has_token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)} | ({"RAY_AUTH_MODE": mode} if mode else {})
    command = [sys.executable, "-c", SAY_MODE, address]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(used)
    # A private one keeps its own to itself.
    assert (tmp_path / ".ray" / "auth_token").exists() == has_token
