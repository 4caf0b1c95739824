"""A killed sweep resumes with the missing runs, and its tables are those of an uninterrupted one."""

import signal

import pytest

from helpers.processes import start_python
from helpers.tiny import REPOSITORY
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.latex_table import latex
from isda_bench.reporting.render_tables import csv_table, markdown
from isda_bench.storage.records import read_records, unfinished_runs

RUNS = 6


def start_sweep(runs):
    return start_python(str(REPOSITORY / "train.py"), "experiment=demo", f"runs_dir={runs}")


def tables(runs):
    table = experiment_table("demo", read_records([runs]), unfinished_runs([runs]))
    return [render(table) for render in (markdown, latex, csv_table)]


def in_the_third_run(runs):
    begun = [path for path in runs.glob("*/metrics.jsonl") if not path.with_name("record.json").exists()]
    finished = len(list(runs.glob("*/record.json")))
    return finished >= 2 and any(len(path.read_text().splitlines()) > 5 for path in begun)


@pytest.mark.slow
def test_a_killed_sweep_finishes_the_missing_runs(tmp_path):
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    process = start_sweep(broken)
    process.until(lambda: in_the_third_run(broken))
    process.send(signal.SIGKILL)
    process.wait().check(-signal.SIGKILL)
    finished = {path: path.read_bytes() for path in broken.glob("*/record.json")}
    assert 2 <= len(finished) < RUNS
    assert len(unfinished_runs([broken])) == 1
    assert "1 unfinished" in tables(broken)[0]
    output = start_sweep(broken).wait().check().stdout
    assert output.count("(finished already)") == len(finished)
    assert {path: path.read_bytes() for path in finished} == finished
    start_sweep(unbroken).wait().check()
    assert tables(broken) == tables(unbroken)
    assert "missing" not in tables(broken)[0]
