"""The wandb sweep that is made of an experiment or a grid."""

import itertools

import pytest
import yaml

from helpers.tiny import TINY
from isda_bench.cli.sweep import command, sweep
from isda_bench.config.grids import grid_runs
from isda_bench.config.table_parts import table_runs
from isda_bench.errors import ConfigError


def printed(typed_in, capsys, folder, *arguments):
    typed_in(folder, "isda-bench", *arguments)
    command()
    return yaml.safe_load(capsys.readouterr().out)


def command_lines(made):
    """What wandb's agents type: each combination of the values, as key=value."""
    values = {key: entry.get("values", [entry.get("value")]) for key, entry in made["parameters"].items()}
    return [
        [f"{key}={value}" for key, value in zip(values, chosen, strict=True)]
        for chosen in itertools.product(*values.values())
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=demo"],
        ["experiment=demo", "seed=0,4"],
        pytest.param(["experiment=ablation", "part=ablation", "seed=0"], marks=pytest.mark.slow),
        [*TINY, "schedule.milestones=[]", "loss=isda", "loss.strength=0.25,1e-3", "seed=range(0,3)"],
    ],
)
def test_an_agents_runs_are_those_of_the_grid(typed_in, capsys, tmp_path, overrides):
    lines = command_lines(printed(typed_in, capsys, tmp_path, *overrides))
    assert all("logger.mode=online" in line for line in lines)
    by_agents = [config.run_id for line in lines for config in table_runs(line)]
    grid = [override for override in overrides if not override.startswith("part=")]
    assert sorted(by_agents) == sorted(config.run_id for config in grid_runs(grid))
    assert len(set(by_agents)) == len(lines)


def test_an_agents_command_line_trains_one_run(train):
    (line, _) = command_lines(sweep([*TINY, "schedule.epochs=1", "schedule.milestones=[]", "seed=5,6"], []))
    assert train(*line).check().stdout.startswith("digits-resnet8-cross_entropy-s5-")


def test_agents_start_train_py_or_the_installed_command(typed_in, capsys, tmp_path):
    made = printed(typed_in, capsys, tmp_path, "experiment=demo")
    assert made["command"] == ["${env}", "isda-bench", "train", "${args_no_hyphens}"]
    (tmp_path / "train.py").touch()
    made = printed(typed_in, capsys, tmp_path, "-m", "experiment=demo")
    assert made["command"] == ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
    assert (made["program"], made["method"], made["name"]) == ("train.py", "grid", "demo")
    assert made["metric"] == {"name": "last_10_error", "goal": "minimize"}


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["experiment=dem"], "experiment=dem: no such experiment"),
        (["experiment=demo", "hydra/launcher=joblib"], "an agent trains a run at a time"),
        (["experiment=ablation"], "add part=, one of ablation, ablation_basic, ablation_constant"),
        (["experiment=ablation", "part=ablation_bas"], "part=ablation_bas: no such part; there are: "),
    ],
)
def test_a_mistake_is_one_error(overrides, problem):
    with pytest.raises(ConfigError, match=problem):
        sweep(overrides, [])


def test_an_experiment_of_ones_own_folder(typed_in, capsys, tmp_path):
    """Agents get the folder, too: their choices are in it."""
    file = tmp_path / "conf/experiment/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 3,4\n"
    )
    made = printed(typed_in, capsys, tmp_path, "--config-dir", "./conf", "experiment=mine")
    assert made["command"] == ["${env}", "isda-bench", "train", "--config-dir", "conf", "${args_no_hyphens}"]
    assert made["parameters"]["seed"] == {"values": [3, 4]}
    with pytest.raises(SystemExit):
        printed(typed_in, capsys, tmp_path, "--config-dir", "./nowhere", "experiment=mine")
    assert "--config-dir=nowhere: no such folder" in capsys.readouterr().err
