"""A headless Chromium for tests of pages: driven over a pipe in its DevTools protocol, its network switched off."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
]

PATIENCE_S = 20
KEYS = {"Tab": 9, "Enter": 13, "ArrowDown": 40}


class Browser:
    """A started Chromium; `tab` opens pages in it."""

    def __init__(self, program: str, profile: Path) -> None:
        # Chromium reads commands from descriptor 3 and answers on descriptor 4, each message ended by a zero byte.
        as_pipes = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >&2'
        with open(profile / "log", "wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", as_pipes, program, *OPTIONS, f"--user-data-dir={profile}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._answers = self._process.stdin, self._process.stdout
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._commands.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            # Its own session: what it started must end too.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._answers.close()

    def call(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; what happens meanwhile is added to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, event: str) -> None:
        """Return once something has happened, or had since `events` was emptied."""
        while not any(each.get("method") == event for each in self.events):
            self.events.append(self._next())

    def tab(self, *, width: int = 1280, height: int = 900) -> Tab:
        return Tab(self, width, height)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE_S)
            read = self._answers.read(1 << 20) if ready else b""
            assert read, f"the browser ended, or said nothing for {PATIENCE_S} s"
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


class Tab:
    """A tab without network. What its page requests, logs and throws is kept in `requests` and `complaints`."""

    def __init__(self, browser: Browser, width: int, height: int) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session: str = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.call("Network.emulateNetworkConditions", **offline)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def open(self, page: Path) -> None:
        """Show a file and wait until it and its images are loaded."""
        self._browser.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        self._browser.wait_for("Page.loadEventFired")

    @property
    def requests(self) -> list[str]:
        return [each["params"]["request"]["url"] for each in self._happened("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What was written to the console, by scripts or by the browser, and what was thrown."""
        self.evaluate("0")
        kinds = (
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        )
        return [json.dumps(each["params"]) for kind in kinds for each in self._happened(kind)]

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Press and release the left mouse button in the middle of an element."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center', inline: 'center'}})")
        x, y, width, height = self.evaluate(
            f"(({{x, y, width, height}}) => [x, y, width, height])({element}.getBoundingClientRect())"
        )
        middle = {"x": x + width / 2, "y": y + height / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **middle, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key of `KEYS`, where the focus is."""
        code = {"key": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def write(self, text: str) -> None:
        """Type text where the focus is."""
        self.call("Input.insertText", text=text)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def _happened(self, method: str) -> list[dict[str, Any]]:
        ours = (each for each in self._browser.events if each.get("sessionId") == self._session)
        return [each for each in ours if each["method"] == method]


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Start the system's Chromium with a profile of its own; skip the test where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no `chromium` on this machine (on Debian: apt install chromium)")
    with Browser(program, profile) as browser:
        yield browser
