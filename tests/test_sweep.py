"""A sweep that is killed goes on with what is missing, and its tables are those of one that was not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.render_tables import csv_table, latex, markdown
from isda_bench.storage.records import read_records, unfinished_runs
from tiny import REPOSITORY

RUNS = 6


def start_sweep(runs):
    command = [sys.executable, str(REPOSITORY / "train.py"), "experiment=demo", f"runs_dir={runs}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def tables(runs):
    table = experiment_table("demo", read_records([runs]), unfinished_runs([runs]))
    return [render(table) for render in (markdown, latex, csv_table)]


def wait_until(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


def in_the_third_run(runs):
    begun = [path for path in runs.glob("*/metrics.jsonl") if not path.with_name("record.json").exists()]
    finished = len(list(runs.glob("*/record.json")))
    return finished >= 2 and any(len(path.read_text().splitlines()) > 5 for path in begun)


@pytest.mark.slow
def test_a_killed_sweep_finishes_what_is_missing(tmp_path):
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    process = start_sweep(broken)
    wait_until(lambda: in_the_third_run(broken), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.read_bytes() for path in broken.glob("*/record.json")}
    assert 2 <= len(finished) < RUNS
    assert len(unfinished_runs([broken])) == 1
    assert "1 unfinished" in tables(broken)[0]
    output, _ = start_sweep(broken).communicate(timeout=600)
    assert output.count("(finished already)") == len(finished)
    assert {path: path.read_bytes() for path in finished} == finished
    assert start_sweep(unbroken).wait(timeout=600) == 0
    assert tables(broken) == tables(unbroken)
    assert "missing" not in tables(broken)[0]
