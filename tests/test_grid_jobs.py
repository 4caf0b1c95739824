"""What a grid shows of its jobs."""

import re
from threading import Event
from types import SimpleNamespace

import pytest

from helpers.tiny import TINY
from isda_bench.cli.grid_jobs import GridJobs
from isda_bench.cli.launchers import report
from isda_bench.config.grids import grid_runs

QUICK = [*TINY, "schedule.epochs=1", "schedule.milestones=[]"]


def places(done):
    """The places that were shown, each once, in order."""
    return list(dict.fromkeys(re.findall(r"^\[\d+/\d+\]", done.stderr, re.MULTILINE)))


def test_each_run_of_a_grid_says_its_place_and_the_grids_time(train):
    done = train("-m", *QUICK, "seed=range(0,3)").check()
    assert places(done) == ["[1/3]", "[2/3]", "[3/3]"]
    assert len(re.findall(r"^\[\d/3\] .*left  grid 0:0\d:\d\d left$", done.stderr, re.MULTILINE)) == 3


def test_an_experiment_counts_the_values_that_remain_after_narrowing(train):
    done = train("experiment=demo", "seed=0", "schedule.epochs=1", "schedule.milestones=[]").check()
    assert places(done) == ["[1/2]", "[2/2]"]


def test_a_table_of_several_parts_is_counted_as_one_grid():
    parts = [["experiment=ablation", "seed=0,1"], ["experiment=ablation_basic", "seed=0,1"]]
    grid = GridJobs(parts)
    sizes = [len(grid_runs(line)) for line in parts]
    assert grid.sizes == sizes and min(sizes) > 1
    assert [(grid.line, line) for line in grid.each_line()] == list(enumerate(parts))


def test_a_single_run_has_no_place(train):
    assert places(train(*QUICK).check()) == []
    assert places(train("-m", *QUICK, "seed=4").check()) == []


def job(folder, number, out, err, ended=True):
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{number}_{name}" for name in ("stdout", "stderr", "result_pickle")}
    paths["stdout"].write_text(out)
    paths["stderr"].write_text(err)
    if ended:
        paths["result_pickle"].touch()
    return SimpleNamespace(job_id=number, paths=SimpleNamespace(folder=folder, **paths))


def test_jobs_of_a_cluster_are_reported(tmp_path, capsys):
    logs, ended = tmp_path / ".submitit", Event()
    jobs = [
        job(
            logs,
            "7_0",
            "submitit INFO Starting\nrun-a: test error 5.00%\nsubmitit INFO Done\n",
            "epoch 1/1\n",
        ),
        job(logs, "7_1", "", "epoch 1/1\nerror: run-b: a problem:\n  loss.strength=-1: too small\n"),
        job(logs, "7_2", "", "", ended=False),
    ]
    ended.set()
    report(jobs, ended).join()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"submitted 3 jobs: 7_0, 7_1, 7_2; logs in {logs}",
        "[1/3] job 7_0 ended: run-a: test error 5.00%",
        "[2/3] job 7_1 ended: error: run-b: a problem: loss.strength=-1: too small",
    ]


def test_the_end_of_all_jobs_is_reported_with_their_time(tmp_path, capsys):
    ended = Event()
    ended.set()
    jobs = [job(tmp_path, "1", "run-a: test error 5.00%\n", ""), job(tmp_path, "2", "", "error: run-b: no\n")]
    report(jobs, ended).join()
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"all 2 jobs ended after 0\.0 s, 1 with an error", last)


@pytest.mark.parametrize("count", [9, 300])
def test_many_jobs_are_not_all_named(tmp_path, capsys, count):
    ended = Event()
    ended.set()
    report([job(tmp_path, f"7_{i}", "", "", ended=False) for i in range(count)], ended).join()
    assert (
        f"submitted {count} jobs: 7_0, 7_1, 7_2, 7_3, ..., 7_{count - 1}; logs in" in capsys.readouterr().err
    )
