"""Runs train.py and the scripts in processes forked from one that has imported everything: quick starts.

The server is a process of its own that imports and then only forks: it has no threads, so that what it forks
is sound. A child has its own working directory, environment and output, and ends as a real process does.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import wait
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from threading import Lock

import pytest

from helpers.processes import DEADLINE, Done, Process, until
from helpers.tiny import REPOSITORY

_polling = Lock()
"""Held where exit codes are read: `start` reads those of all processes, and each can be read only once."""
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["helpers.preloaded"])


class Forked(Process):
    """A started process."""

    def __init__(self, arguments: list[str], cwd: Path, script: str, env: dict[str, str], prepare) -> None:
        super().__init__()
        self.process = _server.Process(
            target=_run, args=(script, arguments, str(cwd), str(self.output), env, prepare)
        )
        serve()
        with _polling:
            self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def exit_code(self, timeout: float) -> int | None:
        if not wait([self.process.sentinel], timeout):
            return None
        with _polling:
            self.process.join()
        return self.process.exitcode

    def send(self, number: int) -> None:
        """Sends a signal, once the process is on its way; nothing if it has ended."""
        until(lambda: (self.output / "stderr").exists() or self.exit_code(0) is not None)
        super().send(number)


def start_forked(
    arguments: list[str],
    cwd: Path,
    script: str = "train.py",
    env: dict[str, str] | None = None,
    prepare: Callable[[], object] | None = None,
) -> Forked:
    """Starts `python <script> <arguments>`.

    Args:
        arguments: of the command line.
        cwd: working directory.
        script: its path in the repository.
        env: added to the environment.
        prepare: called in the child before the script; picklable.
    """
    return Forked(arguments, cwd, script, env or {}, prepare)


def run_forked(
    arguments: list[str],
    cwd: Path,
    kill_after: float | None = None,
    number: int = signal.SIGKILL,
    timeout: float = DEADLINE,
    **options,
) -> Done:
    """As `start_forked`, to the end; or the signal `number` after so many seconds."""
    process = start_forked(arguments, cwd, **options)
    if kill_after is not None:
        wait([process.process.sentinel], kill_after)
        process.send(number)
    return process.wait(timeout)


@cache
def serve() -> None:
    """Starts the server; it takes the path for its imports from the environment that it begins with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        patch.setenv("PYTHONFAULTHANDLER", "1")  # a child that dies in C++ names the signal and its stack
        ensure_running()


def _run(script: str, arguments: list[str], cwd: str, output: str, env: dict[str, str], prepare) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(Path(output) / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [str(REPOSITORY / script), *arguments]
    if prepare is not None:
        prepare()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # a child of multiprocessing ends without them
