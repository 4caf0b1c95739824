"""`plan=true`: what is done, what is missing, how long it takes; nothing is started or written."""

import json
import re

import pytest

from helpers.made_runs import changed, write_run
from helpers.tiny import REPOSITORY
from isda_bench.cli import command_line
from isda_bench.config.compose import compose_run
from isda_bench.config.experiment_files import parts, table_names
from isda_bench.config.grids import grid_runs
from isda_bench.config.run_config import identity
from isda_bench.reporting import plan
from isda_bench.reporting.cost import ASSUMED_FLOPS, Rates


@pytest.fixture(autouse=True)
def nothing_committed(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "RESULTS", tmp_path / "results")


def demo_runs(root):
    return [changed(config, runs_dir=str(root)) for config in grid_runs(["experiment=demo"])]


def test_plan_to_the_character(tmp_path):
    jobs = demo_runs(tmp_path)
    write_run(tmp_path, jobs[0], 3.0, rate=100.0)
    write_run(tmp_path, jobs[1], None, epochs=15)
    # 60 epochs of 200 images at 100 a second: 120 s a run, 90 s after 15 epochs
    assert plan.plan(jobs) + "\n" == (REPOSITORY / "tests" / "golden" / "plan.md").read_text()


def test_nothing_is_started_or_written(tmp_path, typed_in, capsys):
    runs = tmp_path / "runs"
    typed_in(tmp_path, "train.py", "experiment=demo", "seed=0", "plan=true", f"runs_dir={runs}")
    command_line.main()
    assert "2 runs: 0 done, 0 unfinished, 2 missing" in capsys.readouterr().out
    assert not runs.exists()


def test_a_plan_is_no_other_run():
    asked = compose_run(["plan=true"])
    assert asked.settings.plan and identity(asked.config) == identity(compose_run([]).config)


def test_measured_rates_come_before_flops(tmp_path):
    config = compose_run(["model=resnet32"])
    record = json.loads((write_run(tmp_path, config, 7.0, rate=5000.0) / "record.json").read_text())
    benchmark = {
        "device": {"type": "cuda", "name": "GPU B"},
        "rows": {
            "step": [{"network": "resnet110", "images_per_second": 2000.0}],
            "throughput": [
                {"network": "wrn28_10", "precision": "bf16", "step": step, "images_per_second": rate}
                for step, rate in (("captured", 3000.0), ("compiled", 9000.0), ("eager", 1000.0))
            ],
            "steps": [{"network": "wrn16_8", "batch_size": 128, "precision": "fp32", "step_ms": 64.0}],
            "layouts": [
                {"network": "resnet20", "precision": "bf16", "channels_last": 500.0, "contiguous": 300.0}
            ],
        },
    }
    on_cpu = record | {"device": {"type": "cpu", "name": "CPU"}, "images_per_second": 1.0}
    rates = Rates([record, on_cpu], [benchmark])
    assert rates.of("resnet32", "cifar10", "fp32", 10**9) == (5000.0, "records", "GPU")
    assert rates.of("resnet110", "cifar10", "fp32", 10**9) == (2000.0, "benchmark", "GPU B")
    assert rates.of("wrn28_10", "cifar10", "bf16", 10**9) == (3000.0, "benchmark", "GPU B")
    assert rates.of("wrn28_10", "cifar10", "fp32", 10**9)[1] == "FLOPs"
    assert rates.of("wrn16_8", "cifar10", "fp32", 10**9) == (2000.0, "bare step", "GPU B")
    assert rates.of("resnet20", "cifar10", "bf16", 10**9) == (500.0, "bare step", "GPU B")
    assert rates.of("resnet32", "cifar10", "bf16", 10**9)[:2] == (ASSUMED_FLOPS / 10**9, "FLOPs")


def test_hours_of_a_whole_training():
    run = plan.planned_run(compose_run(["model=resnet32"]), Rates([], []))
    flops = 3 * 2 * 69.1e6 * 50_000 * 160  # 69.1 M multiply-adds an image, as results/models.md says
    assert run.hours == pytest.approx(flops / ASSUMED_FLOPS / 3600, rel=0.01)
    assert (run.state, run.rate.source) == ("missing", "FLOPs")


def test_a_wrong_value_in_one_job_is_one_error(tmp_path, typed_in, capsys):
    typed_in(tmp_path, "train.py", "-m", "dataset=digits", "model=resnet8", "plan=true", "seed=0,-1")
    with pytest.raises(SystemExit) as raised:
        command_line.main()
    reported = capsys.readouterr().err
    assert (
        raised.value.code == 2 and "seed=-1: should be greater" in reported and reported.count("error: ") == 1
    )


def test_how_it_is_launched_changes_nothing():
    line = ["experiment=demo", "plan=true", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    assert [cell.run_id for cell in grid_runs(line)] == [cell.run_id for cell in grid_runs(line[:2])]


@pytest.mark.slow
def test_the_hours_on_the_page_are_those_of_the_plans(monkeypatch, tmp_path):
    """With the rates of results/benchmarks."""
    monkeypatch.setattr(plan, "RESULTS", REPOSITORY / "results")
    page = (REPOSITORY / "docs/results.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| ([\d,]+) \|$", page, re.M)
    assert {row[0] for row in rows} == {
        name for name in table_names() if name != "demo" and not name.startswith("evidence")
    }
    for experiment, runs, hours in rows:
        commands = [[f"experiment={part}", f"runs_dir={tmp_path}"] for part in parts(experiment)]
        text = plan.plan([run for command in commands for run in grid_runs(command)])
        found = re.search(r"^(\d+) runs: .* missing; ([\d.,]+) GPU hours", text, re.M)
        assert found[1] == runs
        assert round(float(found[2].replace(",", ""))) == int(hours.replace(",", ""))
