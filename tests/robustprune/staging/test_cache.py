"""Where copies are kept, and who takes turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from robustprune.core.errors import InputError
from robustprune.staging import cache
from robustprune.staging.cache import cache_folder, one_at_a_time


@pytest.fixture
def _nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ROBUSTPRUNE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))


@pytest.mark.usefixtures("_nothing_named")
def test_the_folder_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "home/.cache/robustprune"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/robustprune"
    monkeypatch.setenv("ROBUSTPRUNE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


@pytest.mark.usefixtures("_nothing_named")
def test_a_home_that_cannot_be_written_has_a_stand_in(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    expected = tmp_path / f"robustprune-{os.getuid()}"
    assert cache_folder() == cache_folder() == expected
    assert expected.stat().st_mode & 0o777 == 0o700
    expected.rmdir()
    expected.symlink_to(tmp_path)
    with pytest.raises(InputError, match="found somebody else's, expected a folder of this user"):
        cache_folder()


def test_one_waits_for_the_other_until_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0)
    program = (
        "import sys, time, pathlib; from robustprune.staging.cache import one_at_a_time\n"
        "with one_at_a_time(pathlib.Path(sys.argv[1]), 'waits'): print('in', flush=True); time.sleep(60)"
    )
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        monkeypatch.setattr("time.sleep", lambda seconds: other.kill())
        with one_at_a_time(path, "waits"):
            assert capsys.readouterr().err == "waits\n"
