"""A process that dies in C++ is shown with its message, however a test has started it."""

import os
import re
import signal
import subprocess
import sys

import pytest

from helpers.forked import run_forked, start_forked
from helpers.processes import Done, run_python, start_python
from helpers.tiny import REPOSITORY

MESSAGE = "free(): invalid pointer"
DIES = f"import os; os.write(2, b'{MESSAGE}\\n'); os.abort()"


def die() -> None:
    """As a library's C++ does that finds its memory overwritten."""
    exec(DIES)


def assert_shown(raised) -> None:
    assert MESSAGE in str(raised.value) and "SIGABRT" in str(raised.value)


def test_a_forked_run(tmp_path):
    done = run_forked([], tmp_path, prepare=die)
    assert done.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in done.stderr and "in die" in done.stderr
    with pytest.raises(AssertionError) as raised:
        done.check()
    assert_shown(raised)


def test_a_forked_run_that_should_have_come_to_something(tmp_path):
    process = start_forked([], tmp_path, prepare=die)
    with pytest.raises(AssertionError) as raised:
        process.until((tmp_path / "never").exists)
    assert_shown(raised)


def test_a_new_process():
    with pytest.raises(AssertionError) as raised:
        run_python("-c", DIES).check()
    assert_shown(raised)


def test_one_that_hangs_is_killed_and_shown():
    process = start_python("-c", f"import os, time; os.write(2, b'{MESSAGE}'); time.sleep(600)")
    process.until(lambda: process.written("stderr"))
    with pytest.raises(TimeoutError, match=re.escape(MESSAGE)):
        process.wait(0)


def test_the_end_that_is_expected():
    assert run_python("-c", "print('fine')").check().stdout == "fine\n"
    killed = Done(-signal.SIGKILL, "", "")
    assert killed.check(0, -signal.SIGKILL) is killed
    with pytest.raises(AssertionError, match="exit code 3"):
        Done(3, "", "").check(0, 1)


def run_test(folder, code, *options):
    """Runs the only test of a project in `folder`."""
    (folder / "conftest.py").write_text('pytest_plugins = ["helpers.last_words"]\n')
    (folder / "pytest.ini").touch()
    (folder / "test_it.py").write_text(f"import os\ndef test_it():\n    {code}\n")
    path = os.pathsep.join([str(REPOSITORY / "tests"), *sys.path])
    env = {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    base = f"--basetemp={folder / 'base'}"  # the usual place is first cleared of older sessions
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", base, *options]
    done = subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True)
    return Done(done.returncode, done.stdout, done.stderr)  # to the end of its output


WORKER = ["-p", "xdist", "-n", "1", "--max-worker-restart=0"]


@pytest.mark.parametrize("workers", [[], WORKER], ids=["alone", "a worker"])
def test_the_process_of_the_tests_themselves(tmp_path, workers):
    done = run_test(tmp_path, DIES, *workers)
    shown = done.stdout.partition("FAILURES")[2] if workers else done.stderr
    assert MESSAGE in shown and "Fatal Python error: Aborted" in shown and "in test_it" in shown, str(done)


@pytest.mark.parametrize("workers", [[], WORKER], ids=["alone", "a worker"])
def test_a_process_of_tests_that_ends_in_order_has_no_last_words(tmp_path, workers):
    done = run_test(tmp_path, f"os.write(2, b'{MESSAGE}')", *workers).check()
    assert MESSAGE not in done.stdout + done.stderr
