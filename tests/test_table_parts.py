"""Naming a table means all of its parts."""

import gc
import sys

import pytest

from isda_bench.cli import command_line, endings
from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.table_parts import part_lines, table_runs
from isda_bench.errors import ConfigError

RUNS = {
    "comparison": 138,
    "imagenet": 14,
    "baseline_selection": 60 + 36,
    "demo": 6,
}


@pytest.mark.parametrize("table", RUNS)
def test_a_table_has_all_its_runs(table):
    assert len(table_runs([f"experiment={table}"])) == RUNS[table]


def test_a_part_is_itself():
    assert part_lines(["experiment=comparison_wgan", "seed=0"]) == [["experiment=comparison_wgan", "seed=0"]]
    assert part_lines(["model=resnet8"]) == [["model=resnet8"]]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ("method=wgan", ["comparison_wgan method=wgan"]),
        (
            "method=basic,wgan seed=0,7",
            ["comparison_no_dropout method=basic seed=0,7", "comparison_wgan method=wgan seed=0,7"],
        ),
        (
            "model=resnet8 dataset=cifar100",
            [
                "comparison model=resnet8 dataset=cifar100",
                "comparison_no_dropout model=resnet8 dataset=cifar100",
            ],
        ),
        (
            "schedule.epochs=2",
            [f"comparison{part} schedule.epochs=2" for part in ("", "_no_dropout", "_wgan")],
        ),
    ],
)
def test_overrides_narrow_the_table(given, lines):
    found = part_lines(["experiment=comparison", *given.split()])
    assert found == [f"experiment={line}".split() for line in lines]


def test_parts_without_the_key_are_skipped():
    assert part_lines(["experiment=baseline_selection", "loss.q=0.40"]) == [
        ["experiment=baseline_selection_lq", "loss.q=0.40"]
    ]
    assert [line[0] for line in part_lines(["experiment=ablation", "loss.strength=0.25"])] == [
        "experiment=ablation",
        "experiment=ablation_constant",
    ]


def test_no_run_at_all_is_an_error():
    with pytest.raises(ConfigError, match="comparison: has no run with method=wgan dataset=cifar100"):
        part_lines(["experiment=comparison", "method=wgan", "dataset=cifar100"])


def test_the_command_line_plans_and_starts_all_parts(monkeypatch, capsys, tmp_path):
    started = []
    monkeypatch.setattr(
        command_line.hydra, "main", lambda **_: lambda job: lambda: started.append(sys.argv[1:])
    )
    monkeypatch.setattr(endings.signal, "signal", lambda *_: None)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the command line sets it
    asked = ["experiment=ablation", "dataset=cifar10", "seed=0", f"runs_dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["train", *asked])
    command_line.main()
    assert [line[0] for line in started] == [f"experiment=ablation{p}" for p in ("", "_basic", "_constant")]
    monkeypatch.setattr(sys, "argv", ["train", *asked, "plan=true"])
    command_line.main()
    assert "6 runs: 0 done, 0 unfinished, 6 missing" in capsys.readouterr().out and len(started) == 3


def test_a_failure_does_not_stop_the_other_parts(monkeypatch, tmp_path):
    started = []

    def run():
        started.append(sys.argv[1])
        assert gc.isenabled()  # a training makes objects that refer to one another
        raise endings.JobFailed("")

    monkeypatch.setattr(command_line.hydra, "main", lambda **_: lambda job: run)
    monkeypatch.setattr(endings.signal, "signal", lambda *_: None)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the command line sets it
    monkeypatch.setattr(sys, "argv", ["train", "experiment=ablation", "seed=0", f"runs_dir={tmp_path}"])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    assert (end.value.code, len(started)) == (1, 3)


def test_the_journals_imagenet_passes_the_check_of_the_command_line():
    """Its DenseNets have a key that the default network lacks."""
    for line in part_lines(["experiment=imagenet_journal", "seed=0"]):
        assert command_line_problems(line, lambda settings: []) == []
