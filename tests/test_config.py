"""A run's identity, and the reports of wrong settings."""

import copy
import re

import pytest

from isda_bench.config import run_config as module
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.config.problems import did_you_mean
from isda_bench.config.run_config import RunConfig, identity
from isda_bench.errors import ConfigError


@pytest.fixture(scope="module")
def composed() -> RunConfig:
    return compose_run(["dataset=digits", "model=resnet8", "loss=isda"])


@pytest.fixture
def change(composed):
    """The configuration with dotted keys changed."""

    def changed(**values) -> RunConfig:
        config = copy.deepcopy(composed.config)
        for key, value in values.items():
            *sections, name = key.split("__")
            node = config
            for section in sections:
                node = node[section]
            node[name] = value
        return RunConfig(config, composed.names)

    return changed


def test_run_ids_are_pinned(composed):
    """A change here makes every run that somebody has a stranger: add to ADDED_LATER instead."""
    assert composed.run_id == "digits-resnet8-isda-s0-9a8095f1"
    assert composed.cell == "digits-resnet8-isda-6f09710d"


def test_the_cell_is_the_id_without_the_seed(composed, change):
    assert re.fullmatch("digits-resnet8-isda-[0-9a-f]{8}", composed.cell)
    other = change(seed=1)
    assert other.cell == composed.cell
    assert other.run_id != composed.run_id
    assert "-s1-" in other.run_id
    assert other.run_id[-8:] != composed.run_id[-8:]


@pytest.mark.parametrize(
    "values",
    [
        {"loss__strength": 0.25},
        {"precision": "bf16"},
        {"schedule__epochs": 161},
        {"schedule__milestones": [80, 121]},
        {"dataset__train_size": 500},
        {"dataset__split_seed": 1},
        {"model__depth": 14},
        {"augment__padding": 2},
        {"evaluate__every": 2},
    ],
)
def test_a_key_that_changes_the_result_changes_the_id(composed, change, values):
    assert change(**values).run_id != composed.run_id
    assert change(**values).cell != composed.cell


@pytest.mark.parametrize(
    "values",
    [
        {"device": "cuda:1"},
        {"capture": False},
        {"runs_dir": "elsewhere"},
        {"logger": {"_target_": "isda_bench.monitoring.loggers.WandbLogger", "mode": "online"}},
        {"checkpoint__every": 7},
        {"dataset__root": "elsewhere"},
        {"dataset__download": False},
    ],
)
def test_a_key_that_does_not_change_the_result_keeps_the_id(composed, change, values):
    assert change(**values).run_id == composed.run_id


def test_one_and_one_point_zero_are_one_value(composed, change):
    assert change(loss__strength=1).run_id == change(loss__strength=1.0).run_id != composed.run_id
    assert identity({"a": [1.0, 0.5], "b": True}) == {"a": [1, 0.5], "b": True}


def test_the_order_of_keys_is_no_part_of_the_id(composed):
    turned = {key: composed.config[key] for key in reversed(composed.config)}
    assert RunConfig(turned, composed.names).run_id == composed.run_id


def test_a_key_added_later_keeps_older_ids_at_its_default(composed, change, monkeypatch):
    monkeypatch.setattr(module, "ADDED_LATER", {"loss.warmup": 0, "ema": {"decay": None}})
    assert change(loss__warmup=0).run_id == composed.run_id
    assert change(loss__warmup=1).run_id != composed.run_id
    assert change(ema={"decay": None}).run_id == composed.run_id
    assert change(ema={"decay": 0.9}).run_id != composed.run_id


def test_the_stored_configuration_is_complete(composed):
    kept = composed.as_dict()
    assert kept["config"] == composed.config
    assert kept["names"]["loss"] == "isda"
    assert "device" not in kept["identity"]
    assert kept["run_id"] == composed.run_id


def test_check_lists_all_problems_of_the_settings_at_once(change):
    with pytest.raises(ConfigError) as raised:
        change(seed=-1, precision="fp16", schedule__epochs=0, evaluate=3).check(component_problems)
    assert sorted(line.split(":")[0] for line in raised.value.problems) == [
        "evaluate=3",
        "precision='fp16'",
        "schedule.epochs=0",
        "seed=-1",
    ]
    assert str(raised.value).startswith("4 problems in the configuration:\n  ")


