"""A component that was corrected: older runs are read as the function that they had, not as the new one."""

import copy
import inspect

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

import isda_bench
from helpers.made_runs import write_run
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import ADDED_LATER, CONF, OLDER_FUNCTIONS, RunConfig
from isda_bench.models.shake_shake import TwoPaths
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.render_tables import markdown, markdown_table
from isda_bench.storage.records import read_records
from isda_bench.training.evaluate import evaluate_run
from isda_bench.training.run import run

SHAKE_SHAKE = ["model=shake_shake_26_2x32d", "loss=isda"]
TINY = [
    "dataset=digits",
    "dataset.train_size=100",
    "model.depth=8",
    "model.width=4",
    "schedule.batch_size=50",
]
TINY += ["schedule.epochs=1", "logger=none"]


def _as_before(config):
    """The configuration as it was when it did not have the keys of later corrections."""
    older = copy.deepcopy(config.config)
    for key in OLDER_FUNCTIONS:
        section, _, name = key.partition(".")
        older[section].pop(name, None)
    return RunConfig(older, config.names)


@pytest.mark.parametrize("key", OLDER_FUNCTIONS)
def test_yamls_and_constructors_have_the_new_function(key):
    group, _, name = key.partition(".")
    older = OLDER_FUNCTIONS[key]
    nodes = [OmegaConf.load(path) for path in (CONF / group).glob("*.yaml")]
    corrected = [node for node in nodes if name in inspect.signature(get_class(node._target_)).parameters]
    assert {node._target_ for node in corrected} == set(older.components)
    for node in corrected:
        default = inspect.signature(get_class(node._target_)).parameters[name].default
        assert node[name] == default != older.value == ADDED_LATER[key]


def test_older_ids_stay_and_the_new_function_has_another():
    config = compose_run(SHAKE_SHAKE)
    assert _as_before(config).run_id == "cifar10-shake_shake_26_2x32d-isda-s0-d3d77ef2"
    assert compose_run([*SHAKE_SHAKE, "model.skip=one_path"]).run_id == _as_before(config).run_id
    assert config.run_id == "cifar10-shake_shake_26_2x32d-isda-s0-7ad729dd"


def test_an_older_run_is_read_as_it_was_trained_and_does_not_answer_for_the_new_one(tmp_path, capsys):
    config = compose_run([*SHAKE_SHAKE, *TINY, f"runs_dir={tmp_path}"])
    older = run(_as_before(config))
    directory = tmp_path / older["run_id"]
    model = isda_bench.load_run(directory).model
    assert [isinstance(stage[0].skip, TwoPaths) for stage in model.stages] == [False, True, True]
    assert evaluate_run(directory)["error"] == older["error"]["final"]
    capsys.readouterr()
    newer = run(config)
    assert newer["run_id"] != older["run_id"] and "finished already" not in capsys.readouterr().out
    model = isda_bench.load_run(tmp_path / newer["run_id"]).model
    assert all(isinstance(stage[0].skip, TwoPaths) for stage in model.stages)
    run(compose_run([*SHAKE_SHAKE, *TINY, f"runs_dir={tmp_path}", "model.skip=one_path"]))
    assert "finished already" in capsys.readouterr().out


def test_only_the_corrected_component_is_read_with_the_older_value():
    plain = compose_run(["model=resnet8"])
    assert _as_before(plain).settings == plain.settings and "skip" not in plain.settings.model
    config = compose_run(SHAKE_SHAKE)
    assert _as_before(config).settings.model == {**config.settings.model, "skip": "one_path"}


@pytest.mark.parametrize("spelt", [False, True])
def test_tables_footnote_an_older_function(tmp_path, spelt):
    older = compose_run([*SHAKE_SHAKE, "model.skip=one_path"])
    write_run(tmp_path, older if spelt else _as_before(older), 4.0)
    write_run(tmp_path, compose_run([*SHAKE_SHAKE, "seed=1"]), 3.0)
    records = read_records([tmp_path])
    lines = [line for line in experiment_table("journal_table_2", records).lines if line.errors]
    assert [(line.planned, line.errors, line.footnote) for line in lines] == [
        (True, {1: 3.0}, ""),
        (False, {0: 4.0}, "older function (model.skip=one_path)"),
    ]
    assert lines[0].at == lines[1].at
    text = markdown(experiment_table("journal_table_2", records))
    assert "[a] older function (model.skip=one_path)." in text
    rows = [line for line in markdown_table(records).splitlines() if "shake_shake" in line]
    assert ["older function (model.skip=one_path)" in row for row in rows] == [True, False]
