"""Chromium without a window, driven over a pipe: pictures of pages at any width, light or dark."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isda_bench.errors import UserError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 60.0  # for an answer
TALLEST = 16_000  # pixels that Chromium can paint


class Browser:
    """A browser process; used as a context manager.

    Raises:
        UserError: there is none of `PROGRAMS`, or it does not answer.
    """

    def __init__(self) -> None:
        found = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if found is None:
            raise UserError(f"no browser found ({', '.join(PROGRAMS)}); Debian: apt install chromium")
        self.folder = tempfile.TemporaryDirectory()
        ours, theirs = os.pipe(), os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={self.folder.name}"]
        redirected = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'  # the pipe's ends are expected to be 3 and 4
        self.process = subprocess.Popen(
            ["sh", "-c", redirected, "sh", found, *flags, "about:blank"],
            pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.commands, self.answers = ours[1], theirs[0]
        self.number, self.buffer = 0, b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self.session: str | None = attached["sessionId"]
        self._call("Page.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (self.commands, self.answers):
            os.close(end)
        self.process.kill()  # else it would write into the folder that is removed
        self.process.wait()
        self.folder.cleanup()

    def open(self, page: Path, width: int, dark: bool = False, height: int = 900) -> None:
        """Loads a page.

        Args:
            page: a file.
            width: of the window, in pixels of CSS; up to 600 it is a phone.
            dark: whether it asks for dark colours.
            height: of the window.
        """
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width <= 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        preference = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[preference])
        self._call("Page.navigate", url="about:blank")  # what the last page kept would decide on dark
        self._wait_for_event("Page.loadEventFired")
        self._call("Storage.clearDataForOrigin", origin="file://", storageTypes="all")
        self._call("Page.navigate", url=page.resolve().as_uri())
        self._wait_for_event("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page, whatever the page's policy says of scripts."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise UserError(f"the page: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def move_pointer(self, x: float, y: float) -> None:
        """Moves the pointer over the window, in pixels of CSS."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, file: Path) -> None:
        """Writes a PNG of the whole page."""
        width, height = self.evaluate("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, TALLEST), "scale": 1}
        shot = self._call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def picture_of_window(self, file: Path) -> None:
        """Writes a PNG of what the window shows, where the page was scrolled to."""
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            pass
        if "error" in answer:
            raise UserError(f"the browser: {method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _wait_for_event(self, name: str) -> None:
        while self._next().get("method") != name:
            pass

    def _next(self) -> dict[str, Any]:
        """The next message; they end with a zero byte."""
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.buffer:
            ready = _ready([self.answers], deadline - time.monotonic())
            read = os.read(self.answers, 1 << 20) if ready else b""
            if not read:
                raise UserError("the browser does not answer")
            self.buffer += read
        text, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


def _ready(descriptors: Sequence[int], seconds: float) -> bool:
    return bool(select.select(descriptors, [], [], max(seconds, 0))[0])
