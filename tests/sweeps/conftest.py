"""What tests share: the command line, a storage, a console to read from, and a real S3 server."""

from __future__ import annotations

import io
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from sweeps import cli
from sweeps.storage import Store
from sweeps.storage.backends import notices
from tests.support import s3_server
from tests.support.command_line import Ran, Sweeps

Uri = Callable[..., str]


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Sweeps:
    """Run the command line in this process, in an empty folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["sweeps", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, errors = capsys.readouterr()
        return Ran(int(ended.value.code or 0), output, errors)

    return run


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the storage said of itself."""
    sentences: list[str] = []
    monkeypatch.setattr(notices, "_said", set())
    with notices.listen(sentences.append):
        yield sentences


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty storage, whose name is markup where it is not escaped."""
    return Store(str(tmp_path / "runs [bold]"))


@pytest.fixture
def console() -> Console:
    """Return a console that keeps what is printed."""
    return Console(file=io.StringIO(), width=120, emoji=False)


def text(console: Console) -> str:
    """Return what was printed on `console`."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server, which has one bucket, `bucket`."""
    if not s3_server.PROGRAM.exists():
        pytest.skip("the S3 server of the development tools is there on Linux only")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.ENVIRONMENT.items():
            patch.setenv(name, value)
        with s3_server.running(tmp_path_factory.mktemp("s3")) as endpoint:
            yield endpoint


@pytest.fixture
def s3(s3_endpoint: str) -> Uri:
    """Return a function that names a fresh place in the bucket."""

    def uri(bucket: str = "bucket", endpoint: str = s3_endpoint) -> str:
        return f"s3://{bucket}/a%200/{uuid.uuid4().hex}?endpoint_override={endpoint}&scheme=http"

    return uri
