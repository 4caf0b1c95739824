"""Somebody else's experiment may ask for any number of runs: too many are one error, unlisted."""

import pytest

from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.folders import users_folder
from isda_bench.config.grid_size import MOST_JOBS
from isda_bench.config.grids import grid_lines
from isda_bench.config.yaml_files import read_yaml
from isda_bench.errors import ConfigError
from isda_bench.experiments.planned import planned

HEAD = """# @package _global_
defaults:
  - override /dataset: digits
  - override /model: resnet8
hydra:
  mode: MULTIRUN
  sweeper:
    params:
"""
SEEDS = "hydra.sweeper.params.seed: more than 100,000 values"
MANY = {
    "range": ("seed: range(1000000000)", SEEDS),
    "one too many": (f"seed: range({MOST_JOBS + 1})", SEEDS),
    "endless": ("seed: range(0,1,0)", SEEDS),
    "product": (
        "seed: range(1000)\n      schedule.batch_size: range(1,1000)",
        "seed, schedule.batch_size: a grid of 999,000 runs; at most 100,000",
    ),
    "text": (f"seed: {','.join(map(str, range(MOST_JOBS + 1)))}", "more than 100,000 values"),
    "list": (f"seed: {[*range(MOST_JOBS + 1)]}", "more than 100,000 values"),
    "lines": ("seed:\n" + "        - 1\n" * (MOST_JOBS + 1), "more than 100,000 values"),
    "long text": (f"seed: '{'1' * 10_000_001}'", "larger than 10,000,000 bytes"),
}


@pytest.fixture(params=MANY)
def many(request, tmp_path):
    """The error about an experiment `many` with too many runs."""
    (tmp_path / "experiment").mkdir()
    text, error = MANY[request.param]
    (tmp_path / "experiment" / "many.yaml").write_text(f"{HEAD}      {text}\n")
    with users_folder(tmp_path):
        yield error


def test_too_many_runs_of_an_experiment_are_one_error(many):
    (problem,) = command_line_problems(["experiment=many"], lambda _: [])
    assert problem.endswith(many)
    for listing in (lambda: grid_lines(["experiment=many"]), lambda: planned("many")):
        with pytest.raises(ConfigError) as raised:
            listing()
        (problem,) = raised.value.problems
        assert problem.endswith(many)


def test_values_of_the_command_line_count_too(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "some.yaml").write_text(f"{HEAD}      seed: range(1000)\n")
    with users_folder(tmp_path):
        line = ["experiment=some", "schedule.batch_size=range(1,1000)"]
        assert command_line_problems(line, lambda _: []) == [MANY["product"][1]]
        assert len(grid_lines(["experiment=some", "seed=0,1"])["seed"]) == 2


def test_a_file_of_usual_size_is_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [1, 2]\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 2]}