def test_check_lists_all_problems_of_the_parts_at_once(change):
    wrong = change(
        loss__strength=-1.0,
        model__depth=9,
        dataset__padding=8,
        augment__padding=-1,
        device="cuda:99",
        logger={"_target_": "isda_bench.monitoring.loggers.WandbLogger", "mode": "loud"},
    )
    with pytest.raises(ConfigError) as raised:
        wrong.check(component_problems)
    assert [line.split(":")[0] for line in raised.value.problems] == [
        "dataset.padding=8",
        "model.depth=9",
        "loss.strength=-1.0",
        "augment.padding=-1",
        "logger.mode='loud'",
        "device=cuda",
    ]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"loss__typo": 1}, "loss.typo: no such key"),
        ({"loss": {"strength": 1.0}}, "loss._target_: not given"),
        (
            {"loss___target_": "isda_bench.losses.isda.ISDB"},
            "loss._target_=isda_bench.losses.isda.ISDB: Error",
        ),
        ({"loss___target_": "nowhere.Loss"}, "loss._target_=nowhere.Loss: Error loading 'nowhere.Loss'"),
        ({"loss": {"_target_": "torch.nn.Identity"}}, "loss._target_=torch.nn.Identity: should make a Loss"),
        ({"model": {"_target_": "builtins.dict"}}, "model._target_=builtins.dict: should make a Classifier"),
        ({"dataset": {"_target_": "builtins.dict"}}, "dataset._target_=builtins.dict: should make a DataSet"),
        (
            {"dataset__train_size": 1437, "dataset__val_size": 1},
            "dataset.val_size=1 and train_size=1437: too",
        ),
        ({"dataset__val_size": 1437}, "dataset.val_size=1437: too many for the 1437 images"),
        ({"dataset__train_size": 127}, "schedule.batch_size=128: larger than the training set of 127 images"),
        ({"dataset__val_size": 1400}, "schedule.batch_size=128: larger than the training set of 37 images"),
        ({"augment__padding": 8}, "augment: does not fit the images of the data set"),
        (
            {
                "augment": {
                    "_target_": "isda_bench.data.augment.Cutout",
                    "padding": 1,
                    "flip": False,
                    "size": 8,
                }
            },
            "augment: a hole of 8x8 pixels could cover a whole image of 8x8",
        ),
        (
            {"model": {"_target_": "isda_bench.models.imagenet.ImageNetDenseNet", "depth": 121}},
            "model: does not fit the images of the data set",
        ),
    ],
)
def test_each_wrong_part_is_reported_once(change, values, problem):
    with pytest.raises(ConfigError) as raised:
        change(**values).check(component_problems)
    assert len(raised.value.problems) == 1
    assert raised.value.problems[0].startswith(problem)


def test_an_exact_fit_is_accepted(change):
    change(dataset__train_size=128).check(component_problems)
    fits = change(dataset__train_size=1000, dataset__val_size=437, augment__padding=7, dataset__padding=7)
    fits.check(component_problems)


def test_the_check_draws_no_random_number(composed):
    import torch

    before = torch.get_rng_state()
    composed.check(component_problems)
    assert torch.equal(before, torch.get_rng_state())


def test_values_are_reported_as_they_are_typed(change):
    assert change(seed=None).setting_problems() == ["seed=null: should be a valid integer"]
    assert change(seed=True).setting_problems() == ["seed=true: should be a valid integer"]


def test_did_you_mean():
    assert did_you_mean("resnt32", ["resnet32", "wrn28_10"]) == "; did you mean resnet32?"
    assert did_you_mean("CIFAR10", ["cifar10"]) == "; did you mean cifar10?"
    assert did_you_mean("x", ["cifar10", "digits"]) == "; there are: cifar10, digits"
    assert did_you_mean("x", ["a.b", "c"], ["a", "c"]) == "; there are: a, c"


def test_a_long_list_of_problems_is_one_message_of_ten_lines():
    error = ConfigError([f"key_{i}: wrong\nas can be\u2028" for i in range(100)] + ["x" * 10**6])
    lines = str(error).splitlines()
    assert len(lines) == 10 and len(error.problems) == 101
    assert lines[0] == "101 problems in the configuration:"
    assert lines[1] == "  key_0: wrong as can be" and lines[-1] == "  ... and 93 more"
    assert len(str(ConfigError(["x" * 10**6]))) < 2000
