"""What passes is waited for, said once, and then done exactly once; what does not pass is said at once."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import StorageError
from sweeps.storage.backends import notices, retry
from sweeps.storage.files import Files

PASSING = [
    OSError("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate. (HTTP 503)"),
    OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 28, Timeout was reached"),
    OSError(
        "Generic S3 error: Error performing PUT http://127.0.0.1:1/bucket/a in 1.2s - Server returned non-2xx status "
        "code: 503 Service Unavailable: <Code>SlowDown</Code>"
    ),
    OSError("Generic S3 error: Error performing GET http://h/b in 10ms - HTTP error: error sending request"),
    OSError("Generic GCS error: Client error with status 429 Too Many Requests: rateLimitExceeded"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ETIMEDOUT, "Connection timed out"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
]
LASTING = [
    OSError("AWS Error ACCESS_DENIED during PutObject operation: 503 is part of a name"),
    OSError("Generic S3 error: Server returned non-2xx status code: 400 Bad Request: NoSuchBucket a-503-b"),
    OSError(
        "Generic S3 error: Error performing PUT http://h/throttled/status-503 in 1ms after 0 retries, max_retries: 0, "
        "retry_timeout: 180s - Server returned non-2xx status code: 400 Bad Request"
    ),
    retry.RefusedError("The operation lacked the necessary privileges to complete: Client error with status 403"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EROFS, "Read-only file system"),
    PermissionError(errno.EACCES, "Permission denied"),
]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; the clock goes on by that much and no more."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(waited))
    return waited


@pytest.fixture
def said() -> Iterator[list[str]]:
    sentences: list[str] = []
    with notices.listen(sentences.append):
        yield sentences


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path))


def failing(
    files: Files, monkeypatch: pytest.MonkeyPatch, method: str, *errors: OSError, after: bool = False
) -> list[Any]:
    """Let calls of a method fail in turn, each before or after it has done its work; return the calls."""
    real, left, calls = getattr(files._backend, method), list(errors), list[Any]()

    def fail(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if left and after:
            real(*arguments, **options)
        if left:
            raise left.pop(0)
        return real(*arguments, **options)

    monkeypatch.setattr(files._backend, method, fail)
    return calls


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_what_passes_is_waited_for_and_said_once(
    error: OSError, files: Files, said: list[str], waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(files, monkeypatch, "create", *[error] * 6)
    assert files.publish("a/b", b"1")
    assert files.read("a/b") == b"1"
    assert len(waits) == 6
    assert waits[0] < waits[2] < waits[5]
    assert len(said) == 2
    assert "does not answer" in said[0]
    assert "trying again for 5 minutes" in said[0]
    assert said[1].endswith("answers again")


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_what_does_not_pass_is_said_at_once(
    error: OSError, files: Files, said: list[str], waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing(files, monkeypatch, "create", error)
    with pytest.raises(StorageError, match="cannot be written"):
        files.publish("a/b", b"1")
    assert len(calls) == 1
    assert (waits, said) == ([], [])


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("read", lambda files: files.read("a")),
        ("exists", lambda files: files.existing(["a", "b"])),
        ("list", lambda files: files.list("")),
        ("replace", lambda files: files.publish("a", b"2", replace=True)),
        ("delete", lambda files: files.delete("a")),
        ("delete_folder", lambda files: files.delete_folder("b")),
    ],
)
def test_everything_is_tried_again(
    method: str, action: Callable[[Files], Any], files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.publish("a", b"1")
    calls = failing(files, monkeypatch, method, PASSING[0])
    action(files)
    assert len(calls) >= 2


def test_what_never_passes_is_given_up_after_minutes(
    files: Files, said: list[str], waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing(files, monkeypatch, "create", *[PASSING[0]] * 1000)
    with pytest.raises(StorageError, match="SLOW_DOWN.*; tried again for 5 minutes.*expected a writable folder"):
        files.publish("a", b"1")
    assert retry.PATIENCE_S <= sum(waits) <= retry.PATIENCE_S + 1
    assert 15 < len(calls) < 80
    assert len(said) == 1
    failing(files, monkeypatch, "read", *[PASSING[0]] * 6)
    with pytest.raises(FileNotFoundError):
        files.read("a")
    assert len(said) == 3, "another outage is said again, and its end"


def test_who_cannot_wait_does_not(files: Files, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    failing(files, monkeypatch, "exists", *PASSING[:4])
    with retry.patience(0.0), pytest.raises(StorageError):
        files.existing(["a", "b"])
    assert waits == []


def test_a_file_that_was_written_though_its_answer_was_lost_is_ours(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(files, monkeypatch, "create", PASSING[0], after=True)
    assert files.publish("a", b"ours")
    assert files.read("a") == b"ours"


def test_a_file_that_another_wrote_meanwhile_is_not(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(files, monkeypatch, "create", PASSING[0])
    files._backend.replace("a", b"theirs")
    assert not files.publish("a", b"ours")
    assert files.read("a") == b"theirs"


def test_a_network_share_that_asked_twice_has_linked(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def twice(source: str, target: str) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr("os.link", twice)
    assert files.publish("a", b"ours")
    monkeypatch.setattr("os.link", link)
    assert not files.publish("a", b"theirs")


def test_what_passes_in_a_moment_is_not_worth_a_word(
    files: Files, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(files, monkeypatch, "create", PASSING[0])
    assert files.publish("a/b", b"1")
    assert said == []


def test_many_that_wait_say_it_once(files: Files, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "SAID_AFTER_S", 0.0)
    together = threading.Barrier(4)

    def wait(seconds: float) -> None:
        together.wait()

    monkeypatch.setattr("time.sleep", wait)
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    failing(files, monkeypatch, "exists", *[PASSING[0]] * 4)
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(files.exists, "abcd"))
    assert len(said) == 2
