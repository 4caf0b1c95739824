"""Where configurations come from: conf/, the groups that generators share, a user's folder."""

import json
import re

import pytest
from hydra import compose, initialize_config_dir

from helpers.processes import run_python
from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run, hydra_context
from isda_bench.config.folders import users_folder
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.config.grids import grid_runs
from isda_bench.config.run_config import CONF
from isda_bench.config.search_path import choices, is_group
from isda_bench.errors import ConfigError

MODEL = """
defaults:
  - /schedule@_global_.schedule: resnet
_target_: isda_bench.models.resnet.ResNet
depth: 14
"""
EXPERIMENT = """# @package _global_
defaults:
  - override /dataset: digits
  - override /model: mine

hydra:
  mode: MULTIRUN
  sweeper:
    params:
      loss: cross_entropy,isda
      seed: 0,1
"""


@pytest.fixture
def folder(tmp_path):
    """A user's conf/ with a network, an experiment, and a file that has the name of one of ours."""
    for group, name, text in (
        ("model", "mine", MODEL),
        ("experiment", "mine", EXPERIMENT),
        ("model", "resnet8", "depth: 5"),
    ):
        (tmp_path / "conf" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / group / f"{name}.yaml").write_text(text)
    return tmp_path / "conf"


def test_nothing_in_the_configuration_is_a_link():
    links = [path for conf in (CONF, GeneratorConfig.conf) for path in conf.rglob("*") if path.is_symlink()]
    assert links == []


def test_generators_share_some_groups_and_have_the_others_of_their_own():
    with hydra_context(GeneratorConfig):
        assert choices("dataset") == sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
        assert "none" not in choices("generator")  # conf/generator has it
        assert is_group("logger") and not is_group("model") and not is_group("experiment")


def test_files_below_a_users_folder_are_choices_there_alone(folder):
    with users_folder(folder):
        assert compose_run(["model=mine"]).config["model"]["depth"] == 14
        assert compose_run(["model=resnet8"]).config["model"]["depth"] == 8  # ours comes first
        assert [run.names["loss"] for run in grid_runs(["experiment=mine", "seed=0"])] == [
            "cross_entropy",
            "isda",
        ]
    with pytest.raises(ConfigError):
        compose_run(["model=mine"])
    with pytest.raises(ConfigError):
        grid_runs(["experiment=mine", "seed=0"])


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["model=mien"], "model=mien: no such model; did you mean mine?"),
        (["model=resnt8"], "model=resnt8: no such model; did you mean resnet8?"),
        (
            ["model=mine", "model.depht=8"],
            "model.depht: no such key with model=mine; did you mean model.depth?",
        ),
        (["model=mine", "model.depth=9"], "model.depth=9: should be 6n + 2"),
        (["experiment=mine", "loss.strength=1"], "loss.strength: no such key with loss=cross_entropy; "),
        (["experiment=mine", "schedule.epochs=0"], "schedule.epochs=0: should be greater than 0"),
    ],
)
def test_all_checks_are_on_with_a_users_folder(folder, overrides, problem):
    with users_folder(folder):
        (found,) = command_line_problems(overrides, component_problems)
    assert found.startswith(problem)


def test_a_network_whose_file_names_no_schedule_is_one_clear_line(folder):
    (folder / "model" / "bare.yaml").write_text("_target_: isda_bench.models.resnet.ResNet\ndepth: 8\n")
    with users_folder(folder):
        (alone,) = command_line_problems(["model=bare"], component_problems)
        (chosen,) = command_line_problems(["model=bare", "schedule=wrn"], component_problems)
        epochs, rate, last = command_line_problems(["model=bare", "epochs=2", "lr=0.1"], component_problems)
    assert alone == chosen == last and alone.startswith("schedule: the file of this model names none; add ")
    assert epochs == "epochs: no such key; did you mean schedule.epochs?"
    assert rate == "lr: no such key; did you mean schedule.learning_rate?"
    (entry,) = re.findall(r"add to it: (defaults: \[.*\]); there are: .*\bresnet, .*\bwrn", alone)
    (folder / "model" / "bare.yaml").write_text(
        f"{entry}\n_target_: isda_bench.models.resnet.ResNet\ndepth: 8\n"
    )
    with users_folder(folder):
        assert compose_run(["model=bare", "schedule=wrn"]).names["schedule"] == "wrn"


def test_a_file_that_changes_is_read_again(folder):
    with users_folder(folder):
        assert compose_run(["model=mine"]).config["model"]["depth"] == 14
        (folder / "model" / "mine.yaml").write_text(MODEL.replace("14", "20"))
        assert compose_run(["model=mine"]).config["model"]["depth"] == 20


def test_the_choice_that_leaves_a_group_empty_is_not_a_users():
    (problem,) = command_line_problems(["loss=_empty_"], component_problems)
    assert problem.startswith("loss=_empty_: no such loss; there are: ")


def test_composed_configurations_are_those_of_hydra_alone():
    """Hydra in a process that knows nothing of us composes the same from conf/."""
    overrides = ["model=wrn28_10", "method=isda_dropout", "dataset=cifar100", "seed=3"]
    code = f"""
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
import json
import re
with initialize_config_dir({str(CONF)!r}, version_base="1.3"):
    print(json.dumps(OmegaConf.to_container(compose("config", {overrides!r}), resolve=True)))
"""
    done = run_python("-c", code).check()
    assert compose_run(overrides).config == json.loads(done.stdout)


def test_the_search_paths_of_others_stay_as_they_are(tmp_path):
    (tmp_path / "config.yaml").write_text("x: 1")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        sources = compose("config", return_hydra_config=True).hydra.runtime.config_sources
    assert [source.schema for source in sources] == ["pkg", "file", "structured"]
