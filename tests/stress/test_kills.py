"""Killed anywhere, the same command ends with the same result to the bit."""

import math
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import wait

import pytest

from helpers import attacks
from helpers.forked import run_forked, start_forked
from helpers.trials import IMAGES, TRAIN, copied, make_project, make_tables, result, train

KILLED = (-signal.SIGKILL, -signal.SIGXFSZ)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A project that nobody disturbed, and how many operations and seconds its commands took."""
    project = make_project(tmp_path_factory.mktemp("unbroken"))
    counting = partial(attacks.kill_at_operation, 0, str(project))
    run_forked(["--version"], project).check()  # the server is up
    start = time.monotonic()
    trained = train(project, prepare=counting)
    seconds = time.monotonic() - start
    tables = make_tables(project, prepare=counting)
    ended = [done.check() for done in (trained, tables)]
    operations = [int(re.search(r"operations: (\d+)", done.stderr)[1]) for done in ended]
    assert min(operations) > 5
    return project, operations, seconds


def attack_of(rng, operations, seconds, project):
    """A random way to be killed: what is attacked, what is done to it, when the signal is sent."""
    command = rng.choices([train, make_tables], [4, 1])[0]
    kind = rng.choices(["operation", "size", "time"], [3, 1, 2])[0]
    if kind == "operation":
        number = rng.randint(1, operations[command is make_tables])
        return command, partial(attacks.kill_at_operation, number, str(project)), None
    if kind == "size":
        return command, partial(attacks.kill_at_size, int(math.exp(rng.uniform(5, 14)))), None
    return command, None, rng.uniform(0, seconds * (1.1 if command is train else 0.4))


def trial(unbroken, project, command, prepare, kill_after):
    """One attack and the same command again; returns what the attack hit."""
    if command is train:
        copied(unbroken / "data", project / "data")
        (project / "data" / "cifar10.safetensors").unlink()
    else:
        copied(unbroken, project)
        shutil.rmtree(project / "tables")
    broken = command(project, prepare=prepare, kill_after=kill_after)
    broken.check(0, *KILLED)
    assert "Traceback" not in broken.stderr
    assert no_half_table(unbroken, project)
    phase = what_was_hit(project, broken, command)
    for again in (train, make_tables):
        done = again(project)
        assert "damaged" not in done.check().stderr, done.stderr
    assert result(project) == result(unbroken)
    assert table(project) == table(unbroken)
    assert not list(project.rglob(".writing-*"))
    shutil.rmtree(project)
    return phase


def no_half_table(unbroken, project):
    """What there is of the table's files is whole."""
    files = table(project) if (project / "tables").exists() else {}
    return all(table(unbroken)[name] == files[name] for name in files if not name.startswith(".writing-"))


def table(project):
    return {path.name: path.read_bytes() for path in (project / "tables").iterdir()}


def what_was_hit(project, broken, command):
    if broken.returncode == 0:
        return "not hit"
    if command is make_tables:
        return "table"
    names = {re.sub(r"-.*", "", path.name.removeprefix(".writing-")) for path in project.glob("runs/*/*")}
    for phase, sign in (
        ("record", "record.json"),
        ("training", "checkpoint"),
        ("first epoch", "run.json"),
    ):
        if sign in names:
            return phase
    return "data" if (project / "data" / ".isda_bench.lock").exists() else "start"


@pytest.mark.parametrize("trials", [1, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_a_random_moment(tmp_path, rng, tried, unbroken, trials):
    project, operations, seconds = unbroken
    folders = [tmp_path / str(i) for i in range(trials)]
    plans = [(folder, *attack_of(rng, operations, seconds, folder)) for folder in folders]
    with ThreadPoolExecutor(2) as pool:
        hit = list(pool.map(lambda plan: trial(project, *plan), plans))
    tried("SIGKILL, same command again: identical to the bit", [f"in {phase}" for phase in hit])


STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}


def stop(project, number, after):
    """Sends the signal, checks the end and that the same command goes on; returns how it ended."""
    make_project(project)
    process = start_forked(TRAIN, project, prepare=partial(attacks.small_cifar, IMAGES))
    wait([process.process.sentinel], after)
    process.send(number)
    done = process.wait().check(0, STOPPED[number], -number)
    assert "Traceback" not in done.stderr, done.stderr
    if done.returncode == -number:
        assert not list(project.glob("runs/*")), "only before anything is begun"
    if done.returncode == STOPPED[number]:
        assert "the same command resumes" in done.stderr.splitlines()[-1]
    assert not list(project.rglob(".writing-*"))
    again = train(project)
    again.check()
    return {0: "finished before", -number: "ended before the start"}.get(
        done.returncode, "clean stop, resumed"
    )


@pytest.mark.slow
@pytest.mark.parametrize("trials", [40])
def test_stopped_at_a_random_moment(tmp_path, rng, tried, unbroken, trials):
    project, _, seconds = unbroken
    plans = [
        (tmp_path / str(i), [signal.SIGINT, signal.SIGTERM][i % 2], rng.uniform(0, seconds))
        for i in range(trials)
    ]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda plan: stop(*plan), plans))
    assert all(result(folder) == result(project) for folder, *_ in plans)
    tried("Ctrl-C and SIGTERM", ended)
