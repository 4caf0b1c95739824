"""A pytest plugin: what a dying test process says outside Python is shown with the failure it causes.

pytest keeps a test's stderr in a file without a name, which is lost with the process: a crash in C++ hides
"free(): invalid pointer". A small second process holds that file open. Where the test process dies, it writes
the file's content to the terminal or, for a worker of pytest-xdist, into the failure "worker 'gw0' crashed".
"""

import faulthandler
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

FILE = "last_words"
SECONDS = 60.0
WATCH = """
import os, sys
if not sys.stdin.read():
    content = os.pread(2, 1 << 20, 0) or b"nothing\\n"
    sys.stdout.buffer.write(b"the process died; its stderr:\\n" + content)
"""
watch = SimpleNamespace(target=None, process=None, folder=None)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Of the process that hands tests to workers: where a worker's last words go."""
    if watch.folder is None:
        watch.folder = tempfile.TemporaryDirectory(prefix="last-words-")
    descriptor, node.workerinput[FILE] = tempfile.mkstemp(dir=watch.folder.name)
    os.close(descriptor)


def pytest_configure(config):
    """No output is captured yet."""
    path = getattr(config, "workerinput", {}).get(FILE)
    watch.target = os.open(path, os.O_WRONLY | os.O_APPEND) if path else os.dup(2)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item):
    """Output is captured from here on, always into the same file."""
    kept = os.fstat(2)
    hidden = stat.S_ISREG(kept.st_mode) and not os.path.samestat(kept, os.fstat(watch.target))
    if watch.process is None and hidden:
        command = [sys.executable, "-S", "-c", WATCH]
        watch.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=watch.target)
        faulthandler.enable(file=os.dup(2))  # "Fatal Python error" and the stack, into the same file


def pytest_unconfigure(config):
    """The process ends in order."""
    if watch.process is not None:
        watch.process.communicate(b"well")
        watch.process = None
    if watch.target is not None:
        os.close(watch.target)
        watch.target = None


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem, report, sched):
    """A worker has died within a test."""
    path = Path(report.node.workerinput[FILE])
    end = time.monotonic() + SECONDS
    while not path.stat().st_size and time.monotonic() < end:  # written at the same moment
        time.sleep(0.01)
    report.sections.append(("last words of the worker", path.read_text(errors="backslashreplace")))
