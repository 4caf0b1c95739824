"""Many processes on the same runs, locks that the dead leave, a clock that goes back."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from helpers import attacks
from helpers.forked import run_forked, start_forked
from helpers.tiny import TINY
from helpers.trials import CLOCKS, IMAGES, TRAIN, make_project, result, train
from isda_bench.storage.records import read_metrics, read_records

SWEEP = ["-m", *TINY, "schedule.milestones=null", "schedule.factor=null", "runs_dir=runs"]
SMALL = ["schedule.epochs=1", "seed=0,1"]
LARGE = ["schedule.epochs=2", "seed=0,1,2", "loss=cross_entropy,isda"]


def numbers(folder: Path) -> dict:
    """Errors and metrics of every finished run."""
    found = {}
    for row in read_records([folder / "runs"]).itertuples():
        metrics = read_metrics(row.path).drop(columns=list(CLOCKS), errors="ignore")
        found[row.run_id] = (row.last_10, metrics.to_dict())
    return found


def only_elsewhere_at_work(done) -> bool:
    """Whether it did its share: nothing went wrong but that another process was at work on a run."""
    told = [line for line in done.check(0, 1).stderr.splitlines() if line.startswith("error: ")]
    others = all("another process" in line for line in told)
    return others and "Traceback" not in done.stderr and done.returncode == (1 if told else 0)


@pytest.mark.parametrize(("count", "grid"), [(2, SMALL), pytest.param(8, LARGE, marks=pytest.mark.slow)])
def test_processes_on_one_sweep(tmp_path, tried, count, grid):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
    sweep = [*SWEEP, *grid]
    started = [start_forked(sweep, together) for _ in range(count)]
    ended = [process.wait() for process in started]
    assert all(only_elsewhere_at_work(done) for done in ended), [done.stderr for done in ended]
    run_forked(sweep, together).check()
    run_forked(sweep, alone).check()
    assert numbers(together) == numbers(alone)
    tried(f"{count} processes on one sweep", ["ended in order; numbers as of one"] * count)


@pytest.mark.slow
def test_two_processes_on_one_run(tmp_path, tried):
    for i in range(5):
        project = make_project(tmp_path / str(i))
        both = [start_forked(TRAIN, project, prepare=partial(attacks.small_cifar, IMAGES)) for _ in range(2)]
        ended = [process.wait() for process in both]
        assert all(only_elsewhere_at_work(done) for done in ended), [done.stderr for done in ended]
        assert 0 in [done.returncode for done in ended]
    assert all(result(tmp_path / str(i)) == result(tmp_path / "0") for i in range(5))
    tried("two processes on one run", ["one trains, identical"] * 5)


@pytest.mark.slow
def test_a_clock_set_back_changes_nothing(tmp_path, tried):
    """Neither the order of the checkpoints nor a duration hangs on it."""
    right, wrong = (make_project(tmp_path / name) for name in ("right", "wrong"))
    train(right).check()
    back = partial(attacks.clock_set_back, 3600.0)
    done = train(wrong, prepare=attacks.each(back, partial(attacks.after_checkpoint, attacks.dies, 2)))
    done.check(-signal.SIGKILL)
    newest_first = sorted(wrong.glob("runs/*/checkpoint-*"), reverse=True)
    assert len(newest_first) == 2
    for age, path in enumerate(newest_first, start=1):
        os.utime(path, (10**9 * (3 - age) // 2, 10**9 * age))  # the newest looks oldest
    done = train(wrong, prepare=back)
    done.check()
    assert result(wrong) == result(right)
    (record,) = read_records([wrong / "runs"])["record"]
    assert record["seconds"] > 0
    tried("clock set back an hour at each look", ["identical"])


@pytest.mark.slow
def test_locks_of_the_dead_do_not_hold(tmp_path, tried):
    project = make_project(tmp_path / "project")
    died = train(project, prepare=partial(attacks.after_checkpoint, attacks.dies))
    died.check(-signal.SIGKILL)
    assert '"released": false' in max(project.glob("runs/*/claims/*.json")).read_text()
    done = train(project)
    done.check()
    tried("lock of a dead process", ["taken over"])
