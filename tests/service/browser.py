"""A real browser for tests: Chromium, spoken to over a pipe (the DevTools protocol)."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.running import WAIT, until

# The browser reads descriptor 3 and writes descriptor 4: a program that puts them there, and becomes the browser.
START = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMES = ("chromium", "chromium-browser", "google-chrome")


def installed() -> str | None:
    """The path of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page of the browser.

    Args:
        read: the browser writes there; messages end with a NUL.
        write: the browser reads there.
    """

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._number, self._session = read, write, 0, ""
        self._begun = b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.said: list[str] = []  # what the console shows: errors of the script, what the policy refuses
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._begun:
            assert select.select([self._read], [], [], WAIT)[0], "the browser does not answer"
            some = os.read(self._read, 1 << 16)
            assert some, "the browser has ended"
            self._begun += some
        content, _, self._begun = self._begun.partition(b"\0")
        found = json.loads(content)
        if found.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.said.append(json.dumps(found["params"]))
        return found

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is on the page."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def until(self, expression: str) -> None:
        """Wait until an expression is true. It is asked again and again: a promise would be lost with its page."""
        until(lambda: self.value(f"Boolean({expression})"))

    def type(self, text: str) -> None:
        """Type into what has the focus, and press Enter."""
        self._call("Input.insertText", text=text)
        self.press("Enter", "\r")

    def press(self, key: str, text: str = "") -> None:
        codes = {"Enter": 13, "Tab": 9}
        keys = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **keys)
        self._call("Input.dispatchKeyEvent", type="keyUp", **keys)

    def accessible(self) -> list[tuple[str, str]]:
        """(role, name) of each thing that a screen reader is told of."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]

    def resize(self, width: int, height: int) -> None:
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str) -> None:
        """Colours as somebody likes them: light or dark."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self) -> bytes:
        """The page as a PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """A page of a browser of its own, with an empty profile in `folder`."""
    theirs_read, ours_write = os.pipe()
    ours_read, theirs_write = os.pipe()
    program = installed()
    assert program
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "--disable-background-networking"]
    command = [sys.executable, "-IS", "-c", START, str(theirs_read), str(theirs_write), program, *options]
    with subprocess.Popen(
        command, pass_fds=(theirs_read, theirs_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs_read)
        os.close(theirs_write)
        try:
            yield Page(ours_read, ours_write)
        finally:
            process.kill()
            os.close(ours_write)
