"""Processes that tests start: waited for without a guess at the machine's speed, and shown when they fail."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

DEADLINE = 600.0
"""Seconds after which a process counts as hung: far more than it takes on the busiest machine."""

_reserved: list[socket.socket] = []


class Done(NamedTuple):
    """How a process ended; a negative code is the signal that killed it."""

    returncode: int
    stdout: str
    stderr: str

    def check(self, *codes: int) -> Self:
        """This, if it ended with one of the exit codes (0 if none is named).

        Raises:
            AssertionError: it did not; the message shows the signal by name and everything that the process
                wrote, also what the C++ of a library wrote while it died.
        """
        if self.returncode not in (codes or (0,)):
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        code = self.returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{how}\n--- stdout ---\n{self.stdout}\n--- stderr ---\n{self.stderr}"


class Process:
    """A started process, whose output goes to files: no pipe fills, and it can be read at any time."""

    def __init__(self) -> None:
        self.output = Path(tempfile.mkdtemp(prefix="process-"))

    @property
    def pid(self) -> int:
        raise NotImplementedError

    def exit_code(self, timeout: float) -> int | None:
        """The exit code; None if it still runs after so many seconds."""
        raise NotImplementedError

    def written(self, name: str) -> str:
        """What it wrote to `stdout` or `stderr` so far."""
        file = self.output / name
        return file.read_text(errors="backslashreplace") if file.exists() else ""

    def send(self, number: int) -> None:
        """Sends a signal; nothing if it has ended."""
        if self.exit_code(0) is None:
            os.kill(self.pid, number)

    def until(self, condition: Callable[[], object]) -> None:
        """Waits until `condition` holds; fails at once, showing its end, if the process ends before."""
        end = time.monotonic() + DEADLINE
        while not condition():
            if self.exit_code(0.005) is not None and not condition():
                raise AssertionError(f"ended before what was waited for: {self.wait()}")
            if time.monotonic() > end:
                self.send(signal.SIGKILL)
                raise TimeoutError(f"waited in vain for {DEADLINE} s: {self.wait()}")

    def wait(self, timeout: float = DEADLINE) -> Done:
        """Waits for the end.

        Raises:
            TimeoutError: it hung, and was killed.
        """
        code = self.exit_code(timeout)
        if code is None:
            self.send(signal.SIGKILL)
            self.exit_code(DEADLINE)
        done = Done(-signal.SIGKILL if code is None else code, self.written("stdout"), self.written("stderr"))
        shutil.rmtree(self.output)
        if code is None:
            raise TimeoutError(f"still running after {timeout} s: {done}")
        return done


class Started(Process):
    """`command` in a new process; `options` are those of subprocess.Popen."""

    def __init__(self, command: list[str], **options) -> None:
        super().__init__()
        with (self.output / "stdout").open("wb") as out, (self.output / "stderr").open("wb") as err:
            self.popen = subprocess.Popen(command, stdout=out, stderr=err, **options)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def exit_code(self, timeout: float) -> int | None:
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


def start_python(*arguments: str, **options) -> Started:
    """Starts `python <arguments>`; `env` is added to the environment."""
    env = os.environ | options.pop("env", {})
    return Started([sys.executable, *arguments], env=env, **options)


def run_python(*arguments: str, **options) -> Done:
    """Runs `python <arguments>` to its end."""
    return start_python(*arguments, **options).wait()


def until(condition: Callable[[], object]) -> None:
    """Waits until `condition` holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {DEADLINE} s")
        time.sleep(0.005)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody else is given until this process ends.

    They stay bound here and are not listened on, which keeps out other processes that ask for a free port
    but not a server that binds the port by its number (with SO_REUSEADDR, as torch's store does).
    """
    for _ in range(count):
        reserved = socket.socket()
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        _reserved.append(reserved)
    return [reserved.getsockname()[1] for reserved in _reserved[-count:]]
